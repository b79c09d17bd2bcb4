package outlier

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/outlier/detector"
)

// monthlyRuns lets a sender write to one customer a day and to the same 400 on
// each 30th day, in a relay that holds it up where its watch says so; held is asked
// when only an operator ends that. It gives the alarms of each run.
func (r *rig) monthlyRuns(n int, held func()) (alarms []int) {
	deliver := func(to string) {
		for r.Judge("shop", "", "billing@x.example").Refuse() {
			if s := r.states[detector.Who{Scope: Sender, Name: "billing@x.example"}]; s != nil && s.Level == Suspended && s.Until.IsZero() {
				held()
				continue
			}
			r.at = r.at.Add(10 * time.Minute) // the client tries again
			r.tick()
		}
		ev := event("shop", "", "billing@x.example")
		ev.To = append(ev.To, recipientOf(to))
		r.Observe(ev)
	}
	start := r.at
	to := people(0, 400)
	for run := range n {
		for d := range 30 {
			if at := start.AddDate(0, 0, 30*run+d); at.After(r.at) {
				r.at = at
			}
			r.tick()
			deliver(people(1000+d%3, 1)[0])
		}
		before := len(r.changes)
		for _, t := range to {
			r.at = r.at.Add(3 * time.Second)
			deliver(t)
		}
		bad := 0
		for _, c := range r.changes[before:] {
			if c.Level >= Alerted && c.Level > c.From {
				bad++
			}
		}
		alarms = append(alarms, bad)
	}
	return alarms
}

func people(first, n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("customer%d@dest.example", first+i))
	}
	return all
}

func recipientOf(address string) mail.RecipientEvent {
	return mail.RecipientEvent{Address: address, Outcome: mail.Relayed, Rule: "upstream", Code: 250}
}

// TestRegularMailIsLearnedInShadowAndWhileItIsHeld: what a state in shadow kept out
// of the windows counts for the run, and so does what was held up and went later.
func TestRegularMailIsLearnedInShadowAndWhileItIsHeld(t *testing.T) {
	for name, row := range map[string]struct {
		mode  Mode
		learn bool
	}{"shadow": {Shadow, false}, "enforce, released": {Enforce, false}, "enforce, released as legitimate": {Enforce, true}} {
		r := newRig(t, func(c *Config) { c.Mode = row.mode })
		alarms := r.monthlyRuns(6, func() {
			if _, err := r.Release(Order{Scope: Sender, Name: "billing@x.example", Learn: row.learn}); err != nil {
				t.Fatal(err)
			}
		})
		t.Log(name, alarms)
		if alarms[0] == 0 {
			t.Errorf("%s: the first run was no alarm", name)
		}
		for i, n := range alarms[2:] {
			if n > 0 {
				t.Errorf("%s: run %d led to %d alarms", name, i+3, n)
			}
		}
		a, err := r.explain(Sender, "billing@x.example")
		if err != nil {
			t.Fatal(err)
		}
		if said := "regular  401 recipients in 24h, "; !strings.Contains(a.String(), said) {
			t.Errorf("%s: explained as\n%s", name, a)
		}
	}
}

// TestBurstToKnownColleaguesIsThrottledAtMost: alerts to the people on call must not
// end because there are many of them.
func TestBurstToKnownColleaguesIsThrottledAtMost(t *testing.T) {
	onCall := []string{"anna@x.example", "bert@ops.x.example", "carl@x.example"}
	for name, row := range map[string]struct {
		internal []string
		to       func(i int) string
		most     Level
	}{
		"to the three on call": {[]string{"x.example", "*.x.example"}, func(i int) string { return onCall[i%3] }, Throttled},
		"of another domain":    {[]string{"y.example"}, func(i int) string { return onCall[i%3] }, Suspended},
		"one of two goes out": {[]string{"x.example", "*.x.example"}, func(i int) string {
			if i%2 == 0 {
				return people(i%400, 1)[0]
			}
			return onCall[i/2%3]
		}, Suspended},
		"to colleagues never written to": {[]string{"x.example"}, func(i int) string { return fmt.Sprintf("new%d@x.example", i) }, Suspended},
	} {
		for burst := range 2 { // a second one within the week is answered no harder
			r := newRig(t, func(c *Config) { c.InternalDomains, c.Mode = row.internal, Shadow })
			for d := range 70 {
				for i := range 10 {
					r.at = r.at.Add(2 * time.Hour)
					ev := event("shop", "", "monitor@x.example")
					ev.To = append(ev.To, recipientOf(onCall[i%3]), recipientOf(people((d*10+i)%400, 1)[0]))
					r.Observe(ev)
				}
				r.at = r.at.Add(4 * time.Hour)
			}
			most := Normal
			r.rules.Mode = Enforce // but nothing is held back: the harder test
			for range burst + 1 {
				for i := range 400 {
					r.at = r.at.Add(10 * time.Second)
					ev := event("shop", "", "monitor@x.example")
					ev.To = append(ev.To, recipientOf(row.to(i)))
					r.Observe(ev)
					most = max(most, r.state(Sender, "monitor@x.example"), r.state(Client, "shop"))
				}
				r.at = r.at.Add(48 * time.Hour)
				r.tick()
			}
			if most != row.most {
				t.Errorf("%s, %d bursts: %v, want %v", name, burst+1, most, row.most)
			}
		}
	}
}

// TestAlertsOfSeveralSendersAreThrottledAtMost: in an incident four monitors write to
// the people on call; neither they nor who runs them is suspended.
func TestAlertsOfSeveralSendersAreThrottledAtMost(t *testing.T) {
	onCall := []string{"anna@x.example", "bert@x.example", "carl@x.example"}
	monitors := []string{"nagios@x.example", "cron@x.example", "backup@x.example", "disks@x.example"}
	for _, user := range []string{"", "monitor"} {
		r := newRig(t, func(c *Config) { c.InternalDomains = []string{"x.example"} })
		for range 70 {
			for i := range 10 {
				for _, from := range monitors {
					ev := event("ops", user, from)
					ev.To = append(ev.To, recipientOf(onCall[i%3]))
					r.Observe(ev)
				}
				r.at = r.at.Add(144 * time.Minute)
			}
		}
		for i := range 400 {
			for _, from := range monitors {
				r.at = r.at.Add(3 * time.Second)
				ev := event("ops", user, from)
				ev.To = append(ev.To, recipientOf(onCall[i%3]))
				r.Observe(ev)
			}
		}
		for k, s := range r.states {
			if s.Level > Throttled || s.Rule == RuleNames {
				t.Errorf("user %q: %v is %+v", user, k, s)
			}
		}
	}
}
