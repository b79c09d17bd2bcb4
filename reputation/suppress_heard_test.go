package reputation

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/dnstest"
	"postern/mail"
)

func unknown(to, domain string) *RecipientReply {
	return &RecipientReply{Stream: "main", Recipient: mail.RecipientID(to + "@" + domain), Domain: domain, Unknown: true, Reply: "550 5.1.1 user unknown"}
}

func taken(to, domain string) *RecipientReply {
	return &RecipientReply{Stream: "main", Recipient: mail.RecipientID(to + "@" + domain), Domain: domain, Taken: true}
}

// TestOneRefusalSuppressesForAnHour and a second one, by a later message, for the
// whole time.
func TestOneRefusalSuppressesForAnHour(t *testing.T) {
	c := dnstest.NewClock()
	s := NewSuppressions(0, 0, c.Now)
	held := func() bool { return s.Suppressed("main", "a@x.example") }
	s.Heard(unknown("a", "x.example"))
	s.Heard(unknown("a", "x.example")) // it was on its way
	if !held() {
		t.Fatal("not suppressed at once")
	}
	c.Add(61 * time.Minute)
	if held() || len(s.List()) != 0 {
		t.Fatal("one refusal holds for more than an hour")
	}
	s.Heard(unknown("a", "x.example"))
	c.Add(6 * 24 * time.Hour)
	if !held() {
		t.Error("two refusals hold for less than the whole time")
	}
	c.Add(2 * 24 * time.Hour)
	if held() {
		t.Error("still suppressed after the whole time")
	}
	s.Heard(unknown("a", "x.example"))
	if c.Add(2 * time.Hour); held() {
		t.Error("what was long ago counts as a first refusal")
	}
}

func TestFirstRefusalIsForgotten(t *testing.T) {
	for name, between := range map[string]func(*Suppressions, *dnstest.Clock){
		"a message is taken":   func(s *Suppressions, _ *dnstest.Clock) { s.Heard(taken("a", "x.example")) },
		"the whole time goes":  func(_ *Suppressions, c *dnstest.Clock) { c.Add(8 * 24 * time.Hour) },
		"an operator lifts it": func(s *Suppressions, _ *dnstest.Clock) { s.Remove("", "a@x.example") },
	} {
		c := dnstest.NewClock()
		s := NewSuppressions(0, 0, c.Now)
		s.Heard(unknown("a", "x.example"))
		c.Add(2 * time.Hour)
		between(s, c)
		s.Heard(unknown("a", "x.example"))
		if c.Add(2 * time.Hour); s.Suppressed("main", "a@x.example") {
			t.Errorf("%s: the next refusal counts as a second one", name)
		}
	}
}

func TestShortTimeHoldsForFirstRefusals(t *testing.T) {
	c := dnstest.NewClock()
	s := NewSuppressions(10*time.Minute, 0, c.Now)
	s.Heard(unknown("a", "x.example"))
	if c.Add(11 * time.Minute); s.Suppressed("main", "a@x.example") {
		t.Error("suppressed for longer than configured")
	}
}

func TestDoubtSuppressesNobody(t *testing.T) {
	s := NewSuppressions(0, 0, dnstest.NewClock().Now)
	v := unknown("a", "x.example")
	v.Doubt = true
	if s.Heard(v); len(s.List()) != 0 {
		t.Error("suppressed by a reply that hints at trouble")
	}
}

func TestFirstRefusalsSurviveARestart(t *testing.T) {
	c, file := dnstest.NewClock(), filepath.Join(t.TempDir(), "s.json")
	s := NewSuppressions(0, 0, c.Now)
	s.Heard(unknown("a", "x.example"))
	c.Add(2 * time.Hour)
	if err := s.Save(file); err != nil {
		t.Fatal(err)
	}
	s = NewSuppressions(0, 0, c.Now)
	if err := s.Load(file); err != nil {
		t.Fatal(err)
	}
	if len(s.List()) != 0 {
		t.Error("it holds after a restart")
	}
	s.Heard(unknown("a", "x.example"))
	if c.Add(24 * time.Hour); !s.Suppressed("main", "a@x.example") {
		t.Error("the first refusal was lost with the restart")
	}
}

// TestWaveSuppressesNobody: when a directory is away all its mailboxes are unknown.
func TestWaveSuppressesNobody(t *testing.T) {
	c := dnstest.NewClock()
	s := NewSuppressions(0, 0, c.Now)
	s.Heard(unknown("old", "x.example"))
	s.Add("main", "hand@x.example", "by hand", 0)
	s.Heard(unknown("other", "y.example"))
	c.Add(2 * time.Hour)
	var events []*Event
	for i := range 60 {
		c.Add(5 * time.Second)
		if e := s.Heard(unknown(fmt.Sprintf("u%d", i), "x.example")); e != nil {
			events = append(events, e)
		}
		s.Heard(unknown("old", "x.example"))
		if i%2 == 0 {
			s.Heard(taken("good", "x.example"))
		}
	}
	if len(events) != 1 || events[0].Kind != EventWave || events[0].Subject != "x.example" {
		t.Errorf("events %+v", events)
	}
	if l := s.List(); len(l) != 1 || l[0].Recipient != "hand@x.example" {
		t.Errorf("suppressed: %+v", l)
	}
	// It goes on after the wave, with what was known before.
	c.Add(20 * time.Minute)
	s.Heard(unknown("old", "x.example"))
	s.Heard(unknown("u1", "x.example"))
	c.Add(90 * time.Minute)
	if s.Suppressed("main", "u1@x.example") || !s.Suppressed("main", "old@x.example") {
		t.Errorf("after the wave: %+v", s.List())
	}
}

func TestManyUnknownAmongManyGoodAreNoWave(t *testing.T) {
	c := dnstest.NewClock()
	s := NewSuppressions(0, 0, c.Now)
	for i := range 100 {
		if e := s.Heard(unknown(fmt.Sprintf("u%d", i), "x.example")); e != nil {
			t.Fatalf("a wave: %+v", e)
		}
		s.Heard(taken("good", "x.example"))
		s.Heard(taken("good", "x.example"))
		c.Add(time.Second)
	}
	if n := len(s.List()); n != 100 {
		t.Errorf("%d suppressed", n)
	}
	for i := range 100 { // slowly
		if e := s.Heard(unknown(fmt.Sprintf("u%d", i), "z.example")); e != nil {
			t.Fatalf("a slow wave: %+v", e)
		}
		c.Add(time.Minute)
	}
}

func TestWavesStayBounded(t *testing.T) {
	c := dnstest.NewClock()
	w := waves{domains: map[string]*wave{}}
	for i := range 3 * maxWaves {
		w.note(fmt.Sprint(i), true, c.Now())
	}
	if len(w.domains) > maxWaves {
		t.Errorf("%d domains", len(w.domains))
	}
	c.Add(time.Hour)
	for range 30 {
		w.note("new", true, c.Now())
	}
	if on, _ := w.note("new", true, c.Now()); !on || len(w.domains) > 2 {
		t.Errorf("wave %t of %d domains", on, len(w.domains))
	}
	c.Add(-time.Hour)
	if on, _ := w.note("new", true, c.Now()); on {
		t.Error("a wave that a clock put back goes on")
	}
}
