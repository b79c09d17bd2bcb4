package outlier

import (
	"context"
	"sync"
	"testing"
	"time"

	"postern/internal/redistest"
	"postern/mail"
)

const fortnight = 14 * 24 * time.Hour

// since checks from when on a client counts as watched.
func (r *rig) since(what string, want time.Time) {
	r.t.Helper()
	if got := r.Past("shop", "", "a@x.example").Since; !got.Equal(want.Truncate(24 * time.Hour)) {
		r.t.Errorf("%s: watched since %v, want %v", what, got, want)
	}
}

// stop ends a watch in order.
func (r *rig) stop() {
	stopped, stop := context.WithCancel(context.Background())
	stop()
	r.Run(stopped)
}

func more(c *Config) { c.MaxKnown = 1_000_000 }

// TestAnotherMaxKnownBeginsAnew: when all are forgotten, limits on strangers must not take
// the client's regular correspondents for strangers of one whose past is known.
func TestAnotherMaxKnownBeginsAnew(t *testing.T) {
	dir := t.TempDir()
	r := newRigIn(t, dir, nil, nil)
	first := r.at
	r.ordinary("shop", "", "a@x.example", 30, 5)
	r.since("at first", first)
	r.stop()
	r.open(dir, nil, nil)
	r.since("after a restart", first)
	r.stop()

	r.at = r.at.Add(3 * 24 * time.Hour) // it lay still
	changed := r.at
	r.open(dir, nil, more)
	r.since("after the change", changed)
	if c, _ := r.Stranger("shop", "a@x.example", mail.RecipientID("colleague1@y.example")); !c {
		t.Error("known in a table of another size")
	}
	r.ordinary("shop", "", "a@x.example", 5, 5)
	r.tick()
	r.stop()
	r.open(dir, nil, more)
	r.since("a restart later", changed)
	if all, err := WatchedSince(r.dirAfterStop(dir)); err != nil || !all["shop"].Equal(changed.Truncate(24*time.Hour)) {
		t.Errorf("relay check says %v, %v", all, err)
	}
	r.at = r.at.Add(fortnight)
	r.since("a fortnight later", changed)
}

// dirAfterStop is the folder, when all is in it.
func (r *rig) dirAfterStop(dir string) string {
	r.stop()
	return dir
}

// TestNodeThatCannotReadTheTableBeginsAnew: one with another max_known learns from the
// others for how long they know a client, and not whom it writes to; one with the same
// learns both.
func TestNodeThatCannotReadTheTableBeginsAnew(t *testing.T) {
	s := redistest.Start(t)
	start := func(at time.Time, change func(*Config)) (r *rig, stop func()) {
		r = &rig{t: t, at: at}
		r.open("", &Shared{Client: client(t, s.Addr), Prefix: "test"}, change)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.Run(ctx)
		}()
		stop = sync.OnceFunc(func() { cancel(); <-done })
		t.Cleanup(stop)
		eventually(t, "the node to join", r.link.Joined)
		return r, stop
	}
	began := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	one, stop := start(began, nil)
	stop() // it has the others' seed, and its clock is the test's again
	one.ordinary("shop", "", "a@x.example", 30, 5)
	one.stop() // writes what it has
	now := one.at

	same, _ := start(now, nil)
	same.since("the same max_known", began)
	if c, _ := same.Stranger("shop", "a@x.example", "colleague1@y.example"); c {
		t.Error("a recipient that another node knows is a stranger")
	}
	other, _ := start(now, more)
	other.since("another max_known", now)
	ev := event("shop", "", "a@x.example")
	to(ev, "colleague1@y.example", false)
	other.Observe(ev)
	other.since("another max_known, in use", now)
}
