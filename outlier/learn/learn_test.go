package learn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/mail"
	"postern/outlier"
)

const day = 24 * time.Hour

// desk is a watch with a keeper, their clock and a journal.
type desk struct {
	*Keeper
	t       *testing.T
	dir     string
	at      time.Time
	known   int
	pairs   bool
	clients []string
	events  []*mail.Event
	read    int // how often the journal was
	fails   error
	stop    func()
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, dir: t.TempDir(), at: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC), known: 100_000, clients: []string{"shop"}}
	d.open()
	t.Cleanup(func() { d.stop() })
	return d
}

func (d *desk) open() {
	var cfg outlier.Config
	cfg.SetDefaults()
	cfg.MaxKnown, cfg.Pairs = d.known, d.pairs
	now := func() time.Time { return d.at }
	w, err := outlier.New(cfg, outlier.Options{Now: now, Dir: d.dir})
	if err != nil {
		d.t.Fatal(err)
	}
	d.Keeper = New(Options{
		Dir: d.dir, Now: now, Watch: w, Days: 14, Clients: func() []string { return d.clients },
		Report: func(err error) {
			if err != nil {
				d.t.Error(err)
			}
		},
		Pause: func(context.Context, time.Duration) {},
		Journal: func(add func(*mail.Event) error) (int, error) {
			d.read++
			for _, ev := range d.events {
				if err := add(ev); err != nil {
					return 0, err
				}
			}
			return 0, d.fails
		},
	})
	d.stop = func() {
		ctx, stop := context.WithCancel(context.Background())
		stop()
		w.Run(ctx)
	}
}

// again is a restart.
func (d *desk) again() {
	d.stop()
	d.open()
	d.later(2 * time.Minute)
}

func (d *desk) later(wait time.Duration) {
	d.at = d.at.Add(wait)
	d.Tick(d.t.Context())
}

// wrote has a client write to somebody, so long ago.
func (d *desk) wrote(client, to string, ago time.Duration) *mail.Event {
	ev := &mail.Event{Time: d.at.Add(-ago), Client: client, From: "a@x.example", Outcome: mail.Relayed,
		To: []mail.RecipientEvent{{Address: to, Outcome: mail.Relayed, Code: 250, Rule: "upstream"}}}
	d.events = append(d.events, ev)
	return ev
}

// daily has a client write to one colleague on each of so many days.
func (d *desk) daily(client string, from, to int) {
	for ago := from; ago >= to; ago-- {
		d.wrote(client, fmt.Sprintf("day%d@y.example", ago), time.Duration(ago)*day)
	}
}

// since checks from when on the past of a client is known; ago -1: it is not.
func (d *desk) since(client string, ago int) {
	d.t.Helper()
	var want time.Time
	if ago >= 0 {
		want = d.at.Add(-time.Duration(ago) * day).Truncate(day)
	}
	if got := d.o.Watch.Past(client, "", "a@x.example").Since; !got.Equal(want) {
		d.t.Errorf("%s is known since %v, want %v", client, got, want)
	}
}

func (d *desk) stranger(client, to string, want bool) {
	d.t.Helper()
	if got, _ := d.o.Watch.Stranger(client, "a@x.example", mail.RecipientOf(to)); got != want {
		d.t.Errorf("%s is a stranger to %s: %v", to, client, got)
	}
}

// TestPastIsReadFromTheJournal: whom an upstream has taken mail for is known, whoever
// comes new is a stranger, and a restart reads nothing again.
func TestPastIsReadFromTheJournal(t *testing.T) {
	d := newDesk(t)
	d.daily("shop", 20, 0)
	d.daily("other", 30, 0)
	d.Tick(t.Context())
	if d.read != 0 {
		t.Error("the journal was read at the start")
	}
	d.since("shop", -1)
	d.later(2 * time.Minute)
	d.since("shop", 20)
	d.since("other", -1)
	d.stranger("shop", "DAY20@y.example", false)
	d.stranger("shop", "day30@y.example", true)
	d.stranger("shop", "new@y.example", true)
	d.stranger("other", "day20@y.example", true)

	d.later(2 * time.Hour)
	d.again()
	d.since("shop", 20)
	d.stranger("shop", "day7@y.example", false)
	if read, err := Read(d.dir); d.Keeper.o.Watch == nil || err != nil || read["shop"].Since.IsZero() || d.read != 1 {
		t.Errorf("read %d times, left %v, %v", d.read, read, err)
	}
}

// TestShortPastStaysInShadow: 14 days count from the first message in the journal, and
// behind a gap in it.
func TestShortPastStaysInShadow(t *testing.T) {
	d := newDesk(t)
	d.clients = []string{"shop", "idle", "quiet", "late"}
	d.daily("shop", 10, 0)
	d.wrote("quiet", "one@y.example", 30*day) // before the gap only
	d.daily("late", 40, 25)
	d.daily("late", 5, 0)
	d.later(2 * time.Minute)
	d.since("shop", 10)
	d.since("idle", -1)
	d.since("quiet", -1)
	d.since("late", 5)
	d.stranger("late", "day40@y.example", false)
	d.at = d.at.Add(4 * day)
	d.since("shop", 14)
}

// TestAWeekWithoutMailIsNoGap: an office that is closed for some days has a past; a
// journal that has not gone on until now has none.
func TestAWeekWithoutMailIsNoGap(t *testing.T) {
	d := newDesk(t)
	d.daily("shop", 25, 15)
	d.daily("shop", 8, 6)
	d.later(2 * time.Minute)
	d.since("shop", 25)

	d = newDesk(t)
	d.daily("shop", 40, 9)
	d.later(2 * time.Minute)
	d.since("shop", -1)
}

// TestOnlyWhatAnUpstreamTookCounts: no other end of a message, no line of a clock that
// went wrong.
func TestOnlyWhatAnUpstreamTookCounts(t *testing.T) {
	d := newDesk(t)
	for i, outcome := range []string{mail.Rejected, mail.Deferred, mail.Aborted} {
		d.wrote("shop", fmt.Sprintf("ended%d@y.example", i), 20*day).To[0].Outcome = outcome
	}
	d.wrote("shop", "had@y.example", 20*day).To[0].Rule = mail.RuleHalves
	d.wrote("shop", "odd@y.example", 20*day).To[0].Code = 450
	d.wrote("shop", "future@y.example", -day)
	d.wrote("shop", "long@y.example", 500*day)
	d.wrote("shop", "1970@y.example", 0).Time = time.Unix(5, 0)
	d.wrote("", "nobody@y.example", day)
	d.wrote("shop", "bounce@y.example", day).From = "<>"
	d.wrote("shop\x00", "forged@y.example", day)
	d.wrote("shop", "taken@y.example\",\"client\":\"other", day)
	d.later(2 * time.Minute)
	d.since("shop", 1)
	for _, to := range []string{"ended0", "ended1", "ended2", "had", "odd", "future", "long", "1970", "nobody", "bounce", "forged", "taken"} {
		d.stranger("shop", to+"@y.example", true)
	}
}

// TestLostTableIsLearnedAnew: the past counts for as long as the table itself says that
// it is there.
func TestLostTableIsLearnedAnew(t *testing.T) {
	d := newDesk(t)
	d.daily("shop", 20, 0)
	d.later(2 * time.Minute)
	d.since("shop", 20)
	d.stop()
	counts, err := filepath.Glob(filepath.Join(d.dir, "counts-*"))
	if err != nil || len(counts) == 0 {
		t.Fatal("there are no counts", err)
	}
	for _, name := range counts {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	d.open()
	d.since("shop", -1)
	d.later(2 * time.Minute)
	d.since("shop", 20)

	d.known = 1_000_000
	d.stop()
	d.open()
	d.since("shop", -1)
	d.later(2 * time.Minute)
	d.since("shop", 20)
	d.stranger("shop", "day20@y.example", false)
	if d.read != 3 {
		t.Errorf("read %d times", d.read)
	}
}

// TestSendersAreLearnedWhenTheyAreAskedAbout: pairs of sender and recipient, too.
func TestSendersAreLearnedWhenTheyAreAskedAbout(t *testing.T) {
	d := newDesk(t)
	d.daily("shop", 20, 0)
	d.later(2 * time.Minute)
	d.pairs = true
	d.stop()
	d.open()
	d.since("shop", -1) // of senders nothing is known
	d.later(2 * time.Minute)
	d.since("shop", 20)
	for from, want := range map[mail.Identity]bool{"a@x.example": false, "b@x.example": true} {
		if _, got := d.o.Watch.Stranger("shop", from, "day20@y.example"); got != want {
			t.Errorf("a stranger to %s: %v", from, got)
		}
	}
}

// TestNobodyIsForgottenForThePast: a journal with more than there is room for pushes
// nobody out, is not believed, and is tried again after an hour only.
func TestNobodyIsForgottenForThePast(t *testing.T) {
	d := newDesk(t)
	d.known = 1
	d.stop()
	d.open()
	const seen = 2000
	for i := range seen {
		d.o.Watch.Observe(&mail.Event{Client: "shop", From: "a@x.example", Outcome: mail.Relayed, Time: d.at,
			To: []mail.RecipientEvent{{Address: fmt.Sprintf("seen%d@y.example", i), Outcome: mail.Relayed, Code: 250, Rule: "upstream"}}})
	}
	d.daily("shop", 20, 0)
	for i := range 60_000 {
		d.wrote("shop", fmt.Sprintf("many%d@y.example", i), day)
	}
	d.later(2 * time.Minute)
	d.since("shop", 0)
	for i := range seen {
		d.stranger("shop", fmt.Sprintf("seen%d@y.example", i), false)
	}
	d.later(time.Minute)
	if d.read != 1 {
		t.Errorf("read %d times", d.read)
	}
}

// TestJournalThatFailsIsNotBelieved: nor is one that was read in part.
func TestJournalThatFailsIsNotBelieved(t *testing.T) {
	d := newDesk(t)
	d.daily("shop", 20, 0)
	d.fails = errors.New("input/output error")
	d.later(2 * time.Minute)
	d.since("shop", -1)
	d.stranger("shop", "day20@y.example", true)
	d.fails = nil
	d.later(2 * time.Hour)
	d.since("shop", 20)
	if err := os.WriteFile(filepath.Join(d.dir, "learned.json"), []byte(`{"shop":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(d.dir); err == nil {
		t.Error("a damaged file was read")
	}
}
