package outlier

import (
	"errors"
	"maps"
	"time"

	"postern/mail"
	"postern/outlier/detector"
)

// Learned is what a journal says about the past of a client.
type Learned struct {
	// Since is the day from which on its mail is known; zero: nothing was found.
	Since time.Time `json:"since,omitzero"`
	// Pairs: those whom its senders know are known, too.
	Pairs bool `json:"pairs,omitempty"`
}

// NewPast returns an empty past, to be filled by NoteTaken while mail goes on.
func (w *Watch) NewPast() *detector.Past {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.detector.NewPast()
}

// NoteTaken adds to a past the recipients of an event for whom an upstream took the
// message, as Observe would have done, and reports whether there were any.
func (w *Watch) NoteTaken(p *detector.Past, ev *mail.Event) (taken bool) {
	harmful := ev.Harmful()
	sender := senderName(mail.IdentityOf(ev.From))
	for i := range ev.To {
		r := &ev.To[i]
		if !r.Left() || r.Code/100 != 2 || harmful && r.Rule == ev.Rule {
			continue
		}
		if taken = true; sender == "" {
			continue // whoever wrote to the client has chosen to whom its bounce goes
		}
		p.Add(ev.Client, sender, string(mail.RecipientOf(r.Address)))
	}
	return taken
}

var errOtherTable = errors.New("the table of known recipients was begun anew meanwhile")

// errNoRoom is returned where more than one in a hundred found no room.
var errNoRoom = errors.New("there is no room for those to whom clients have written; raise max_known")

// TakePast makes the recipients of a past known, and writes that to the disk; pause is
// called without the lock. Nobody who is known already is forgotten for them. After an
// error the past does not count, though some of its recipients may be known now.
func (w *Watch) TakePast(p *detector.Past, of map[string]Learned, pause func() error) (n, without int, err error) {
	w.mu.Lock()
	chunks := w.detector.Known().Chunks()
	w.mu.Unlock()
	for chunk := range chunks {
		w.mu.Lock()
		some, lost, ok := w.detector.TakePast(p, chunk)
		w.mu.Unlock()
		if !ok {
			return n, without, errOtherTable
		}
		n, without = n+some, without+lost
		if err := pause(); err != nil {
			return n, without, err
		}
	}
	without += p.Forgotten()
	n += p.Forgotten()
	if without*100 > n {
		return n, without, errNoRoom
	}
	w.mu.Lock()
	for client, l := range of {
		w.detector.MarkPast(client, l.Since, l.Pairs)
	}
	w.mu.Unlock()
	if w.link != nil {
		w.link.Learned()
	}
	if w.disk != nil {
		err = w.disk.Save()
	}
	return n, without, err
}

// SetLearned takes what a journal says about clients. It counts as long as the table of
// known recipients says the same.
func (w *Watch) SetLearned(of map[string]Learned) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.learned = maps.Clone(of)
}

// Wanting returns those of a list of clients about whose past a journal should be asked:
// clients watched for fewer than days that no journal has been read for, with Config.Pairs
// also those whose senders it was not read for.
func (w *Watch) Wanting(clients []string, days int) (wanting []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, pairs := w.clock.read(), w.detector.Pairs()
	for _, client := range clients {
		since := w.detector.Since(client)
		young := since.IsZero() || now.Sub(since) < time.Duration(days)*24*time.Hour
		l, read := w.learned[client]
		read = read && w.detector.HasPast(client, l.Since, l.Pairs)
		if young && (!read || pairs && !l.Pairs) {
			wanting = append(wanting, client)
		}
	}
	return wanting
}

// pastOf is since when the mail of a client is known: from when on it is watched, or
// from a journal.
func (w *Watch) pastOf(client string) time.Time {
	since := w.detector.Since(client)
	l, read := w.learned[client]
	if !read || l.Since.IsZero() || !since.IsZero() && !l.Since.Before(since) {
		return since
	}
	if w.detector.Pairs() && !l.Pairs || !w.detector.HasPast(client, l.Since, l.Pairs) {
		return since
	}
	return l.Since
}
