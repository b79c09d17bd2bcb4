package ratelimit

import (
	"testing"
	"time"
)

// testRecheck: a transaction that has begun meets the rules of now at RCPT and at
// the gate.
func testRecheck(t *testing.T, bed testBed) {
	rule := func(per Dimension, messages, recipients string) RuleConfig {
		c := RuleConfig{Per: Per{per}, Messages: parseNumbers(t, messages)}
		if recipients != "" {
			c.Recipients = parseNumbers(t, recipients)
		}
		return c
	}
	for _, test := range []struct {
		name   string
		after  map[string]RuleConfig
		refuse string // limit
		never  bool
		rcpt   string // what a further RCPT is told
	}{
		{"the same numbers", map[string]RuleConfig{"sender": rule(PerSender, "10/1h", "")}, "", false, "+"},
		{"a higher number", map[string]RuleConfig{"sender": rule(PerSender, "20/1h", "")}, "", false, "+"},
		{"a number that still holds what is used", map[string]RuleConfig{"sender": rule(PerSender, "4/1h", "")}, "", false, "+"},
		{"a number that is exceeded", map[string]RuleConfig{"sender": rule(PerSender, "3/1h", "")}, "sender", false, "+"},
		{"nothing at all", map[string]RuleConfig{"sender": rule(PerSender, "0/1h", "")}, "sender", true, "+"},
		{"no limit any more", nil, "", false, "+"},
		{"another limit with room", map[string]RuleConfig{"client": rule(PerClient, "1/1h", "2/1h")}, "", false, "+"},
		{"another limit without room for all recipients", map[string]RuleConfig{"client": rule(PerClient, "9/1h", "1/1h")}, "client", false, "+"},
		{"another limit of nothing", map[string]RuleConfig{"client": rule(PerClient, "0/1h", "")}, "client", true, "-"},
		{"further windows", map[string]RuleConfig{"sender": rule(PerSender, "10/1h", "1/1m")}, "sender", false, "+"},
		{"further windows with room", map[string]RuleConfig{"sender": rule(PerSender, "10/1h", "3/1m")}, "", false, "+"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := bed.limiter(t, map[string]RuleConfig{"sender": rule(PerSender, "10/1h", "")})
			f := factsOf("news@example.org", "example.org")
			defer func() {
				for _, k := range []string{"sender=news@example.org", "client=" + f.Client} {
					for _, limit := range []string{"sender", "client"} {
						if err := bed.Reset(t.Context(), limit, k); err != nil {
							t.Error(err)
						}
					}
				}
			}()
			for range 3 {
				send(t, l, f, "x@x.example")
			}
			a := l.Begin(f)
			rs := []Recipient{at("a@x.example"), at("b@y.example")}
			a.Recipients(t.Context(), rs, nil)
			if v := a.Recheck(t.Context(), rs, []int{0, 1}); !v.OK {
				t.Fatalf("under its own rules: %+v", v)
			}
			l.SetRules(compile(t, test.after))
			v := a.Recheck(t.Context(), rs, []int{0, 1})
			if v.OK != (test.refuse == "") || v.Limit != test.refuse || v.Never != test.never {
				t.Errorf("%+v, want a refusal by %q", v, test.refuse)
			}
			if v.OK {
				if again := a.Recheck(t.Context(), rs, []int{0, 1}); !again.OK {
					t.Errorf("asked twice: %+v", again)
				}
			} else if !v.Never && (v.RetryAfter <= 0 || v.RetryAfter > time.Hour) {
				t.Errorf("wait of %s", v.RetryAfter)
			}
			a.RefundAll(t.Context())
			if err := a.Err(); err != nil {
				t.Error(err)
			}
			a.End()
			l.SetRules(compile(t, map[string]RuleConfig{"sender": rule(PerSender, "3/1h", ""), "client": rule(PerClient, "1/1h", "1/1h")}))
			if got := send(t, l, f, "c@z.example"); got != "-" {
				t.Errorf("more was given back than was charged: %s", got)
			}
		})
	}
}

// testNewRulesAtRcpt: each RCPT asks the numbers of now; what is charged under
// two sets of rules is given back from both, and the message is paid once.
func testNewRulesAtRcpt(t *testing.T, bed testBed) {
	numbers := func(n string) map[string]RuleConfig {
		return map[string]RuleConfig{"sender": {Per: Per{PerSender}, Messages: parseNumbers(t, "10/1h"), Recipients: parseNumbers(t, n)}}
	}
	l := bed.limiter(t, numbers("10/1h"))
	a := l.Begin(factsOf("news@example.org", "example.org"))
	one := func(to string) bool { return a.Recipients(t.Context(), []Recipient{at(to)}, nil)[0].OK }
	if !one("a@x.example") {
		t.Fatal("refused with room")
	}
	l.SetRules(compile(t, numbers("1/1h")))
	if one("b@x.example") {
		t.Error("a number lowered to what is used lets more pass")
	}
	l.SetRules(compile(t, numbers("2/1h")))
	if !one("c@x.example") || one("d@x.example") {
		t.Error("a number raised by one does not let one more pass")
	}
	used := func() [2]int64 {
		r := bed.look(t, budgetOf("sender", "sender=news@example.org", win(Messages, 10, time.Hour), win(Recipients, 10, time.Hour)))
		return [2]int64{r[0].Used, r[1].Used}
	}
	if got := used(); got != [2]int64{1, 2} {
		t.Errorf("used %v", got)
	}
	a.RefundMessage(t.Context())
	a.RefundMessage(t.Context())
	if got := used(); got != [2]int64{0, 2} {
		t.Errorf("without its message %v", got)
	}
	a.Refund(t.Context(), 0, 2)
	if got := used(); got != [2]int64{} {
		t.Errorf("given back %v", got)
	}
	a.End()
}

// testRetry: a message of unknown outcome is charged, its retry is free once, and
// nobody else's.
func testRetry(t *testing.T, bed testBed) {
	l := bed.limiter(t, nil)
	other := bed.limiter(t, nil) // another node
	m, n := MessageHash{1}, MessageHash{2}
	retried := func(l *Limiter, client string, m MessageHash) bool {
		t.Helper()
		free, err := l.Retried(t.Context(), client, m)
		if err != nil {
			t.Fatal(err)
		}
		return free
	}
	if l.ExpectsRetries() || retried(l, "shop", m) {
		t.Error("free before anything was sent")
	}
	for range 2 {
		if err := l.UnknownOutcome(t.Context(), "shop", m); err != nil {
			t.Fatal(err)
		}
	}
	if !l.ExpectsRetries() || other.ExpectsRetries() {
		t.Error("the node that sent it knows, the other does not yet")
	}
	if err := other.Refresh(t.Context()); err != nil || !other.ExpectsRetries() {
		t.Errorf("the other node does not learn of it: %v", err)
	}
	if retried(l, "bank", m) || retried(l, "shop", n) {
		t.Error("free for another client or message")
	}
	if !retried(other, "shop", m) {
		t.Error("the retry is not free")
	}
	if retried(other, "shop", m) || retried(l, "shop", m) {
		t.Error("free twice")
	}
	bed.clock.add(20 * time.Minute)
	if err := l.UnknownOutcome(t.Context(), "shop", n); err != nil {
		t.Fatal(err)
	}
	bed.clock.add(59 * time.Minute)
	if !retried(l, "shop", n) {
		t.Error("forgotten within the hour")
	}
	bed.clock.add(2 * time.Minute)
	if l.ExpectsRetries() || retried(l, "shop", n) || retried(l, "shop", m) {
		t.Error("free after more than an hour")
	}
	if states, err := l.Show(t.Context(), Filter{}, 0); err != nil || len(states) != 0 {
		t.Errorf("shown as limits: %+v, %v", states, err)
	}
}
