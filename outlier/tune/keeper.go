package tune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"postern/internal/spare"
	"postern/internal/statefile"
	"postern/mail"
	"postern/outlier"
)

const (
	// every is how often the journal is played.
	every = 24 * time.Hour
	// afterStart is when it is played first where it never was: the start has other
	// things to do.
	afterStart = 10 * time.Minute
	// stepADay is the most by which the sensitivity moves in a day.
	stepADay = 1.05
	// maxConfirmed bounds the names of those suspended by hand that are remembered, and
	// rememberFor is for how long.
	maxConfirmed = 2000
	rememberFor  = 400 * 24 * time.Hour
	maxFile      = 4 << 20
)

// Options are what a Keeper needs.
type Options struct {
	Dir       string                                        // folder of the result; "": it is not kept
	Now       func() time.Time                              // nil: time.Now
	Log       *slog.Logger                                  // nil: says nothing
	Report    func(error)                                   // how each writing went; nil: nobody is told
	Journal   func(add func(ev *mail.Event) error) error    // reads the journal, oldest first
	Confirmed func() []string                               // see outlier.Watch.Confirmed; nil: none
	Set       func(sensitivity float64)                     // puts another sensitivity in force
	Pause     func(ctx context.Context, used time.Duration) // rests after so much work; nil: as a fifth of one processor
}

// Keeper plays the journal once a day, beside the mail, and moves the sensitivity of the
// watch to what an operator accepts. It is safe for concurrent use.
type Keeper struct {
	o       Options
	file    *statefile.File // nil: the result is not kept
	started time.Time

	mu  sync.Mutex
	cfg outlier.Config
	s   saved
}

// saved is what outlasts a restart.
type saved struct {
	Sensitivity float64              `json:"sensitivity"` // in force
	Wanted      float64              `json:"wanted"`      // to which it moves
	Accepted    outlier.FalseAlarms  `json:"accepted"`
	Tried       time.Time            `json:"tried,omitzero"` // when the journal was played last
	Moved       time.Time            `json:"moved,omitzero"` // when the sensitivity moved last
	First       time.Time            `json:"first,omitzero"` // beginning of the journal
	Enough      bool                 `json:"enough"`         // the journal is long enough
	Says        string               `json:"says,omitempty"`
	Table       *Table               `json:"table,omitempty"`
	Confirmed   map[string]time.Time `json:"confirmed,omitempty"`
}

// Status is what a Keeper tells.
type Status struct {
	Accepted    outlier.FalseAlarms `json:"accepted"`
	Sensitivity float64             `json:"sensitivity"`    // in force
	Wanted      float64             `json:"wanted"`         // it moves there by steps; 0: not known yet
	Until       time.Time           `json:"until,omitzero"` // the default holds as long; zero: it does not, or nobody knows
	Tried       time.Time           `json:"tried,omitzero"` // when the journal was played last
	Says        string              `json:"says,omitempty"`
}

// NewKeeper makes one and reads what an earlier one has left in Options.Dir.
func NewKeeper(o Options) *Keeper {
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
	k := &Keeper{o: o, started: o.Now(), s: saved{Sensitivity: 1}}
	if o.Dir == "" {
		return k
	}
	k.file = statefile.New(filepath.Join(o.Dir, "tune.json"), maxFile)
	if err := k.load(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.s = saved{Sensitivity: 1}
		o.Report(k.file.SetAside(err))
	}
	return k
}

func (k *Keeper) load() error {
	b, err := k.file.Read()
	if err != nil {
		return err
	}
	var s saved
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	if !(s.Sensitivity >= Least && s.Sensitivity <= Most) || s.Wanted != 0 && !(s.Wanted >= Least && s.Wanted <= Most) {
		return fmt.Errorf("sensitivity %v or %v is not between %v and %v", s.Sensitivity, s.Wanted, Least, Most)
	}
	k.s = s
	return nil
}

// Use takes settings, and gives those that the watch is to have: with the sensitivity in
// force where an operator says which alarms he accepts. Another number than before holds
// at once, as far as the journal has told.
func (k *Keeper) Use(cfg outlier.Config) outlier.Config {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cfg = cfg
	if cfg.FalseAlarms == 0 {
		return cfg
	}
	if k.s.Accepted != cfg.FalseAlarms {
		was := k.s.Accepted
		k.s.Accepted = cfg.FalseAlarms
		if k.s.Enough && k.s.Table != nil {
			k.s.Wanted, k.s.Says = k.s.Table.Wanted(cfg.FalseAlarms), k.s.Table.Words(cfg.FalseAlarms)
			if was != 0 {
				k.move(k.s.Wanted)
			}
		}
	}
	cfg.Sensitivity = k.s.Sensitivity
	return cfg
}

// Run plays the journal when it is due, until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	spare.EachMinute(ctx, k.tick)
}

// tick does what is due; Run calls it every minute.
func (k *Keeper) tick(ctx context.Context) {
	cfg, due := k.due()
	if !due {
		return
	}
	names := k.confirmed()
	table, first, err := k.measure(ctx, cfg, names)
	if ctx.Err() != nil {
		return
	}
	k.mu.Lock()
	k.take(table, first, err)
	b, bad := json.Marshal(&k.s)
	sensitivity, on := k.s.Sensitivity, k.cfg.FalseAlarms != 0
	k.mu.Unlock()
	if on && k.o.Set != nil {
		k.o.Set(sensitivity)
	}
	if k.file != nil && bad == nil {
		k.o.Report(k.file.Write(b))
	}
}

// due reports whether the journal is to be played now, which a trial that fails or ends
// too soon does not repeat before the next day.
func (k *Keeper) due() (cfg outlier.Config, due bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.o.Now()
	switch {
	case k.cfg.FalseAlarms == 0:
	case k.s.Tried.IsZero():
		due = now.Sub(k.started) >= afterStart
	default:
		due = now.Sub(k.s.Tried) >= every || now.Before(k.s.Tried)
	}
	if due {
		k.s.Tried = now
	}
	return k.cfg, due
}

// confirmed remembers who was suspended by hand: the watch forgets it after a month, and
// the journal holds a year.
func (k *Keeper) confirmed() (names []string) {
	if k.o.Confirmed != nil {
		names = k.o.Confirmed()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.o.Now()
	if k.s.Confirmed == nil {
		k.s.Confirmed = map[string]time.Time{}
	}
	for _, name := range names {
		if len(k.s.Confirmed) < maxConfirmed && name != "" {
			k.s.Confirmed[name] = now
		}
	}
	names = names[:0]
	for name, at := range k.s.Confirmed {
		if now.Sub(at) > rememberFor {
			delete(k.s.Confirmed, name)
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// measure plays the journal.
func (k *Keeper) measure(ctx context.Context, cfg outlier.Config, confirmed []string) (table *Table, first time.Time, err error) {
	trace, err := NewTrace(cfg, RandomKey(), k.o.Now())
	if err != nil {
		return nil, first, err
	}
	began := time.Now()
	pause := func() error {
		k.o.Pause(ctx, time.Since(began))
		began = time.Now()
		return ctx.Err()
	}
	n := 0
	err = k.o.Journal(func(ev *mail.Event) error {
		if n++; n%64 == 0 {
			if err := pause(); err != nil {
				return err
			}
		}
		return trace.Add(ev)
	})
	if err != nil {
		return nil, first, err
	}
	table, err = Measure(trace, confirmed, pause)
	if err == nil && len(table.Rows) > 0 {
		first = table.From
	}
	return table, first, err
}

// take takes what the journal says; k.mu is held.
func (k *Keeper) take(table *Table, first time.Time, err error) {
	s := &k.s
	if err != nil {
		s.Says = fmt.Sprintf("the journal could not be played: %v", err)
		k.o.Log.Warn("outlier threshold", "err", err)
		return
	}
	s.Table, s.First, s.Enough = table, first, table.Enough()
	if !s.Enough {
		s.Says, s.Wanted = "the journal is not long enough yet", 0
		return
	}
	if k.cfg.FalseAlarms == 0 {
		return // a reload has come meanwhile
	}
	s.Wanted, s.Says = table.Wanted(k.cfg.FalseAlarms), table.Words(k.cfg.FalseAlarms)
	// The previous sensitivity may have been that of an earlier number.
	k.move(min(max(s.Wanted, s.Sensitivity/stepADay), s.Sensitivity*stepADay))
}

// move puts a sensitivity in force; k.mu is held.
func (k *Keeper) move(to float64) {
	s := &k.s
	to = math.Round(1000*min(max(to, Least), Most)) / 1000
	if math.Abs(to-s.Sensitivity) < 0.005 {
		return
	}
	k.o.Log.Info("outlier threshold", "sensitivity_was", s.Sensitivity, "sensitivity", to, "moves_to", s.Wanted, "accepted", s.Accepted.String(), "says", s.Says)
	s.Sensitivity, s.Moved = to, k.o.Now()
}

// Status tells what is in force; nil where an operator says no number of alarms.
func (k *Keeper) Status() *Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cfg.FalseAlarms == 0 {
		return nil
	}
	s := &Status{Accepted: k.cfg.FalseAlarms, Sensitivity: k.s.Sensitivity, Wanted: k.s.Wanted, Tried: k.s.Tried, Says: k.s.Says}
	if !k.s.Enough && !k.s.First.IsZero() {
		s.Until = EnoughAt(k.s.First)
	}
	return s
}

// Sensitivity is the one in force.
func (k *Keeper) Sensitivity() float64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cfg.FalseAlarms == 0 {
		return k.cfg.Sensitivity
	}
	return k.s.Sensitivity
}
