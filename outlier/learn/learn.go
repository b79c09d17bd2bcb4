// Package learn reads from the journal to whom clients wrote before the watch knew them,
// so that limits on strangers hold from the day on which they are set.
//
// Without that everybody is a stranger in a client's first 14 days. The relay's own
// journal says more: a recipient for whom an upstream took a message with 250 is known.
// A [Keeper] reads it once, beside the mail, where a limit on strangers concerns a client
// that is watched for less than that.
package learn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"postern/internal/spare"
	"postern/internal/statefile"
	"postern/mail"
	"postern/outlier"
	"postern/outlier/detector"
)

const (
	// afterStart is how long the start has to itself, and again the least time between
	// two readings.
	afterStart = time.Minute
	again      = time.Hour
	// gap is how many days a journal may have without any line. Before a longer gap
	// something may be missing, so the past begins behind it.
	gap = 7
	// oldest is how many days of a journal count.
	oldest  = 400
	maxFile = 4 << 20
)

// Options are what a Keeper needs.
type Options struct {
	Dir    string           // folder of what was read; "": it is not kept
	Now    func() time.Time // nil: time.Now
	Log    *slog.Logger     // nil: says nothing
	Report func(error)      // how each writing went; nil: nobody is told
	Watch  *outlier.Watch
	// Clients are those whom limits on strangers concern, and Days for how long one has
	// to be watched.
	Clients func() []string
	Days    int
	// Journal reads the journal and says how many lines it has passed over.
	Journal func(add func(ev *mail.Event) error) (skipped int, err error)
	Pause   func(ctx context.Context, used time.Duration) // rests after so much work; nil: as a fifth of one processor
}

// Keeper reads the journal where that is wanted. It is safe for concurrent use.
type Keeper struct {
	o       Options
	file    *statefile.File // nil: nothing is kept
	started time.Time

	mu    sync.Mutex
	read  map[string]outlier.Learned
	tried time.Time
}

// New makes one, and tells the watch what an earlier one has read.
func New(o Options) *Keeper {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Report == nil {
		o.Report = func(error) {}
	}
	if o.Pause == nil {
		o.Pause = spare.Rest
	}
	k := &Keeper{o: o, started: o.Now()}
	if o.Dir != "" {
		k.file = fileIn(o.Dir)
		read, err := load(k.file)
		if err != nil {
			o.Report(k.file.SetAside(err))
		}
		k.read = read
	}
	if k.read == nil {
		k.read = map[string]outlier.Learned{}
	}
	o.Watch.SetLearned(k.read)
	return k
}

func fileIn(dir string) *statefile.File {
	return statefile.New(filepath.Join(dir, "learned.json"), maxFile)
}

// Read tells what a Keeper has left in a folder, by client; nil where it left nothing.
func Read(dir string) (map[string]outlier.Learned, error) { return load(fileIn(dir)) }

func load(file *statefile.File) (read map[string]outlier.Learned, err error) {
	b, err := file.Read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &read)
	}
	if err != nil {
		return nil, err
	}
	return read, nil
}

// Run reads the journal when that is wanted, until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	spare.EachMinute(ctx, k.Tick)
}

// Tick reads the journal if that is wanted now; Run calls it every minute.
func (k *Keeper) Tick(ctx context.Context) {
	now := k.o.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Sub(k.started) < afterStart || !k.tried.IsZero() && now.Sub(k.tried) < again {
		return
	}
	clients := k.o.Watch.Wanting(k.o.Clients(), k.o.Days)
	if len(clients) == 0 {
		return
	}
	k.tried = now
	err := k.learn(ctx, clients, now)
	if err != nil && ctx.Err() == nil {
		k.o.Log.Warn("the past of clients was not read from the journal", "clients", clients, "err", err)
	}
}

// learn reads the past of clients; mu is held.
func (k *Keeper) learn(ctx context.Context, clients []string, now time.Time) error {
	began := time.Now()
	pause := func() error {
		k.o.Pause(ctx, time.Since(began))
		began = time.Now()
		return ctx.Err()
	}
	r := reading{watch: k.o.Watch, past: k.o.Watch.NewPast(), now: now, days: map[int64]bool{}, of: map[string]map[int64]bool{}}
	for _, client := range clients {
		r.of[client] = map[int64]bool{}
	}
	lines := 0
	skipped, err := k.o.Journal(func(ev *mail.Event) error {
		r.add(ev)
		if lines++; lines%64 == 0 {
			return pause()
		}
		return nil
	})
	if err != nil {
		return err
	}
	found := r.found()
	known, without, err := k.o.Watch.TakePast(r.past, found, pause)
	if err != nil {
		return err
	}
	if without > 0 {
		k.o.Log.Warn("for some to whom clients have written there was no room: they count as never seen before; raise max_known", "known", known-without, "forgotten", without)
	}
	maps.Copy(k.read, found)
	k.o.Watch.SetLearned(k.read)
	for _, client := range slices.Sorted(maps.Keys(found)) {
		since := "nothing found"
		if l := found[client]; !l.Since.IsZero() {
			since = l.Since.Format(time.DateOnly)
		}
		k.o.Log.Info("past of a client read from the journal", "client", client, "since", since, "lines_passed_over", skipped)
	}
	return k.save()
}

// save writes what was read; without a folder nothing is kept.
func (k *Keeper) save() error {
	if k.file == nil {
		return nil
	}
	b, err := json.Marshal(k.read)
	if err != nil {
		return fmt.Errorf("what was read: %w", err)
	}
	err = k.file.Write(b)
	k.o.Report(err)
	return err
}

// reading is a journal while it is read.
type reading struct {
	watch *outlier.Watch
	past  *detector.Past
	now   time.Time
	days  map[int64]bool            // with a line of anybody
	of    map[string]map[int64]bool // with mail of a client that was taken
}

const daySeconds = 24 * 60 * 60

func (r *reading) add(ev *mail.Event) {
	at := ev.Time.Add(ev.Duration)
	day := at.Unix() / daySeconds
	if at.After(r.now) || day <= r.now.Unix()/daySeconds-oldest {
		return // of a clock that went wrong, or too old
	}
	r.days[day] = true
	if days := r.of[ev.Client]; days != nil && r.watch.NoteTaken(r.past, ev) {
		days[day] = true
	}
}

// found says since when the mail of each client is known without a gap until today.
func (r *reading) found() map[string]outlier.Learned {
	first := r.now.Unix() / daySeconds
	for day := first; first-day <= gap; day-- {
		if r.days[day] {
			first = day
		}
	}
	found := map[string]outlier.Learned{}
	for client, days := range r.of {
		l := outlier.Learned{Pairs: r.past.Pairs}
		for day := range days {
			if at := time.Unix(day*daySeconds, 0).UTC(); day >= first && (l.Since.IsZero() || at.Before(l.Since)) {
				l.Since = at
			}
		}
		found[client] = l
	}
	return found
}
