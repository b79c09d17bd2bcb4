package storetest

import (
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/ratelimit"
)

func testOnce(t *testing.T, bed Bed) {
	l := bed.Limiter(t, nil)
	const week = 7 * 24 * time.Hour
	once := func(author, to string) func() {
		t.Helper()
		release, err := l.Once(t.Context(), author, mail.RecipientID(to), week)
		if err != nil {
			t.Fatal(err)
		}
		return release
	}
	if once("anna@example.org", "a@x.example") == nil {
		t.Fatal("the first time is refused")
	}
	if once("anna@example.org", "a@x.example") != nil {
		t.Error("sent twice")
	}
	if once("bert@example.org", "a@x.example") == nil {
		t.Error("another author may not")
	}
	release := once("anna@example.org", "c@x.example")
	release()
	release()
	if once("anna@example.org", "c@x.example") == nil {
		t.Error("not given back")
	}
	if once("a b", "c") == nil || once("a", "b c") == nil || once("a recipient=b", "c") == nil || once(strings.Repeat("x", 2000), strings.Repeat("y", 2000)) == nil {
		t.Error("two pairs share a claim")
	}
	bed.Clock.Add(week - time.Minute)
	if once("anna@example.org", "a@x.example") != nil {
		t.Error("forgotten within the week")
	}
	bed.Clock.Add(time.Minute + time.Second)
	if once("anna@example.org", "a@x.example") == nil {
		t.Error("remembered for longer than a week")
	}
	if states, err := l.Show(t.Context(), ratelimit.Filter{}, 0); err != nil || len(states) != 0 {
		t.Errorf("claims are shown as limits: %+v, %v", states, err)
	}
}

// testReport: reports of any reverse-path have the room of the null sender, of
// which its own mail is charged once.
func testReport(t *testing.T, bed Bed) {
	cfg := ratelimit.RuleConfig{Per: ratelimit.Per{ratelimit.PerClient}, Clients: []string{"shop"}, Senders: []string{"<>"}, Messages: Numbers(t, "3/1h"), Reports: true}
	l := bed.Limiter(t, map[string]ratelimit.RuleConfig{"null": cfg, "all": {Per: ratelimit.Per{ratelimit.PerClient}, Messages: Numbers(t, "100/1h")}})
	report := func(client, from string) (v ratelimit.Decision, back func()) {
		f := FactsOf(from, "example.org")
		f.Client = client
		a := l.Begin(f)
		a.Recipients(t.Context(), []ratelimit.Recipient{At("a@x.example"), At("b@x.example")}, nil)
		i, v := a.Report(t.Context())
		return v, func() {
			a.Refund(t.Context(), 0, 1, i)
			a.End()
		}
	}
	if v, _ := report("shop", "<>"); !v.OK {
		t.Errorf("the null sender: %+v", v)
	}
	v, back := report("shop", "tls@example.org")
	if !v.OK {
		t.Errorf("the first report: %+v", v)
	}
	back()
	for i := range 3 {
		v, _ := report("shop", "tls@example.org")
		if v.OK != (i < 2) {
			t.Errorf("report %d: %+v", i+2, v)
		}
		if !v.OK && (v.Limit != "null" || v.Key != "client=shop" || v.RetryAfter <= 0) {
			t.Errorf("refused by %+v", v)
		}
	}
	if v, _ := report("other", "tls@example.org"); !v.OK {
		t.Errorf("another client: %+v", v)
	}
}

// testRecheck: a transaction that has begun meets the rules of now at RCPT and at
// the gate.
func testRecheck(t *testing.T, bed Bed) {
	rule := func(per ratelimit.Dimension, messages, recipients string) ratelimit.RuleConfig {
		c := ratelimit.RuleConfig{Per: ratelimit.Per{per}, Messages: Numbers(t, messages)}
		if recipients != "" {
			c.Recipients = Numbers(t, recipients)
		}
		return c
	}
	for _, test := range []struct {
		name   string
		after  map[string]ratelimit.RuleConfig
		refuse string // limit
		never  bool
		rcpt   string // what a further RCPT is told
	}{
		{"the same numbers", map[string]ratelimit.RuleConfig{"sender": rule(ratelimit.PerSender, "10/1h", "")}, "", false, "+"},
		{"a higher number", map[string]ratelimit.RuleConfig{"sender": rule(ratelimit.PerSender, "20/1h", "")}, "", false, "+"},
		{"a number that still holds what is used", map[string]ratelimit.RuleConfig{"sender": rule(ratelimit.PerSender, "4/1h", "")}, "", false, "+"},
		{"a number that is exceeded", map[string]ratelimit.RuleConfig{"sender": rule(ratelimit.PerSender, "3/1h", "")}, "sender", false, "+"},
		{"nothing at all", map[string]ratelimit.RuleConfig{"sender": rule(ratelimit.PerSender, "0/1h", "")}, "sender", true, "+"},
		{"no limit any more", nil, "", false, "+"},
		{"another limit with room", map[string]ratelimit.RuleConfig{"client": rule(ratelimit.PerClient, "1/1h", "2/1h")}, "", false, "+"},
		{"another limit without room for all recipients", map[string]ratelimit.RuleConfig{"client": rule(ratelimit.PerClient, "9/1h", "1/1h")}, "client", false, "+"},
		{"another limit of nothing", map[string]ratelimit.RuleConfig{"client": rule(ratelimit.PerClient, "0/1h", "")}, "client", true, "-"},
		{"further windows", map[string]ratelimit.RuleConfig{"sender": rule(ratelimit.PerSender, "10/1h", "1/1m")}, "sender", false, "+"},
		{"further windows with room", map[string]ratelimit.RuleConfig{"sender": rule(ratelimit.PerSender, "10/1h", "3/1m")}, "", false, "+"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := bed.Limiter(t, map[string]ratelimit.RuleConfig{"sender": rule(ratelimit.PerSender, "10/1h", "")})
			f := FactsOf("news@example.org", "example.org")
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
				Send(t, l, f, "x@x.example")
			}
			a := l.Begin(f)
			rs := []ratelimit.Recipient{At("a@x.example"), At("b@y.example")}
			a.Recipients(t.Context(), rs, nil)
			if v := a.Recheck(t.Context(), rs, []int{0, 1}); !v.OK {
				t.Fatalf("under its own rules: %+v", v)
			}
			l.SetLimits(Compile(t, test.after))
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
			l.SetLimits(Compile(t, map[string]ratelimit.RuleConfig{"sender": rule(ratelimit.PerSender, "3/1h", ""), "client": rule(ratelimit.PerClient, "1/1h", "1/1h")}))
			if got := Send(t, l, f, "c@z.example"); got != "-" {
				t.Errorf("more was given back than was charged: %s", got)
			}
		})
	}
}

// testNewRulesAtRcpt: each RCPT asks the numbers of now; what is charged under
// two sets of rules is given back from both, and the message is paid once.
func testNewRulesAtRcpt(t *testing.T, bed Bed) {
	numbers := func(n string) map[string]ratelimit.RuleConfig {
		return map[string]ratelimit.RuleConfig{"sender": {Per: ratelimit.Per{ratelimit.PerSender}, Messages: Numbers(t, "10/1h"), Recipients: Numbers(t, n)}}
	}
	l := bed.Limiter(t, numbers("10/1h"))
	a := l.Begin(FactsOf("news@example.org", "example.org"))
	one := func(to string) bool { return a.Recipients(t.Context(), []ratelimit.Recipient{At(to)}, nil)[0].OK }
	if !one("a@x.example") {
		t.Fatal("refused with room")
	}
	l.SetLimits(Compile(t, numbers("1/1h")))
	if one("b@x.example") {
		t.Error("a number lowered to what is used lets more pass")
	}
	l.SetLimits(Compile(t, numbers("2/1h")))
	if !one("c@x.example") || one("d@x.example") {
		t.Error("a number raised by one does not let one more pass")
	}
	used := func() [2]int64 {
		r := bed.Peek(t, BudgetOf("sender", "sender=news@example.org", Win(ratelimit.Messages, 10, time.Hour), Win(ratelimit.Recipients, 10, time.Hour)))
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
func testRetry(t *testing.T, bed Bed) {
	l := bed.Limiter(t, nil)
	other := bed.Limiter(t, nil) // another node
	m, n := ratelimit.MessageHash{1}, ratelimit.MessageHash{2}
	retried := func(l *ratelimit.Limiter, client string, m ratelimit.MessageHash) bool {
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
	bed.Clock.Add(20 * time.Minute)
	if err := l.UnknownOutcome(t.Context(), "shop", n); err != nil {
		t.Fatal(err)
	}
	bed.Clock.Add(59 * time.Minute)
	if !retried(l, "shop", n) {
		t.Error("forgotten within the hour")
	}
	bed.Clock.Add(2 * time.Minute)
	if l.ExpectsRetries() || retried(l, "shop", n) || retried(l, "shop", m) {
		t.Error("free after more than an hour")
	}
	if states, err := l.Show(t.Context(), ratelimit.Filter{}, 0); err != nil || len(states) != 0 {
		t.Errorf("shown as limits: %+v, %v", states, err)
	}
}
