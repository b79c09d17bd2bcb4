package outlier

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestOnlySenderOfAClientIsFoundByFewRefusals: 18 messages in 6 h are within the
// usual of an account that sends 60 a day to 40 new recipients.
func TestOnlySenderOfAClientIsFoundByFewRefusals(t *testing.T) {
	const from, other = "app@x.example", "b@x.example"
	for _, row := range []struct {
		name        string
		first, last int // days on which another sends in the same hours
		refused     int // of the 18
		want        Level
	}{
		{"alone, four refused", -1, -1, 4, Alerted},
		{"alone, none refused", -1, -1, 0, Normal},
		{"beside another", 0, 70, 4, Normal},
		{"beside another until the day before", 0, 69, 4, Normal},
		{"beside another since today", 70, 70, 4, Alerted},
	} {
		r := newRig(t, func(c *Config) { c.Brake, c.Refused.Alert, c.Refused.Suspend = 0, 0, 0 })
		message := func(from, rcpt string, refused bool) {
			ev := event("shop", "", from)
			to(ev, rcpt, refused)
			r.Observe(ev)
		}
		for day := range 71 {
			for i := range 60 {
				r.at = r.at.Add(8 * time.Minute)
				rcpt := fmt.Sprintf("customer%d@y.example", i)
				if i%3 > 0 {
					rcpt = fmt.Sprintf("new%d.%d@y.example", day, i)
				}
				message(from, rcpt, i == 1)
				if i == 2 && day >= row.first && day <= row.last {
					message(other, "customer1@y.example", false)
				}
			}
			r.at = r.at.Add(16 * time.Hour)
			if day < 10 {
				r.changes = nil // as it begins
			}
		}
		if len(r.changes) > 0 {
			t.Fatalf("%s: ordinary mail: %+v", row.name, r.changes)
		}
		r.at = r.at.Add(-16 * time.Hour)
		for i := range 18 {
			r.at = r.at.Add(20 * time.Minute)
			message(from, fmt.Sprintf("victim%d@y.example", i), i%4 == 2 && i/4 < row.refused)
		}
		if got := r.state(Sender, from); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
		if row.want == Normal {
			continue
		}
		c, _ := r.said(Sender, from, Alerted)
		if want := "refused in 24 h, usual most 1, of the only sender of its client"; !strings.Contains(c.Reason, want) {
			t.Errorf("%s: reason %q without %q", row.name, c.Reason, want)
		}
		a, err := r.explain(Sender, from)
		if err != nil || !a.Alone || !strings.Contains(a.String(), "no other sender, so that refused recipients count 4 times") ||
			!strings.Contains(a.String(), "3 % of what was sent") {
			t.Errorf("%s: %v, %v", row.name, a, err)
		}
	}
}

// TestNewSenderMayWriteToAllItsColleagues: to whom its client has written before.
func TestNewSenderMayWriteToAllItsColleagues(t *testing.T) {
	const from = "a@x.example"
	for _, row := range []struct {
		name       string
		days       int
		user       string
		colleagues int
		want       bool
	}{
		{"130 on day 25", 25, "", 130, false},
		{"130 on day 25 of a user", 25, "anna", 130, false},
		{"130 on day 59", 59, "", 130, false},
		{"130 on day 61", 61, "", 130, true},
		{"3,000 on day 25", 25, "", 3000, true},
	} {
		r := newRig(t, nil)
		all := event("shop", "", "chief@x.example")
		for i := range row.colleagues {
			to(all, fmt.Sprintf("colleague%d@y.example", i), false)
		}
		r.Observe(all)
		r.ordinary("shop", row.user, from, row.days, 5)
		r.changes = nil
		all.From, all.User = from, row.user
		r.Observe(all)
		if got := len(r.changes) > 0; got != row.want {
			t.Errorf("%s: %+v", row.name, r.changes)
		}
		a, err := r.explain(Sender, from)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(a.String(), "of which 0.60 and 15 % of the rest count while it is new"); got != (row.days < 60) && row.colleagues < 3000 {
			t.Errorf("%s: %v", row.name, a)
		}
	}
}

// TestNewSenderToStrangersIsThrottledAtMost: what is found by strangers alone ends by
// itself, and the new sender may be a shop on its first day.
func TestNewSenderToStrangersIsThrottledAtMost(t *testing.T) {
	r := newRig(t, nil)
	r.ordinary("shop", "", "a@x.example", 20, 5)
	for i := range 40 {
		r.at = r.at.Add(10 * time.Second)
		ev := event("shop", "", "new@x.example")
		to(ev, fmt.Sprintf("stranger%d@y.example", i), false)
		r.Observe(ev)
		if want := map[int]Level{9: Normal, 10: Alerted, 15: Alerted, 16: Throttled, 39: Throttled}; i == 39 || want[i] != 0 {
			if got := r.state(Sender, "new@x.example"); got != want[i] {
				t.Errorf("%d strangers: %v, want %v", i+1, got, want[i])
			}
		}
	}
	c, ok := r.said(Sender, "new@x.example", Throttled)
	if !ok || c.Reason != "a new sender wrote to 17 recipients never seen before in 1 h" {
		t.Errorf("told as %+v", c)
	}
}
