package tally

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"postern/internal/find"
	"postern/internal/statefile"
	"postern/mail"
)

const (
	maxFile = 32 << 20
	// maxReplayed bounds the events that are read from the journal at a start: some
	// seconds of one core.
	maxReplayed = 1_000_000
	// longest is how long a transaction may take.
	longest = 2 * time.Hour
)

// saved is the form of the file.
type saved struct {
	Saved   time.Time             `json:"saved"`
	Begin   Hour                  `json:"begin"`
	Streams map[string][][4]int64 `json:"streams"` // hour, relayed, deferred, refused
}

// Open is a tally that goes on with what an earlier one has saved in a file. since is when
// that was, zero where nothing was saved. The error is for the log; the tally holds all
// the same.
func Open(file *statefile.File, now func() time.Time) (t *Tally, since time.Time, err error) {
	t = New(now)
	text, err := file.Read()
	if errors.Is(err, fs.ErrNotExist) {
		return t, since, nil
	}
	var s saved
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err == nil && s.Saved.After(now().Add(time.Hour)) {
		err = fmt.Errorf("it was saved at %s, which is still to come", s.Saved.Format(time.RFC3339))
	}
	if err != nil {
		return t, since, file.SetAside(err)
	}
	t.begin = s.Begin
	for name, hours := range s.Streams {
		one := named(t.streams, name)
		for _, h := range hours {
			if one != nil && h[0] > 0 {
				count(one.hours[:], h[0], Count{uint32(h[1]), uint32(h[2]), uint32(h[3])})
			}
		}
	}
	return t, s.Saved, nil
}

// StateFile is where a tally is kept.
func StateFile(path string) *statefile.File { return statefile.New(path, maxFile) }

// Save writes the tally where it has changed.
func (t *Tally) Save(file *statefile.File) error {
	t.mu.Lock()
	if !t.changed {
		t.mu.Unlock()
		return nil
	}
	s := saved{Saved: t.now(), Begin: t.begin, Streams: map[string][][4]int64{}}
	oldest := int64(HourOf(s.Saved)) - Kept
	for name, one := range t.streams {
		var hours [][4]int64
		for i := range one.hours {
			if h := &one.hours[i]; h.at > oldest {
				hours = append(hours, [4]int64{h.at, int64(h.Relayed), int64(h.Deferred), int64(h.Refused)})
			}
		}
		if hours != nil { // a stream that had no mail for weeks is forgotten
			s.Streams[name] = hours
		}
	}
	t.changed = false
	t.mu.Unlock()
	text, err := json.Marshal(s)
	if err == nil {
		err = file.Write(text)
	}
	if err != nil {
		t.mu.Lock()
		t.changed = true
		t.mu.Unlock()
	}
	return err
}

// Replay counts what the journal holds and the tally has not: the hours of what ended
// between since and until, and what became of mail within the last hour. It is meant for
// the start, while new events are already counted; until is when that began.
func (t *Tally) Replay(ctx context.Context, files []string, since, until time.Time) error {
	hourAgo, from := until.Add(-time.Hour), since
	if oldest := until.Add(-Kept * time.Hour); from.Before(oldest) {
		from = oldest
	}
	looked := from
	if hourAgo.Before(looked) {
		looked = hourAgo
	}
	n, first := 0, until
	_, err := find.Search(ctx, files, find.Query{Since: looked.Add(-longest)}, func(_ []byte, e *mail.Event) error {
		ended := e.Time.Add(e.Duration)
		if ended.After(until) || ended.Before(looked) {
			return nil
		}
		if ended.Before(first) {
			first = ended
		}
		t.add(e, ended, ended.After(from), ended.After(hourAgo))
		if n++; n >= maxReplayed {
			return find.ErrEnough
		}
		return nil
	})
	if since.IsZero() && n > 0 {
		t.mu.Lock()
		t.begin = min(t.begin, HourOf(first)+1)
		t.mu.Unlock()
	}
	return err
}
