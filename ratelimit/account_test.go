package ratelimit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/mail"
)

// testLimiter is what limits must do on every store; see testStore.
func testLimiter(t *testing.T, open func(t *testing.T) testBed) {
	for _, test := range []struct {
		name string
		f    func(*testing.T, testBed)
	}{
		{"no spelling of a recipient lifts a limit", testRecipientSpellings},
		{"the null sender is a key of its client", testNullSender},
		{"no two clients share a key by accident", testNoSharedKeys},
		{"an absent key counts on the client or not at all", testAbsent},
		{"a tag, case or quotes give no room of their own", testFolding},
		{"a sender has one budget in every spelling", testSpellings},
		{"internal recipients go uncounted", testInternal},
		{"a first message to many", testFirstMessageToMany},
		{"what does not fit is told at MAIL", testDeclared},
		{"the body is charged, and refused when it cannot fit", testBody},
		{"refunds", testAccountRefund},
		{"a reload keeps the window", testReload},
		{"contributors are named", testContributors},
		{"contributors of an unseen part are not made up", testContributorsAfterRestart},
		{"shadow is seen in the looks", testShadowLooks},
		{"the most specific override holds", testOverrides},
		{"the stream takes its share", testStreamShare},
		{"an automatic reply goes once to a recipient", testOnce},
		{"a report has the room of the null sender", testReport},
		{"rules of now hold at the gate", testRecheck},
		{"rules of now hold at RCPT", testNewRulesAtRcpt},
		{"a retry is free once", testRetry},
	} {
		t.Run(test.name, func(t *testing.T) { test.f(t, open(t)) })
	}
}

func TestEmbeddedLimiter(t *testing.T) {
	testLimiter(t, func(*testing.T) testBed {
		clock := newFakeClock()
		return testBed{Store: NewEmbedded(StoreConfig{Memory: 16 << 20}, clock.now), clock: clock}
	})
}

func (bed testBed) limiter(t *testing.T, cfg map[string]RuleConfig) *Limiter {
	t.Helper()
	return NewLimiter(bed.Store, compileEnv(t, cfg, Env{InternalDomains: []string{"corp.example", "*.corp.example"}}), bed.clock.now)
}

// at makes a recipient of its key.
func at(address string) Recipient {
	domain := ""
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		domain = address[i+1:]
	}
	return Recipient{mail.RecipientID(address), domain}
}

// send is one message; its verdicts as "+" and "-".
func send(t *testing.T, l *Limiter, f Facts, to ...string) string {
	t.Helper()
	a := l.Begin(f)
	defer a.End()
	rs := make([]Recipient, len(to))
	for i := range to {
		rs[i] = at(to[i])
	}
	var b strings.Builder
	for _, v := range a.Recipients(t.Context(), rs, nil) {
		if v.OK {
			b.WriteByte('+')
		} else {
			b.WriteByte('-')
		}
	}
	return b.String()
}

func testRecipientSpellings(t *testing.T, bed testBed) {
	l := bed.limiter(t, map[string]RuleConfig{
		"sender": {Per: Per{PerSender}, Recipients: parseNumbers(t, "2/1h")},
	})
	f := factsOf("news@example.org", "example.org")
	if got := send(t, l, f, "a@x.example", "b@x.example"); got != "++" {
		t.Fatalf("first two: %s", got)
	}
	spellings := []string{
		"postmaster@x.example", "postmaster@corp.example", "postmaster", "abuse@x.example", "a@x.example", "A@x.example",
		"a+tag@x.example", `"a b"@x.example`, `"a@corp.example"@x.example`, "a@[192.0.2.1]", "a@xn--bcher-kva.example",
		"bücher@xn--bcher-kva.example", "postmaster+a@x.example", "", "<>", "a@corp.example",
	}
	for _, to := range spellings {
		if got := send(t, l, f, to); got != "-" {
			t.Errorf("to %q passed an exhausted sender", to)
		}
		// As the second recipient beside one that is refused.
		if got := send(t, l, f, "c@x.example", to); got != "--" {
			t.Errorf("to c@x.example and %q: %s", to, got)
		}
	}
}

func testNullSender(t *testing.T, bed testBed) {
	l := bed.limiter(t, map[string]RuleConfig{
		"sender": {Per: Per{PerSender}, Messages: parseNumbers(t, "2/1h")},
		"domain": {Per: Per{PerSenderDomain}, Messages: parseNumbers(t, "3/1h")},
	})
	one, two := factsOf("<>", ""), factsOf("<>", "")
	two.Client = "other"
	got := send(t, l, one, "a@x.example") + send(t, l, one, "a@x.example") + send(t, l, one, "a@x.example")
	if got != "++-" {
		t.Errorf("three messages of the null sender: %s, want ++-", got)
	}
	if got := send(t, l, two, "a@x.example"); got != "+" {
		t.Error("the null sender of another client has no room")
	}
	a := l.Begin(two)
	a.Recipients(t.Context(), []Recipient{at("a@x.example")}, nil)
	for i, want := range []string{"client=other sender_domain=<>", "client=other sender=<>"} {
		if looks := a.Looks(nil); looks[i].Key != want {
			t.Errorf("key %q, want %q", looks[i].Key, want)
		}
	}
	a.End()
	// The empty text is the same as the null sender, not a hole.
	one.Sender = ""
	if got := send(t, l, one, "a@x.example"); got != "-" {
		t.Error("an empty sender passed beside an exhausted null sender")
	}
}

func testNoSharedKeys(t *testing.T, bed testBed) {
	l := bed.limiter(t, map[string]RuleConfig{
		"pair": {Per: Per{PerClient, PerUser}, Messages: parseNumbers(t, "1/1h")},
	})
	seen := map[string]string{}
	for _, names := range [][2]string{
		{"a", "b user=c"}, {"a user=b", "c"}, {"a", "b"}, {"a", `"b"`}, {"a", `b\`}, {"a", "b\x00"}, {"a", "b "}, {"a", " b"},
		{`a"`, "b"}, {"a", "B"}, {"a", strings.Repeat("x", 600)}, {"a", strings.Repeat("x", 599) + "y"}, {"", "b"}, {"<none>x", "b"},
	} {
		f := factsOf("news@example.org", "example.org")
		f.Client, f.User = names[0], names[1]
		a := l.Begin(f)
		v := a.Recipients(t.Context(), []Recipient{at("a@x.example")}, nil)[0]
		looks := a.Looks(nil)
		a.End()
		if !v.OK || len(looks) != 1 {
			t.Errorf("%q: %+v %+v", names, v, looks)
			continue
		}
		if other, ok := seen[looks[0].Key]; ok {
			t.Errorf("%q and %q share the key %s", names, other, looks[0].Key)
		}
		seen[looks[0].Key] = fmt.Sprint(names)
		if parts, ok := parseKey(looks[0].Key); !ok || len(parts) != 2 || strings.ContainsAny(looks[0].Key, "\x00\n") {
			t.Errorf("%q: key %q does not read back", names, looks[0].Key)
		}
	}
}

func testAbsent(t *testing.T, bed testBed) {
	l := bed.limiter(t, map[string]RuleConfig{
		"counted": {Per: Per{PerUser}, Messages: parseNumbers(t, "2/1h")},
		"skipped": {Per: Per{PerUser}, Absent: AbsentSkip, Messages: parseNumbers(t, "1/1h")},
	})
	f := factsOf("news@example.org", "example.org")
	a := l.Begin(f)
	a.Recipients(t.Context(), []Recipient{at("a@x.example")}, nil)
	if looks := a.Looks(nil); len(looks) != 1 || looks[0].Key != "client=shop" || looks[0].Limit != "counted" {
		t.Errorf("mail without a user: %+v", looks)
	}
	a.End()
	if got := send(t, l, f, "a@x.example") + send(t, l, f, "a@x.example"); got != "+-" {
		t.Errorf("second and third message without a user: %s", got)
	}
	f.Client = "other"
	if got := send(t, l, f, "a@x.example"); got != "+" {
		t.Error("another client without a user has no room")
	}
	// A user whose name is that of a client has a budget of its own.
	f.Client, f.User = "shop", "shop"
	if got := send(t, l, f, "a@x.example") + send(t, l, f, "a@x.example"); got != "+-" {
		t.Errorf("user shop: %s, want +- from the limit that skips others", got)
	}
	a = l.Begin(f)
	v := a.Recipients(t.Context(), []Recipient{at("a@x.example")}, nil)[0]
	if v.Limit != "skipped" || v.Per != "user" {
		t.Errorf("verdict %+v", v)
	}
	a.End()
}

func testFolding(t *testing.T, bed testBed) {
	limits := map[string]RuleConfig{
		"sender": {Per: Per{PerSender}, Messages: parseNumbers(t, "1/1h"), FoldTag: true},
	}
	l := bed.limiter(t, limits)
	if got := send(t, l, factsOf("news@example.org", "example.org"), "a@x.example"); got != "+" {
		t.Fatal(got)
	}
	for _, sender := range []string{"news+1@example.org", "NEWS@example.org", "News+a+b@example.org", "news+@example.org", `"news+a b"@example.org`} {
		if got := send(t, l, factsOf(sender, "example.org"), "a@x.example"); got != "-" {
			t.Errorf("%s has room of its own", sender)
		}
	}
	for _, sender := range []string{"+news@example.org", "newsx@example.org", `"new s"@example.org`} {
		if got := send(t, l, factsOf(sender, "example.org"), "a@x.example"); got != "+" {
			t.Errorf("%s shares the room of news", sender)
		}
	}
}

func testInternal(t *testing.T, bed testBed) {
	l := bed.limiter(t, map[string]RuleConfig{
		"out": {Per: Per{PerSender}, Messages: parseNumbers(t, "2/1h"), Recipients: parseNumbers(t, "3/1h"), RecipientsNotAt: []string{"internal"}},
		"in":  {Per: Per{PerSender}, Recipients: parseNumbers(t, "4/1h"), RecipientsAt: []string{"internal"}},
	})
	f := factsOf("news@example.org", "example.org")
	if got := send(t, l, f, "a@corp.example", "b@hr.corp.example"); got != "++" {
		t.Fatalf("inside only: %s", got)
	}
	a := l.Begin(f)
	a.Recipients(t.Context(), []Recipient{at("a@corp.example"), at("a@x.example"), at("b@x.example")}, nil)
	for _, look := range a.Looks(nil) {
		want := map[string]int64{"out messages": 1, "out recipients": 2, "in recipients": 3}[look.Limit+" "+look.Unit.String()]
		if look.Used != want {
			t.Errorf("%s %s: %d used, want %d", look.Limit, look.Unit, look.Used, want)
		}
	}
	a.End()
	if got := send(t, l, f, "c@x.example", "d@x.example", "c@corp.example", "d@corp.example", "postmaster@xcorp.example"); got != "+-+--" {
		t.Errorf("inside and outside: %s, want +-+--", got)
	}
}

func testFirstMessageToMany(t *testing.T, bed testBed) {
	l := bed.limiter(t, map[string]RuleConfig{
		"sender": {Per: Per{PerSender}, Recipients: parseNumbers(t, "20/1h")},
		"domain": {Per: Per{PerSender, PerRecipientDomain}, Recipients: parseNumbers(t, "15/1h")},
	})
	var to []string
	for i := range 500 {
		to = append(to, "u"+strconv.Itoa(i)+"@"+[]string{"x.example", "y.example"}[i/250])
	}
	got := send(t, l, factsOf("new@example.org", "example.org"), to...)
	if strings.Count(got, "+") != 20 || got[:16] != strings.Repeat("+", 15)+"-" || got[250:256] != "+++++-" {
		t.Errorf("%d of 500 passed: %s", strings.Count(got, "+"), got)
	}
}

func testDeclared(t *testing.T, bed testBed) {
	l := bed.limiter(t, map[string]RuleConfig{
		"bytes":  {Per: Per{PerSender}, Bytes: parseNumbers(t, "1000/1h")},
		"shadow": {Per: Per{PerSender}, Bytes: parseNumbers(t, "10/1h"), Mode: Shadow},
		"out":    {Per: Per{PerSender}, Bytes: parseNumbers(t, "100/1h"), RecipientsNotAt: []string{"internal"}},
	})
	f := factsOf("news@example.org", "example.org")
	for _, size := range []struct {
		bytes   int64
		refused bool
	}{{0, false}, {1000, false}, {1001, true}} {
		a := l.Begin(f)
		v := a.Declared(size.bytes)
		if (v != nil) != size.refused {
			t.Errorf("SIZE=%d: %+v", size.bytes, v)
		}
		if v != nil && (v.OK || !v.Never || v.Limit != "bytes" || v.Max != 1000) {
			t.Errorf("SIZE=%d: %+v", size.bytes, *v)
		}
		a.End()
	}
	raise := Raise{Limit: "bytes", Key: "sender=news@example.org", Unit: Bytes, Add: 1, Until: bed.clock.now().Add(time.Hour)}
	if err := bed.SetRaise(t.Context(), raise); err != nil {
		t.Fatal(err)
	}
	if err := l.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := l.Begin(f)
	if v := a.Declared(1001); v != nil {
		t.Errorf("SIZE=1001 under a raise of 1: %+v", *v)
	}
	a.End()
}

func testBody(t *testing.T, bed testBed) {
	l := bed.limiter(t, map[string]RuleConfig{
		"bytes": {Per: Per{PerSender}, Bytes: parseNumbers(t, "1000/1h"), RecipientsNotAt: []string{"internal"}},
	})
	f := factsOf("news@example.org", "example.org")
	body := func(n int64, to string) Verdict {
		a := l.Begin(f)
		defer a.End()
		if v := a.Recipients(t.Context(), []Recipient{at(to)}, nil)[0]; !v.OK {
			t.Fatalf("recipient: %+v", v)
		}
		v := a.Body(t.Context(), n)
		if !v.OK {
			a.RefundAll(t.Context())
		}
		return v
	}
	if v := body(600, "a@x.example"); !v.OK {
		t.Errorf("600 of 1000: %+v", v)
	}
	if v := body(5000, "a@corp.example"); !v.OK {
		t.Errorf("an internal message: %+v", v)
	}
	bed.clock.add(time.Minute)
	if v := body(600, "a@x.example"); v.OK || v.Never || v.RetryAfter != 59*time.Minute {
		t.Errorf("600 more: %+v", v)
	}
	if v := body(1001, "a@x.example"); v.OK || !v.Never || v.Unit != Bytes {
		t.Errorf("more than ever fits: %+v", v)
	}
	if v := body(400, "a@x.example"); !v.OK {
		t.Errorf("what was left: %+v", v)
	}
}

func testAccountRefund(t *testing.T, bed testBed) {
	l := bed.limiter(t, map[string]RuleConfig{
		"sender": {
			Per: Per{PerSender}, Messages: parseNumbers(t, "2/1h"), Recipients: parseNumbers(t, "4/1h"),
			Bytes: parseNumbers(t, "1000/1h"), DistinctRecipients: parseNumbers(t, "3/24h"),
		},
	})
	f := factsOf("news@example.org", "example.org")
	used := func() (u [4]int64) {
		b := budgetOf("sender", "sender=news@example.org",
			win(Messages, 2, time.Hour), win(Recipients, 4, time.Hour), win(Bytes, 1000, time.Hour), win(DistinctRecipients, 3, 24*time.Hour))
		for i, r := range bed.look(t, b) {
			u[i] = r.Used
		}
		return u
	}
	a := l.Begin(f)
	a.Recipients(t.Context(), []Recipient{at("a@x.example"), at("b@x.example")}, nil)
	bed.clock.add(time.Second)
	a.Recipients(t.Context(), []Recipient{at("c@x.example"), at("d@x.example")}, nil)
	a.Body(t.Context(), 700)
	for _, step := range []struct {
		i    int
		want [4]int64
	}{
		{1, [4]int64{1, 2, 700, 2}},
		{1, [4]int64{1, 2, 700, 2}},  // again
		{3, [4]int64{1, 2, 700, 2}},  // was refused
		{-1, [4]int64{1, 2, 700, 2}}, // there is none
		{99, [4]int64{1, 2, 700, 2}},
		{0, [4]int64{1, 1, 700, 1}},
		{2, [4]int64{0, 0, 0, 0}},
	} {
		a.Refund(t.Context(), step.i)
		if got := used(); got != step.want {
			t.Errorf("after the refund of %d: %v, want %v", step.i, got, step.want)
		}
	}
	// The transaction goes on, and pays its message again.
	a.Recipients(t.Context(), []Recipient{at("e@x.example")}, nil)
	if got := used(); got != [4]int64{1, 1, 0, 1} {
		t.Errorf("a further recipient: %v", got)
	}
	a.RefundAll(t.Context())
	a.RefundAll(t.Context())
	if got := used(); got != [4]int64{} {
		t.Errorf("all given back: %v", got)
	}
	if a.Err() != nil {
		t.Error(a.Err())
	}
	a.End()
}

func testReload(t *testing.T, bed testBed) {
	rules := func(n string) *Rules {
		return compile(t, map[string]RuleConfig{"sender": {Per: Per{PerSender}, Messages: parseNumbers(t, n+"/1h")}})
	}
	l := NewLimiter(bed.Store, rules("500"), bed.clock.now)
	f := factsOf("news@example.org", "example.org")
	drain := func() (n int) {
		for n < 2000 && send(t, l, f, "a@x.example") == "+" {
			n++
		}
		return n
	}
	if n := drain(); n != 500 {
		t.Fatalf("%d passed at 500/1h", n)
	}
	l.SetRules(rules("600"))
	if n := drain(); n != 100 {
		t.Errorf("%d more passed at 600/1h, want exactly 100", n)
	}
	l.SetRules(rules("500"))
	if n := drain(); n != 0 {
		t.Errorf("%d passed at 500/1h again", n)
	}
}

func testContributors(t *testing.T, bed testBed) {
	l := bed.limiter(t, map[string]RuleConfig{
		"client": {Per: Per{PerClient}, Messages: parseNumbers(t, "100/1h")},
	})
	top := func(f Facts, n int) (tops [][]string) {
		for range n {
			a := l.Begin(f)
			a.Recipients(t.Context(), []Recipient{at("a@x.example")}, nil)
			for _, look := range a.Looks(nil) {
				if look.Top != nil {
					tops = append(tops, look.Top)
				}
			}
			a.End()
		}
		return tops
	}
	for i := range 30 {
		top(factsOf("s"+strconv.Itoa(i)+"@example.org", "example.org"), 1)
	}
	top(factsOf("c@example.org", "example.org"), 10)
	top(factsOf("b@example.org", "example.org"), 15)
	near := top(factsOf("a@example.org", "example.org"), 45)
	if len(near) != 1 {
		t.Fatalf("events with contributors at 80 %%: %v", near)
	}
	refused := top(factsOf("b@example.org", "example.org"), 1)
	if len(refused) != 1 || len(refused[0]) != 3 {
		t.Fatalf("contributors of a refusal: %v", refused)
	}
	// With more than topSize senders the shares are estimates.
	if !strings.HasPrefix(refused[0][0], "a@example.org 4") {
		t.Errorf("first contributor %q", refused[0][0])
	}
	if !strings.HasPrefix(refused[0][1], "b@example.org 1") {
		t.Errorf("second contributor %q", refused[0][1])
	}
}

// testContributorsAfterRestart: another process has charged most of the budget;
// its senders are not ours.
func testContributorsAfterRestart(t *testing.T, bed testBed) {
	limits := map[string]RuleConfig{
		"client": {Per: Per{PerClient}, Messages: parseNumbers(t, "10/1m", "100/1h"), Recipients: parseNumbers(t, "5000/24h")},
	}
	before, after := bed.limiter(t, limits), bed.limiter(t, limits)
	charge := func(l *Limiter, sender string, n int) {
		for i := range n {
			if i%9 == 0 {
				bed.clock.add(time.Minute)
			}
			a := l.Begin(factsOf(sender, "example.org"))
			a.Recipients(t.Context(), []Recipient{at("a@x.example")}, nil)
			a.End()
		}
	}
	tops := func(l *Limiter) []string {
		t.Helper()
		states, err := l.Show(t.Context(), Filter{}, 1)
		if err != nil || len(states) != 1 {
			t.Fatalf("%v %v", states, err)
		}
		return states[0].Top
	}
	charge(before, "anna@example.org", 36)
	if top := tops(after); top != nil {
		t.Errorf("one that has seen nothing names %q", top)
	}
	charge(after, "pia@example.org", 3)
	charge(after, "olga@example.org", 1)
	if got, want := strings.Join(tops(after), ", "), "pia@example.org 7%, olga@example.org 2%, not seen here 90%"; got != want {
		t.Errorf("the new process says %q, want %q", got, want)
	}
	if got, want := strings.Join(tops(before), ", "), "anna@example.org 90%, not seen here 10%"; got != want {
		t.Errorf("the old process says %q, want %q", got, want)
	}
	if _, err := after.Reset(t.Context(), "client", "client=shop"); err != nil {
		t.Fatal(err)
	}
	charge(after, "olga@example.org", 1)
	if got := strings.Join(tops(after), ", "); got != "olga@example.org 100%" {
		t.Errorf("after a reset it says %q", got)
	}
}

func testShadowLooks(t *testing.T, bed testBed) {
	l := bed.limiter(t, map[string]RuleConfig{
		"a shadow": {Per: Per{PerSender}, Messages: parseNumbers(t, "1/1h"), Mode: Shadow},
		"real":     {Per: Per{PerSender}, Messages: parseNumbers(t, "3/1h")},
	})
	f := factsOf("news@example.org", "example.org")
	for i, want := range []string{"+", "+", "+", "-"} {
		a := l.Begin(f)
		v := a.Recipients(t.Context(), []Recipient{at("a@x.example")}, nil)[0]
		if v.OK != (want == "+") {
			t.Errorf("message %d: %+v", i, v)
		}
		for _, look := range a.Looks(nil) {
			if look.Limit == "a shadow" && (!look.Shadow || look.Used != 1 || look.Refused != (i > 0)) {
				t.Errorf("message %d: %+v", i, look)
			}
		}
		a.End()
	}
}

func testOverrides(t *testing.T, bed testBed) {
	l := bed.limiter(t, map[string]RuleConfig{
		"sender": {
			Per: Per{PerSender}, Messages: parseNumbers(t, "1/1h"), Recipients: parseNumbers(t, "50/1h"),
			Overrides: map[string]Override{
				"News@EXAMPLE.org":    {Messages: parseNumbers(t, "5/1h")},
				"@example.org":        {Messages: parseNumbers(t, "3/1h")},
				"@*.example.org":      {Messages: parseNumbers(t, "2/1h")},
				"@shared.example.org": {Messages: parseNumbers(t, "4/1h"), Shared: true},
				"@*.wild.example":     {Messages: parseNumbers(t, "6/1h"), Shared: true},
			},
		},
	})
	for _, test := range []struct {
		senders []string
		want    int
	}{
		{[]string{"News@example.org", "news@example.org", `"NEWS"@example.org`}, 5},
		{[]string{"b@example.org"}, 3},
		{[]string{"b@sub.example.org"}, 2},
		{[]string{"b@a.sub.example.org"}, 2},
		{[]string{"a@shared.example.org", "b@shared.example.org"}, 4},
		{[]string{"a@x.wild.example", "b@y.wild.example"}, 6},
		{[]string{"a@wild.example"}, 1},
		{[]string{"a@other.example"}, 1},
		{[]string{"a@notexample.org"}, 1},
	} {
		n := 0
		for n < 20 && send(t, l, factsOf(test.senders[n%len(test.senders)], at(test.senders[n%len(test.senders)]).Domain), "a@x.example") == "+" {
			n++
		}
		if n != test.want {
			t.Errorf("%v got %d, want %d", test.senders, n, test.want)
		}
	}
}

func testStreamShare(t *testing.T, bed testBed) {
	l := bed.limiter(t, map[string]RuleConfig{
		"upstream": {Per: Per{PerUpstream}, Messages: parseNumbers(t, "10/1h"), Reserve: map[string]Percent{"transactional": 20}},
	})
	marketing := factsOf("news@example.org", "example.org")
	transactional := marketing
	transactional.Stream = "transactional"
	drain := func(f Facts) string {
		var all []string
		for range 12 {
			all = append(all, send(t, l, f, "a@x.example"))
		}
		return strings.TrimRight(strings.Join(all, ""), "-")
	}
	if got := drain(marketing); len(got) != 8 {
		t.Errorf("marketing got %d of 10", len(got))
	}
	if got := drain(transactional); len(got) != 2 {
		t.Errorf("transactional got %d, want its 2", len(got))
	}
	bed.clock.add(time.Hour + time.Second)
	if got := drain(transactional); len(got) != 10 {
		t.Errorf("transactional alone got %d of 10", len(got))
	}
}

func TestCompileNamesEveryProblem(t *testing.T) {
	_, err := Compile(map[string]RuleConfig{
		"a": {Per: Per{PerSender}},
		"b": {Messages: parseNumbers(t, "1/1h"), Clients: []string{"nobody"}},
		"c": {
			Per: Per{PerSender, PerAll}, Messages: parseNumbers(t, "1/1h", "2/1h"), Senders: []string{"x"},
			Reserve: map[string]Percent{"s": 60, "t": 50}, Recipients: Numbers{{N: 1, Window: time.Hour, size: true}},
			Overrides: map[string]Override{"x": {}, "@a.example": {}},
		},
	}, Env{Clients: []EnvClient{{Name: "shop"}}, Streams: []string{"s"}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"limit.a.messages: is missing", "limit.b.per: is missing", `limit.b.clients: names "nobody"`,
		`limit.c.per: joins "all"`, "limit.c.messages: has two numbers", "limit.c.senders:", "limit.c.reserve: keeps 110%",
		"limit.c.recipients:", `limit.c.overrides."@a.example": has no number`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}

func TestNumberTexts(t *testing.T) {
	for text, want := range map[string]Number{
		"500/1h":      {N: 500, Window: time.Hour},
		"0/1h":        {N: 0, Window: time.Hour},
		"1000000/1s":  {N: 1_000_000, Window: time.Second},
		"1GiB/24h":    {N: 1 << 30, Window: 24 * time.Hour, size: true},
		"5 / 1h30m":   {N: 5, Window: 90 * time.Minute},
		"1/31d":       {N: 1, Window: MaxWindow},
		"7/1d12h":     {N: 7, Window: 36 * time.Hour},
		"10000000/7d": {N: 10_000_000, Window: 7 * 24 * time.Hour},
	} {
		var n Number
		if err := n.UnmarshalText([]byte(text)); err != nil || n != want {
			t.Errorf("%q: %+v, %v", text, n, err)
		}
		var back Number
		if err := back.UnmarshalText([]byte(n.String())); err != nil || back != n {
			t.Errorf("%q written as %q reads as %+v, %v", text, n, back, err)
		}
	}
	for _, text := range []string{
		"", "500", "500/", "/1h", "-1/1h", "1.5/1h", "500/0s", "500/1ms", "500/1500ms", "500/32d", "500/1", "500/h", "1e3/1h",
		"500/-1h", "500/+1h", "+5/1h", "99999999999999999999/1h", "1000000TiB/1h", "500/1h/2h", "5 00/1h", "500/1y", "0x10/1h", "1_000/1h",
		"1GiB", "GiB/1h", "500/d", "500/1dd", "500/99999d",
	} {
		var n Number
		if err := n.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %+v", text, n)
		}
	}
}

func FuzzNumber(f *testing.F) {
	for _, s := range []string{"500/1h", "1GiB/24h", "0/31d", "1/1d12h", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var n, back Number
		if n.UnmarshalText([]byte(text)) != nil {
			return
		}
		if n.N < 0 || n.N > MaxNumber || n.Window < MinWindow || n.Window > MaxWindow || n.Window%time.Second != 0 {
			t.Fatalf("%q gave %+v", text, n)
		}
		if err := back.UnmarshalText([]byte(n.String())); err != nil || back != n {
			t.Fatalf("%q written as %q reads as %+v, %v", text, n, back, err)
		}
	})
}

func FuzzKey(f *testing.F) {
	f.Add("shop", "bob", "news@example.org")
	f.Add(`a" \`, "\x00=", " x")
	f.Fuzz(func(t *testing.T, client, user, sender string) {
		if client == "" || user == "" || sender == "" || max(len(client), len(user), len(sender)) > maxValue {
			return
		}
		var key []byte
		want := []part{{PerClient, client}, {PerUser, user}, {PerSender, sender}}
		for _, p := range want {
			key = appendPart(key, 0, p.d, p.value)
		}
		if got, ok := parseKey(string(key)); !ok || !slices.Equal(got, want) {
			t.Fatalf("key %q reads as %v", key, got)
		}
	})
}
