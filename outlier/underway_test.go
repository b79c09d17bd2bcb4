package outlier

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"postern/mail"
	"postern/outlier/detector"
)

// atOnce prepares so many transactions of 100 recipients, one recipient each at
// RCPT, and lets all of them end at one moment. It gives the recipients that were
// admitted.
func (r *rig) atOnce(transactions int, user, stream string, from func(i int) string) (out int) {
	r.t.Helper()
	admit := func(i, n int) Judgment {
		return r.Admit(fmt.Sprint("t", i), "shop", user, "", stream, mail.Identity(from(i)), n)
	}
	for i := range transactions {
		admit(i, 1)
	}
	for i := range transactions {
		v := admit(i, 100)
		if v.Refuse() {
			if !v.Pace() || v.Scope == "" || v.Name == "" || v.Left(r.at) != flightWait {
				r.t.Errorf("verdict %+v", v)
			}
			continue
		}
		out += 100
		if admit(i, 100).Refuse() { // before it is forwarded
			r.t.Error("a message that was let through is refused later on")
		}
	}
	return out
}

// land ends the transactions of atOnce, each in another way.
func (r *rig) land(transactions int, user string, from func(i int) string) {
	r.t.Helper()
	for i := range transactions {
		ev := event("shop", user, from(i))
		ev.ID = fmt.Sprint("t", i)
		switch i % 5 {
		case 0:
			to(ev, fmt.Sprintf("colleague%d@y.example", i), false)
		case 1:
			to(ev, fmt.Sprintf("nobody%d@y.example", i), true)
		case 2:
			ev.Outcome, ev.Stage, ev.Rule = mail.Deferred, "data", "outlier user"
		case 3:
			ev.Outcome, ev.Stage = mail.Aborted, "rcpt"
		case 4:
			ev.Outcome, ev.Stage, ev.Rule = mail.Rejected, "mail", "senders"
		}
		r.Observe(ev)
	}
	if len(r.flights.of)+len(r.flights.by) > 0 {
		r.t.Errorf("still on their way: %v, %v", r.flights.of, r.flights.by)
	}
}

func oneName(int) string { return "a@x.example" }

// TestPreparedMessagesAtOnce is the stolen password whose messages all end at one
// moment, before any of them is counted.
func TestPreparedMessagesAtOnce(t *testing.T) {
	for _, row := range []struct {
		name, user string
		from       func(int) string
		most       int
	}{
		{"a user", "anna", oneName, 400},
		{"a user with a new name each", "anna", newNames, 400},
		{"a user without a name", "anna", func(int) string { return string(mail.NullSender) }, 400},
		{"a client", "", oneName, 400},
		{"a client with a new name each", "", newNames, 900},
	} {
		r := newRig(t, nil)
		r.ordinary("shop", row.user, "a@x.example", 70, 20)
		out := r.atOnce(120, row.user, "", row.from)
		if out > row.most {
			t.Errorf("%s: %d recipients on their way, want at most %d", row.name, out, row.most)
		}
		r.land(120, row.user, row.from)
		if r.Admit("next", "shop", row.user, "", "", "quiet@x.example", 1).Pace() && r.state(User, "anna") < Throttled && r.state(Client, "shop") < Throttled {
			t.Errorf("%s: a message waits although nothing else is on its way", row.name)
		}
	}
}

// TestUsualMailAtOnceDoesNotWait: who sends as usual, or as an operator expects,
// does not notice how much of it goes at one time; nor do others beside it.
func TestUsualMailAtOnceDoesNotWait(t *testing.T) {
	expected := func(c *Config) {
		c.Sender = map[string]Expectation{"a@x.example": {Expected: []Pace{{Recipients: 2000, Window: time.Hour}}}}
	}
	for _, row := range []struct {
		name, user string
		record     bool // of 2000 recipients at once; else of 20 messages a day
		change     func(*Config)
	}{
		{"within its record", "anna", true, nil},
		{"a client within its record", "", true, nil},
		{"expected", "anna", false, expected},
		{"expected of a client's sender", "", false, expected},
		{"exempt", "anna", false, func(c *Config) { c.ExemptSenders = []string{"a@x.example"} }},
		{"an exempt client", "", false, func(c *Config) { c.ExemptClients = []string{"shop"} }},
		{"shadow", "anna", false, func(c *Config) { c.Mode = Shadow }},
		{"no pace", "anna", false, func(c *Config) { c.Volume.Throttle, c.Volume.Suspend = 0, 0 }},
	} {
		r := newRig(t, row.change)
		r.ordinary("shop", row.user, "a@x.example", 70, 20)
		if row.record {
			r.approve(row.user, "a@x.example", 2000)
		}
		if out := r.atOnce(20, row.user, "", oneName); out != 2000 {
			t.Errorf("%s: %d of 2000 recipients pass", row.name, out)
		}
		if v := r.Admit("other", "shop", row.user, "", "", "b@x.example", 3); v.Refuse() {
			t.Errorf("%s: another sender waits: %+v", row.name, v)
		}
		ev := event("shop", row.user, "b@x.example")
		ev.ID = "other"
		r.Observe(ev)
		r.land(20, row.user, oneName)
	}
}

// approve lets an operator say that n recipients at once are legitimate; a fortnight
// later.
func (r *rig) approve(user, from string, n int) {
	r.t.Helper()
	ev := event("shop", user, from)
	for i := range n {
		to(ev, fmt.Sprintf("colleague%d@y.example", i), false)
	}
	r.Observe(ev)
	for _, k := range detector.Parties("shop", user, from) {
		if k.Name == "" {
			continue
		}
		if _, err := r.Release(Order{Scope: k.Scope, Name: k.Name, Learn: true}); err != nil {
			r.t.Fatal(err)
		}
	}
	r.at = r.at.Add(14 * 24 * time.Hour)
	r.tick()
}

// TestOnlyWhatWouldAlarmWaits: when some of the messages that are on their way at
// one time wait, then all of them, counted one after the other, raise an alarm, although
// the client knows all of their recipients.
func TestOnlyWhatWouldAlarmWaits(t *testing.T) {
	draw := rand.New(rand.NewPCG(1, 2))
	waits := 0
	for i := range 100 {
		user := []string{"", "anna"}[i%2]
		names, each, n := 1+draw.IntN(6), 1+draw.IntN(120), 2+draw.IntN(30)
		past, days := 1+draw.IntN(40), []int{1, 10, 70}[draw.IntN(3)]
		send := func(r *rig, ask bool) (waited bool) {
			var events []*mail.Event
			for j := range n {
				ev := event("shop", user, newNames(j%names))
				ev.ID, ev.Stage = fmt.Sprint("t", j), "forward"
				for k := range each {
					to(ev, fmt.Sprintf("colleague%d@y.example", (j*each+k)%past), false)
				}
				if ask && r.Admit(ev.ID, "shop", user, "", "", mail.Identity(ev.From), each).Refuse() {
					return true
				}
				events = append(events, ev)
			}
			for _, ev := range events {
				r.Observe(ev)
			}
			return false
		}
		fresh := func() *rig {
			r := newRig(t, func(c *Config) { c.MaxKnown, c.MaxSenders = 5000, 500 })
			r.ordinary("shop", user, "a@x.example", days, past, newNames(0), newNames(1))
			return r
		}
		r := fresh()
		if !send(r, true) {
			continue
		}
		waits++
		r = fresh()
		send(r, false)
		alarm := false
		for _, s := range r.states {
			alarm = alarm || s.Level >= Alerted
		}
		if !alarm {
			t.Errorf("user %q, %d names, %d messages of %d recipients, %d messages a day for %d days: waits without an alarm",
				user, names, n, each, past, days)
		}
	}
	if waits < 10 || waits > 90 {
		t.Errorf("%d of 100 wait: the test says little", waits)
	}
}

// TestBulkStreamAtOnceIsItsSendersAlone: it is held against its user no more than
// when it is counted.
func TestBulkStreamAtOnceIsItsSendersAlone(t *testing.T) {
	for stream, want := range map[string]bool{"bulk": false, "": true} {
		r := newRig(t, func(c *Config) { c.BulkStreams = []string{"bulk"} })
		r.ordinary("shop", "anna", "a@x.example", 70, 20)
		waits := r.atOnce(20, "anna", stream, newNames) < 2000
		if waits != want {
			t.Errorf("stream %q: waits is %v, want %v", stream, waits, want)
		}
		r.land(20, "anna", newNames)
	}
}

// TestFlightsAreBounded in memory.
func TestFlightsAreBounded(t *testing.T) {
	f := flights{of: map[string]flight{}, by: map[uint64]traffic{}}
	for i := range maxAdmitted + 10 {
		f.set(fmt.Sprint(i), flight{sender: uint64(2*i + 1), wide: 2, n: 1, shared: 1})
	}
	if len(f.of) != maxAdmitted || len(f.by) != maxAdmitted+1 {
		t.Errorf("%d transactions, %d submitters", len(f.of), len(f.by))
	}
	for i := range maxAdmitted + 10 {
		f.end(fmt.Sprint(i))
	}
	if len(f.of)+len(f.by) != 0 {
		t.Errorf("%d transactions, %d submitters are left", len(f.of), len(f.by))
	}
}

// TestFlightsOfManyAtOnce is for the race detector.
func TestFlightsOfManyAtOnce(t *testing.T) {
	r := newRig(t, nil)
	r.ordinary("shop", "anna", "a@x.example", 70, 20)
	var wait sync.WaitGroup
	for i := range 40 {
		wait.Go(func() {
			ev := event("shop", "anna", newNames(i%3))
			ev.ID = fmt.Sprint("t", i)
			for n := range 20 {
				r.Admit(ev.ID, "shop", "anna", "", "", mail.Identity(ev.From), n+1)
			}
			r.Observe(ev)
		})
	}
	wait.Wait()
	if len(r.flights.of)+len(r.flights.by) > 0 {
		t.Errorf("still on their way: %v, %v", r.flights.of, r.flights.by)
	}
}
