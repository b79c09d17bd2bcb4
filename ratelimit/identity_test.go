package ratelimit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/internal/spellings"

	"postern/internal/syntax"
	"postern/mail"
	"postern/ratelimit"
	"postern/ratelimit/storetest"
)

func parseMailbox(s string) (mail.Address, error) { return syntax.Mailbox(s, true) }

// spelled is mail of a sender as a session tells of it.
func spelled(t *testing.T, sender string) ratelimit.Facts {
	a, err := parseMailbox(sender)
	if err != nil {
		t.Fatal(err)
	}
	return ratelimit.Facts{Client: "shop", User: syntax.User(sender), Sender: a.Identity(), SenderDomain: a.Domain}
}

// testSpellings holds one sender to one budget in all that has to do with it.
func testSpellings(t *testing.T, bed storetest.Bed) {
	for n, block := range spellings.Blocks() {
		last := block[len(block)-1] // as an operator may write it
		l := ratelimit.NewLimiter(bed.Store, storetest.CompileEnv(t, map[string]ratelimit.RuleConfig{
			fmt.Sprintf("all%d", n):   {Per: ratelimit.Per{ratelimit.PerSender}, Messages: storetest.Numbers(t, "2/1h")},
			fmt.Sprintf("user%d", n):  {Per: ratelimit.Per{ratelimit.PerUser}, Messages: storetest.Numbers(t, "2/1h"), Overrides: map[string]ratelimit.Override{"user=" + last: {Messages: storetest.Numbers(t, "4/1h")}}},
			fmt.Sprintf("named%d", n): {Per: ratelimit.Per{ratelimit.PerClient}, Messages: storetest.Numbers(t, "9/1h"), Senders: []string{last}},
			fmt.Sprintf("over%d", n):  {Per: ratelimit.Per{ratelimit.PerSender}, Messages: storetest.Numbers(t, "1/1h"), Overrides: map[string]ratelimit.Override{last: {Messages: storetest.Numbers(t, "5/1h")}}},
		}, ratelimit.Env{Parse: parseMailbox}), bed.Clock.Now)
		passed := 0
		for range 3 {
			for _, sender := range block {
				passed += strings.Count(storetest.Send(t, l, spelled(t, sender), "a@x.example"), "+")
			}
		}
		if passed != 2 {
			t.Errorf("%s: %d passed in %d spellings, want 2", block[0], passed, len(block))
		}
		spelledBudget(t, l, bed.Clock.Now(), n, block)
		refused := ratelimit.Filter{Sender: "someone@else.example"}
		if states, err := l.Show(t.Context(), refused, 0); err != nil || len(states) > 0 {
			t.Errorf("someone else: %v, %v", states, err)
		}
	}
}

// spelledBudget asks as an operator does, in each spelling.
func spelledBudget(t *testing.T, l *ratelimit.Limiter, now time.Time, n int, block []string) {
	limit := fmt.Sprintf("all%d", n)
	for _, sender := range block {
		written := ratelimit.Facts{Client: "shop", User: sender, Sender: mail.Identity(sender)}
		all, err := l.Explain(t.Context(), written, ratelimit.Recipient{Address: "A@X.example"})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range all {
			// of each limit as in the file, in the order of their names
			want := map[byte][2]int64{'a': {2, 2}, 'n': {9, 2}, 'o': {5, 2}, 'u': {4, 2}}[x.Limit[0]]
			if x.Applies && (x.Windows[0].Max != want[0] || x.Windows[0].Used != want[1]) || !x.Applies {
				t.Errorf("%s by %s: %+v", sender, x.Limit, x)
			}
		}
		key, err := l.KeyOf(limit, written, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []string{key, ratelimit.SenderKey(sender)} {
			allowance, err := l.Allow(t.Context(), ratelimit.Allowance{Limit: limit, Key: k, Unit: ratelimit.Messages, Add: 1, Until: now.Add(time.Hour), Reason: "r"})
			if err != nil || allowance.Key != key {
				t.Errorf("%s: raised %+v, %v", sender, allowance, err)
			}
		}
		if allowances, err := l.Allowances(t.Context()); err != nil || len(allowances) != 1 {
			t.Errorf("%s: allowances %+v, %v", sender, allowances, err)
		}
		states, err := l.Show(t.Context(), ratelimit.Filter{Limit: limit, Sender: mail.Identity(sender)}, 0)
		if err != nil || len(states) != 1 || states[0].Windows[0].Max != 3 || states[0].Windows[0].Used != 2 {
			t.Errorf("%s: shown %+v, %v", sender, states, err)
		}
		if _, err := l.Allow(t.Context(), ratelimit.Allowance{Limit: limit, Key: key, Unit: ratelimit.Messages, Until: now}); err != nil {
			t.Error(err)
		}
	}
	was, err := l.Reset(t.Context(), limit, ratelimit.SenderKey(block[len(block)-1]))
	if err != nil || was.Windows[0].Used != 2 {
		t.Errorf("%s: reset %+v, %v", block[0], was, err)
	}
	if states, err := l.Show(t.Context(), ratelimit.Filter{Limit: limit}, 0); err != nil || len(states) > 0 && states[0].Windows[0].Used > 0 {
		t.Errorf("%s: after a reset %+v, %v", block[0], states, err)
	}
}
