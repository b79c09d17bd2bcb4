package watch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/internal/alert"
	"postern/mail"
)

type clock struct{ now time.Time }

func (c *clock) read() time.Time { return c.now }

func newWatch() (*Watch, *clock) {
	c := &clock{time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)}
	return New(c.read), c
}

func event(upstream string, code int, said *mail.Evidence) *mail.Event {
	return &mail.Event{ID: "t1", Client: "shop", Stream: "main", Upstream: upstream, From: "a@example.org",
		To: []mail.RecipientEvent{{Address: "b@dest.example", Rule: "upstream", Code: code, Said: said}}}
}

// TestNoSuccessIsToldAfterAQuarterOfAnHour of deferrals alone, whatever the reason, and
// is over with the first answer.
func TestNoSuccessIsToldAfterAQuarterOfAnHour(t *testing.T) {
	w, c := newWatch()
	w.Observe(event("up", 250, nil))
	for i := range 30 {
		c.now = c.now.Add(time.Minute)
		w.Observe(event("up", 451, nil))
		w.Observe(event("other", 250, nil))
		got := w.NoSuccess(nil)
		if (len(got) == 1) != (i >= 15) {
			t.Fatalf("after %d minutes: %d", i, len(got))
		}
	}
	c.now = c.now.Add(time.Hour) // clients wait longer and longer
	if got := w.NoSuccess(nil); len(got) != 1 || got[0].About.Upstream != "up" || got[0].Numbers["deferred"] != 30 {
		t.Errorf("%+v", got)
	}
	w.Observe(event("up", 250, nil))
	if got := w.NoSuccess(nil); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// TestWhatIsAboutARecipientIsNoSilenceOfTheUpstream: full mailboxes, and mail that we
// deferred ourselves.
func TestWhatIsAboutARecipientIsNoSilenceOfTheUpstream(t *testing.T) {
	w, c := newWatch()
	for range 60 {
		c.now = c.now.Add(time.Minute)
		w.Observe(event("up", 452, &mail.Evidence{About: mail.AboutRecipient}))
		ours := event("up", 450, nil)
		ours.To[0].Rule = "limit sender"
		w.Observe(ours)
	}
	if got := w.NoSuccess(nil); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// TestAfterARestartWhatIsNotKnownStays as it was told.
func TestAfterARestartWhatIsNotKnownStays(t *testing.T) {
	w, c := newWatch()
	held := []alert.Alert{{Condition: "no_success upstream up", About: alert.About{Upstream: "up"}}}
	if got := w.NoSuccess(held); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	c.now = c.now.Add(time.Minute)
	w.Observe(event("up", 250, nil))
	if got := w.NoSuccess(held); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestRefusalsOfAStream(t *testing.T) {
	w, c := newWatch()
	answer := func(n, code int) {
		for range n {
			w.Observe(event("up", code, nil))
		}
	}
	answer(90, 550)
	if got := w.Refusals(nil); len(got) != 0 {
		t.Errorf("of 90 recipients: %+v", got)
	}
	answer(810, 250)
	if got := w.Refusals(nil); len(got) != 1 || got[0].Numbers["share"] != 0.1 || !strings.Contains(got[0].Summary, "90 of 900") {
		t.Errorf("%+v", got)
	}
	answer(300, 250) // 7.5 %: it stays
	if got := w.Refusals(nil); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	answer(300, 250)
	if got := w.Refusals(nil); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	answer(500, 550)
	c.now = c.now.Add(61 * time.Minute)
	if got := w.Refusals(nil); len(got) != 0 {
		t.Errorf("an hour later: %+v", got)
	}
}

func TestNearLimitsComeAndGo(t *testing.T) {
	w, c := newWatch()
	charge := func(used int64, refused bool) {
		e := event("up", 250, nil)
		e.Limits = []mail.LimitEvent{{Limit: "sender", Key: "sender=a@example.org", Unit: "messages", Window: time.Hour, Max: 100, Used: used, Refused: refused},
			{Limit: "shadow", Key: "x", Window: time.Hour, Max: 100, Used: 100, Shadow: true}}
		w.Observe(e)
	}
	for _, step := range []struct {
		used    int64
		refused bool
		near    int
	}{{79, false, 0}, {80, false, 1}, {75, false, 1}, {69, false, 0}, {100, true, 1}} {
		charge(step.used, step.refused)
		if got := w.NearLimits(nil); len(got) != step.near {
			t.Errorf("%+v: %+v", step, got)
		}
	}
	c.now = c.now.Add(time.Hour)
	if got := w.NearLimits(nil); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// TestSendersMakeNothingGrow: a million of them, and names that nobody configured.
func TestSendersMakeNothingGrow(t *testing.T) {
	w, _ := newWatch()
	for i := range 20_000 {
		e := event(fmt.Sprint("up", i), 550, nil)
		e.Stream, e.From = fmt.Sprint("stream", i), fmt.Sprintf("s%d@example.org", i)
		e.Limits = []mail.LimitEvent{{Limit: "sender", Key: e.From, Window: time.Hour, Max: 1, Used: 1}}
		w.Observe(e)
	}
	if len(w.ways) > maxNames+1 || len(w.rates) > maxNames+1 || len(w.near) > maxNear {
		t.Errorf("%d, %d, %d", len(w.ways), len(w.rates), len(w.near))
	}
}

func TestLastFindsTheTransaction(t *testing.T) {
	w, _ := newWatch()
	for i := range 300 {
		e := event("up", 250, nil)
		e.ID, e.User, e.From, e.MessageID = fmt.Sprint("t", i), fmt.Sprint("u", i%10), fmt.Sprintf("S%d@example.org", i%7), fmt.Sprintf("<%d@x>", i)
		w.Observe(e)
	}
	var about alert.About
	w.Last("shop", "u3", "", &about)
	if about.Transaction != "t293" || about.MessageID != "<293@x>" || about.Envelope.ToCount != 1 {
		t.Errorf("%+v", about)
	}
	about = alert.About{}
	w.Last("", "", "nobody@example.org", &about)
	if about.Transaction != "" || about.Envelope != nil {
		t.Errorf("%+v", about)
	}
}

func BenchmarkObserve(b *testing.B) {
	w, _ := newWatch()
	e := event("up", 250, nil)
	e.Limits = []mail.LimitEvent{{Limit: "sender", Key: e.From, Window: time.Hour, Max: 100, Used: 1}, {Limit: "client", Key: "c", Window: time.Hour, Max: 100, Used: 1}}
	b.ReportAllocs()
	for b.Loop() {
		w.Observe(e)
	}
}
