package tune

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/mail"
)

// desk is a keeper with a clock and a journal.
type desk struct {
	*Keeper
	o      Options
	now    time.Time
	events []*mail.Event
	fails  error
	set    []float64
	played int
}

func newDesk(t *testing.T, events []*mail.Event) *desk {
	d := &desk{events: events, now: start.AddDate(1, 0, 0)}
	d.o = Options{Dir: t.TempDir(), Now: func() time.Time { return d.now }, Pause: func(context.Context, time.Duration) {},
		Set: func(x float64) { d.set = append(d.set, x) }, Report: func(err error) {
			if err != nil {
				t.Error(err)
			}
		}, Journal: func(add func(*mail.Event) error) error {
			d.played++
			for _, ev := range d.events {
				if err := add(ev); err != nil {
					return err
				}
			}
			return d.fails
		}}
	d.start()
	return d
}

func (d *desk) start() {
	d.Keeper = NewKeeper(d.o)
	d.Use(defaults())
}

// pass lets days go by, with a look each minute that matters.
func (d *desk) pass(t *testing.T, days int) {
	for range days {
		d.now = d.now.Add(24 * time.Hour)
		d.tick(t.Context())
	}
}

func TestSensitivityMovesByAStepADay(t *testing.T) {
	d := newDesk(t, office(6, 40))
	d.tick(t.Context())
	if d.played != 0 {
		t.Error("the journal was played at the start")
	}
	last := 1.0
	for range 5 {
		d.pass(t, 1)
		is := d.Status().Sensitivity
		if is > last*stepADay+0.001 || is < last/stepADay-0.001 {
			t.Fatalf("from %v to %v in a day", last, is)
		}
		last = is
		d.tick(t.Context()) // not again on that day
	}
	s := d.Status()
	if d.played != 5 || last == 1 || s.Wanted == 0 || s.Says == "" || !s.Until.IsZero() {
		t.Errorf("played %d times, %+v", d.played, *s)
	}
	if got := d.set[len(d.set)-1]; got != last {
		t.Errorf("the watch has %v, in force is %v", got, last)
	}
	// It outlasts a restart, and nothing is played at once.
	d.start()
	d.tick(t.Context())
	if got := d.Use(defaults()).Sensitivity; got != last || d.played != 5 {
		t.Errorf("after a restart %v instead of %v, played %d times", got, last, d.played)
	}
	// An operator's other number holds at once.
	cfg := defaults()
	cfg.FalseAlarms = 100_000
	if got := d.Use(cfg).Sensitivity; got != Most {
		t.Errorf("with another number %v", got)
	}
	// The knob of an expert holds as it is.
	cfg.FalseAlarms, cfg.Sensitivity = 0, 0.7
	if got := d.Use(cfg).Sensitivity; got != 0.7 || d.Status() != nil || d.Sensitivity() != 0.7 {
		t.Errorf("without a number of alarms %v", got)
	}
}

func TestShortJournalLeavesTheDefault(t *testing.T) {
	d := newDesk(t, office(4, 30))
	d.pass(t, 3)
	s := d.Status()
	if s.Sensitivity != 1 || s.Wanted != 0 || !s.Until.Equal(EnoughAt(d.events[0].Time)) {
		t.Errorf("%+v", *s)
	}
	d.events, d.fails = nil, errors.New("journal.jsonl:7: not a journal line")
	d.pass(t, 1)
	if s := d.Status(); s.Sensitivity != 1 || s.Says == "" {
		t.Errorf("%+v", *s)
	}
}

// TestReloadDuringTheReplay: a number that is gone by its end moves nothing.
func TestReloadDuringTheReplay(t *testing.T) {
	d := newDesk(t, office(4, 40))
	d.Keeper.o.Pause = func(context.Context, time.Duration) {
		cfg := defaults()
		cfg.FalseAlarms, cfg.Sensitivity = 0, 0.7
		d.Use(cfg)
	}
	d.pass(t, 1)
	if d.Sensitivity() != 0.7 || len(d.set) != 0 || d.s.Sensitivity != 1 {
		t.Errorf("in force %v, kept %v, set %v", d.Sensitivity(), d.s.Sensitivity, d.set)
	}
}

// TestStopEndsTheReplay: a relay that stops does not wait for it, and the day is not
// lost for it.
func TestStopEndsTheReplay(t *testing.T) {
	d := newDesk(t, office(3, 40))
	ctx, cancel := context.WithCancel(t.Context())
	d.Keeper.o.Pause = func(context.Context, time.Duration) { cancel() }
	d.now = d.now.Add(24 * time.Hour)
	d.tick(ctx)
	if s := d.Status(); s.Sensitivity != 1 || s.Wanted != 0 || len(d.set) != 0 {
		t.Errorf("%+v", *s)
	}
}

func TestDamagedResultIsSetAside(t *testing.T) {
	d := newDesk(t, nil)
	for name, text := range map[string]string{"cut off": `{"sensitivity": 0.`, "out of range": `{"sensitivity": 90}`, "not a number": `{"sensitivity": "x"}`, "blank": ``} {
		if err := os.WriteFile(filepath.Join(d.o.Dir, "tune.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		told := false
		d.o.Report = func(err error) { told = told || err != nil }
		d.start()
		if !told || d.Status().Sensitivity != 1 {
			t.Errorf("%s: told %v, sensitivity %v", name, told, d.Status().Sensitivity)
		}
	}
}

// TestConfirmedAreRemembered: the watch forgets them after a month.
func TestConfirmedAreRemembered(t *testing.T) {
	d := newDesk(t, office(3, 40))
	d.o.Confirmed = func() []string { return []string{"evil", ""} }
	d.start()
	d.pass(t, 1)
	d.o.Confirmed = nil
	d.start()
	if got := d.confirmed(); len(got) != 1 || got[0] != "evil" {
		t.Errorf("confirmed %v", got)
	}
	d.now = d.now.Add(rememberFor + time.Hour)
	if got := d.confirmed(); len(got) != 0 {
		t.Errorf("after more than a year %v", got)
	}
}
