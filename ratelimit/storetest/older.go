package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/ratelimit"
)

// OlderFacts is mail of a sender as an older version counted it: by the letters.
func OlderFacts(sender string, to ...string) (ratelimit.Facts, []string) {
	return ratelimit.Facts{Client: "shop", User: sender, Sender: mail.Identity(sender), SenderDomain: "example.org"}, to
}

// OlderCounts leaves what an older version did, and gives rules for both.
func OlderCounts(t *testing.T, bed Bed) *ratelimit.Limiter {
	t.Helper()
	hourly := Numbers(t, "9/1h")
	l := bed.Limiter(t, map[string]ratelimit.RuleConfig{
		"sender": {Per: ratelimit.Per{ratelimit.PerSender}, Messages: hourly, Recipients: Numbers(t, "90/24h"), DistinctRecipients: Numbers(t, "90/24h")},
		"user":   {Per: ratelimit.Per{ratelimit.PerUser, ratelimit.PerClient}, Messages: hourly},
	})
	for sender, n := range map[string]int{"News@example.org": 4, "NEWS@example.org": 2, "news@example.org": 3, "other@example.org": 1, "Apart@Example.org": 5} {
		for i := range n {
			f, to := OlderFacts(sender, fmt.Sprintf("r%d@x.example", i))
			if got := Send(t, l, f, to...); got != "+" {
				t.Fatalf("%s: %s", sender, got)
			}
			bed.Clock.Add(time.Second)
		}
	}
	f, _ := OlderFacts("news@example.org")
	Send(t, l, f, "a@x.example", "b@x.example", "c@x.example", "d@x.example") // one message, so that both are the larger in one window
	for key, add := range map[string]int64{"sender=News@example.org": 7, "sender=news@example.org": 5} {
		if err := bed.Store.SetAllowance(t.Context(), ratelimit.Allowance{Limit: "sender", Key: key, Unit: ratelimit.Messages, Add: add, Until: bed.Clock.Now().Add(time.Hour), Reason: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// Joined says how the counts of OlderCounts are after an upgrade.
func Joined(t *testing.T, l *ratelimit.Limiter, name string) {
	t.Helper()
	for sender, want := range map[string]string{
		"News@example.org":  "messages 4, recipients 7, distinct_recipients 7",
		"news@example.org":  "messages 4, recipients 7, distinct_recipients 7",
		"other@example.org": "messages 1, recipients 1, distinct_recipients 1",
		"apart@example.org": "messages 5, recipients 5, distinct_recipients 5",
	} {
		states, err := l.Show(t.Context(), ratelimit.Filter{Limit: "sender", Sender: mail.Identity(sender)}, 0)
		if err != nil || len(states) != 1 {
			t.Errorf("%s: %s: %+v, %v", name, sender, states, err)
			continue
		}
		var got []string
		for _, w := range states[0].Windows {
			got = append(got, fmt.Sprintf("%s %d", w.Unit, w.Used))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %s has %s, want %s", name, sender, strings.Join(got, ", "), want)
		}
	}
	states, err := l.Show(t.Context(), ratelimit.Filter{Limit: "user", User: "NEWS@EXAMPLE.ORG"}, 0)
	if err != nil || len(states) != 1 || states[0].Windows[0].Used != 4 {
		t.Errorf("%s: user %+v, %v", name, states, err)
	}
	if all, err := l.Show(t.Context(), ratelimit.Filter{}, 0); err != nil || len(all) != 6 {
		t.Errorf("%s: %d keys of 3 senders and users: %+v, %v", name, len(all), all, err)
	}
	allowances, err := l.Allowances(t.Context())
	if err != nil || len(allowances) != 1 || allowances[0].Add != 7 || allowances[0].Key != "sender=news@example.org" {
		t.Errorf("%s: allowances %+v, %v", name, allowances, err)
	}
}

// Upgraded checks a store that holds what a release without a secret counted for
// client=shop: 150 recipients under exact, 1,200 under sample (1,162 by its
// estimate), u0 to uN of dest.example.
func Upgraded(t *testing.T, bed Bed) {
	t.Helper()
	exact := func() ratelimit.Budget {
		return BudgetOf("exact", "client=shop", Win(ratelimit.DistinctRecipients, 200, time.Hour))
	}
	sample := func() ratelimit.Budget {
		return BudgetOf("sample", "client=shop", Win(ratelimit.DistinctRecipients, 2000, time.Hour))
	}
	look := func() string { return fmt.Sprint(bed.Peek(t, exact())[0].Used, bed.Peek(t, sample())[0].Used) }
	if got := look(); got != "150 1162" {
		t.Fatalf("used %s, want 150 1162", got)
	}
	bed.Clock.Add(10 * time.Minute)
	if n := len(bed.SendDistinct(t, exact(), Numbered(0, 300), true)); n != 200 {
		t.Errorf("%d passed of 200, of which 150 were counted before", n)
	}
	if n := len(bed.SendDistinct(t, sample(), Numbered(5000, 7000), true)); n != 2000-1162 {
		t.Errorf("%d new ones passed beside 1162 of 2000", n)
	}
	if n := len(bed.SendDistinct(t, exact(), bed.chosen(1000), true)); n != 0 {
		t.Errorf("%d chosen ones passed a full window", n)
	}
	bed.Clock.Add(50*time.Minute + time.Second)
	if got := look(); got != "200 838" {
		t.Errorf("used %s once what was before has passed, want 200 838", got)
	}
}
