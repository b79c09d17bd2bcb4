package ratelimit_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/ratelimit"
	"postern/ratelimit/embedded"
	"postern/ratelimit/storetest"
)

// testLimiter is what limits must do on every store; see storetest.Run.
func testLimiter(t *testing.T, open func(t *testing.T) storetest.Bed) {
	for _, test := range []struct {
		name string
		f    func(*testing.T, storetest.Bed)
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
		{"strangers", testStrangers},
		{"networks", testNetworks},
		{"new senders behind an MTA", testNewSendersOfSubmitters},
	} {
		t.Run(test.name, func(t *testing.T) { test.f(t, open(t)) })
	}
}

func TestEmbeddedLimiter(t *testing.T) {
	open := func(*testing.T) storetest.Bed {
		bed, _ := newBed(t, storetest.NewClock())
		return bed
	}
	testLimiter(t, open)
	storetest.RunClaims(t, open)
}

// newBed is an embedded store of its own.
func newBed(t testing.TB, clock *storetest.Clock) (storetest.Bed, *embedded.Store) {
	t.Helper()
	e := embedded.New(embedded.Config{Memory: 16 << 20}, clock.Now)
	return storetest.Bed{Store: e, Clock: clock}, e
}

func testRecipientSpellings(t *testing.T, bed storetest.Bed) {
	l := bed.Limiter(t, map[string]ratelimit.RuleConfig{
		"sender": {Per: ratelimit.Per{ratelimit.PerSender}, Recipients: storetest.Numbers(t, "2/1h")},
	})
	f := storetest.FactsOf("news@example.org", "example.org")
	if got := storetest.Send(t, l, f, "a@x.example", "b@x.example"); got != "++" {
		t.Fatalf("first two: %s", got)
	}
	spellings := []string{
		"postmaster@x.example", "postmaster@corp.example", "postmaster", "abuse@x.example", "a@x.example", "A@x.example",
		"a+tag@x.example", `"a b"@x.example`, `"a@corp.example"@x.example`, "a@[192.0.2.1]", "a@xn--bcher-kva.example",
		"bücher@xn--bcher-kva.example", "postmaster+a@x.example", "", "<>", "a@corp.example",
	}
	for _, to := range spellings {
		if got := storetest.Send(t, l, f, to); got != "-" {
			t.Errorf("to %q passed an exhausted sender", to)
		}
		// As the second recipient beside one that is refused.
		if got := storetest.Send(t, l, f, "c@x.example", to); got != "--" {
			t.Errorf("to c@x.example and %q: %s", to, got)
		}
	}
}

func testNullSender(t *testing.T, bed storetest.Bed) {
	l := bed.Limiter(t, map[string]ratelimit.RuleConfig{
		"sender": {Per: ratelimit.Per{ratelimit.PerSender}, Messages: storetest.Numbers(t, "2/1h")},
		"domain": {Per: ratelimit.Per{ratelimit.PerSenderDomain}, Messages: storetest.Numbers(t, "3/1h")},
	})
	one, two := storetest.FactsOf("<>", ""), storetest.FactsOf("<>", "")
	two.Client = "other"
	got := storetest.Send(t, l, one, "a@x.example") + storetest.Send(t, l, one, "a@x.example") + storetest.Send(t, l, one, "a@x.example")
	if got != "++-" {
		t.Errorf("three messages of the null sender: %s, want ++-", got)
	}
	if got := storetest.Send(t, l, two, "a@x.example"); got != "+" {
		t.Error("the null sender of another client has no room")
	}
	a := l.Begin(two)
	a.Recipients(t.Context(), []ratelimit.Recipient{storetest.At("a@x.example")}, nil)
	for i, want := range []string{"client=other sender_domain=<>", "client=other sender=<>"} {
		if looks := slices.Clone(a.Checks()); looks[i].Key != want {
			t.Errorf("key %q, want %q", looks[i].Key, want)
		}
	}
	a.End()
	// The empty text is the same as the null sender, not a hole.
	one.Sender = ""
	if got := storetest.Send(t, l, one, "a@x.example"); got != "-" {
		t.Error("an empty sender passed beside an exhausted null sender")
	}
}

func testNoSharedKeys(t *testing.T, bed storetest.Bed) {
	l := bed.Limiter(t, map[string]ratelimit.RuleConfig{
		"pair": {Per: ratelimit.Per{ratelimit.PerClient, ratelimit.PerUser}, Messages: storetest.Numbers(t, "1/1h")},
	})
	seen := map[string]string{}
	for _, names := range [][2]string{
		{"a", "b user=c"}, {"a user=b", "c"}, {"a", "b"}, {"a", `"b"`}, {"a", `b\`}, {"a", "b\x00"}, {"a", "b "}, {"a", " b"},
		{`a"`, "b"}, {"a", "B"}, {"a", strings.Repeat("x", 600)}, {"a", strings.Repeat("x", 599) + "y"}, {"", "b"}, {"<none>x", "b"},
	} {
		f := storetest.FactsOf("news@example.org", "example.org")
		f.Client, f.User = names[0], names[1]
		a := l.Begin(f)
		v := a.Recipients(t.Context(), []ratelimit.Recipient{storetest.At("a@x.example")}, nil)[0]
		looks := slices.Clone(a.Checks())
		a.End()
		if !v.OK || len(looks) != 1 {
			t.Errorf("%q: %+v %+v", names, v, looks)
			continue
		}
		if other, ok := seen[looks[0].Key]; ok {
			t.Errorf("%q and %q share the key %s", names, other, looks[0].Key)
		}
		seen[looks[0].Key] = fmt.Sprint(names)
		if parts, ok := ratelimit.PartsOf(looks[0].Key); !ok || parts != 2 || strings.ContainsAny(looks[0].Key, "\x00\n") {
			t.Errorf("%q: key %q does not read back", names, looks[0].Key)
		}
	}
}

func testAbsent(t *testing.T, bed storetest.Bed) {
	l := bed.Limiter(t, map[string]ratelimit.RuleConfig{
		"counted": {Per: ratelimit.Per{ratelimit.PerUser}, Messages: storetest.Numbers(t, "2/1h")},
		"skipped": {Per: ratelimit.Per{ratelimit.PerUser}, Absent: ratelimit.AbsentSkip, Messages: storetest.Numbers(t, "1/1h")},
	})
	f := storetest.FactsOf("news@example.org", "example.org")
	a := l.Begin(f)
	a.Recipients(t.Context(), []ratelimit.Recipient{storetest.At("a@x.example")}, nil)
	if looks := slices.Clone(a.Checks()); len(looks) != 1 || looks[0].Key != "client=shop" || looks[0].Limit != "counted" {
		t.Errorf("mail without a user: %+v", looks)
	}
	a.End()
	if got := storetest.Send(t, l, f, "a@x.example") + storetest.Send(t, l, f, "a@x.example"); got != "+-" {
		t.Errorf("second and third message without a user: %s", got)
	}
	f.Client = "other"
	if got := storetest.Send(t, l, f, "a@x.example"); got != "+" {
		t.Error("another client without a user has no room")
	}
	// A user whose name is that of a client has a budget of its own.
	f.Client, f.User = "shop", "shop"
	if got := storetest.Send(t, l, f, "a@x.example") + storetest.Send(t, l, f, "a@x.example"); got != "+-" {
		t.Errorf("user shop: %s, want +- from the limit that skips others", got)
	}
	a = l.Begin(f)
	v := a.Recipients(t.Context(), []ratelimit.Recipient{storetest.At("a@x.example")}, nil)[0]
	if v.Limit != "skipped" || v.Per != "user" {
		t.Errorf("verdict %+v", v)
	}
	a.End()
}

func testFolding(t *testing.T, bed storetest.Bed) {
	limits := map[string]ratelimit.RuleConfig{
		"sender": {Per: ratelimit.Per{ratelimit.PerSender}, Messages: storetest.Numbers(t, "1/1h"), FoldTag: true},
	}
	l := bed.Limiter(t, limits)
	if got := storetest.Send(t, l, storetest.FactsOf("news@example.org", "example.org"), "a@x.example"); got != "+" {
		t.Fatal(got)
	}
	for _, sender := range []string{"news+1@example.org", "NEWS@example.org", "News+a+b@example.org", "news+@example.org", `"news+a b"@example.org`} {
		if got := storetest.Send(t, l, storetest.FactsOf(sender, "example.org"), "a@x.example"); got != "-" {
			t.Errorf("%s has room of its own", sender)
		}
	}
	for _, sender := range []string{"+news@example.org", "newsx@example.org", `"new s"@example.org`} {
		if got := storetest.Send(t, l, storetest.FactsOf(sender, "example.org"), "a@x.example"); got != "+" {
			t.Errorf("%s shares the room of news", sender)
		}
	}
}

func testInternal(t *testing.T, bed storetest.Bed) {
	l := bed.Limiter(t, map[string]ratelimit.RuleConfig{
		"out": {Per: ratelimit.Per{ratelimit.PerSender}, Messages: storetest.Numbers(t, "2/1h"), Recipients: storetest.Numbers(t, "3/1h"), RecipientsNotAt: []string{"internal"}},
		"in":  {Per: ratelimit.Per{ratelimit.PerSender}, Recipients: storetest.Numbers(t, "4/1h"), RecipientsAt: []string{"internal"}},
	})
	f := storetest.FactsOf("news@example.org", "example.org")
	if got := storetest.Send(t, l, f, "a@corp.example", "b@hr.corp.example"); got != "++" {
		t.Fatalf("inside only: %s", got)
	}
	a := l.Begin(f)
	a.Recipients(t.Context(), []ratelimit.Recipient{storetest.At("a@corp.example"), storetest.At("a@x.example"), storetest.At("b@x.example")}, nil)
	for _, look := range a.Checks() {
		want := map[string]int64{"out messages": 1, "out recipients": 2, "in recipients": 3}[look.Limit+" "+look.Unit.String()]
		if look.Used != want {
			t.Errorf("%s %s: %d used, want %d", look.Limit, look.Unit, look.Used, want)
		}
	}
	a.End()
	if got := storetest.Send(t, l, f, "c@x.example", "d@x.example", "c@corp.example", "d@corp.example", "postmaster@xcorp.example"); got != "+-+--" {
		t.Errorf("inside and outside: %s, want +-+--", got)
	}
}

func testFirstMessageToMany(t *testing.T, bed storetest.Bed) {
	l := bed.Limiter(t, map[string]ratelimit.RuleConfig{
		"sender": {Per: ratelimit.Per{ratelimit.PerSender}, Recipients: storetest.Numbers(t, "20/1h")},
		"domain": {Per: ratelimit.Per{ratelimit.PerSender, ratelimit.PerRecipientDomain}, Recipients: storetest.Numbers(t, "15/1h")},
	})
	var to []string
	for i := range 500 {
		to = append(to, "u"+strconv.Itoa(i)+"@"+[]string{"x.example", "y.example"}[i/250])
	}
	got := storetest.Send(t, l, storetest.FactsOf("new@example.org", "example.org"), to...)
	if strings.Count(got, "+") != 20 || got[:16] != strings.Repeat("+", 15)+"-" || got[250:256] != "+++++-" {
		t.Errorf("%d of 500 passed: %s", strings.Count(got, "+"), got)
	}
}

func testDeclared(t *testing.T, bed storetest.Bed) {
	l := bed.Limiter(t, map[string]ratelimit.RuleConfig{
		"bytes":  {Per: ratelimit.Per{ratelimit.PerSender}, Bytes: storetest.Numbers(t, "1000/1h")},
		"shadow": {Per: ratelimit.Per{ratelimit.PerSender}, Bytes: storetest.Numbers(t, "10/1h"), Mode: ratelimit.Shadow},
		"out":    {Per: ratelimit.Per{ratelimit.PerSender}, Bytes: storetest.Numbers(t, "100/1h"), RecipientsNotAt: []string{"internal"}},
	})
	f := storetest.FactsOf("news@example.org", "example.org")
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
	allowance := ratelimit.Allowance{Limit: "bytes", Key: "sender=news@example.org", Unit: ratelimit.Bytes, Add: 1, Until: bed.Clock.Now().Add(time.Hour)}
	if err := bed.SetAllowance(t.Context(), allowance); err != nil {
		t.Fatal(err)
	}
	if err := l.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := l.Begin(f)
	if v := a.Declared(1001); v != nil {
		t.Errorf("SIZE=1001 under an allowance of 1: %+v", *v)
	}
	a.End()
}

func testBody(t *testing.T, bed storetest.Bed) {
	l := bed.Limiter(t, map[string]ratelimit.RuleConfig{
		"bytes": {Per: ratelimit.Per{ratelimit.PerSender}, Bytes: storetest.Numbers(t, "1000/1h"), RecipientsNotAt: []string{"internal"}},
	})
	f := storetest.FactsOf("news@example.org", "example.org")
	body := func(n int64, to string) ratelimit.Decision {
		a := l.Begin(f)
		defer a.End()
		if v := a.Recipients(t.Context(), []ratelimit.Recipient{storetest.At(to)}, nil)[0]; !v.OK {
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
	bed.Clock.Add(time.Minute)
	if v := body(600, "a@x.example"); v.OK || v.Never || v.RetryAfter != 59*time.Minute {
		t.Errorf("600 more: %+v", v)
	}
	if v := body(1001, "a@x.example"); v.OK || !v.Never || v.Unit != ratelimit.Bytes {
		t.Errorf("more than ever fits: %+v", v)
	}
	if v := body(400, "a@x.example"); !v.OK {
		t.Errorf("what was left: %+v", v)
	}
}

func testAccountRefund(t *testing.T, bed storetest.Bed) {
	l := bed.Limiter(t, map[string]ratelimit.RuleConfig{
		"sender": {
			Per: ratelimit.Per{ratelimit.PerSender}, Messages: storetest.Numbers(t, "2/1h"), Recipients: storetest.Numbers(t, "4/1h"),
			Bytes: storetest.Numbers(t, "1000/1h"), DistinctRecipients: storetest.Numbers(t, "3/24h"),
		},
	})
	f := storetest.FactsOf("news@example.org", "example.org")
	used := func() (u [4]int64) {
		b := storetest.BudgetOf("sender", "sender=news@example.org",
			storetest.Win(ratelimit.Messages, 2, time.Hour), storetest.Win(ratelimit.Recipients, 4, time.Hour), storetest.Win(ratelimit.Bytes, 1000, time.Hour), storetest.Win(ratelimit.DistinctRecipients, 3, 24*time.Hour))
		for i, r := range bed.Peek(t, b) {
			u[i] = r.Used
		}
		return u
	}
	a := l.Begin(f)
	a.Recipients(t.Context(), []ratelimit.Recipient{storetest.At("a@x.example"), storetest.At("b@x.example")}, nil)
	bed.Clock.Add(time.Second)
	a.Recipients(t.Context(), []ratelimit.Recipient{storetest.At("c@x.example"), storetest.At("d@x.example")}, nil)
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
	a.Recipients(t.Context(), []ratelimit.Recipient{storetest.At("e@x.example")}, nil)
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

func testReload(t *testing.T, bed storetest.Bed) {
	rules := func(n string) *ratelimit.Limits {
		return storetest.Compile(t, map[string]ratelimit.RuleConfig{"sender": {Per: ratelimit.Per{ratelimit.PerSender}, Messages: storetest.Numbers(t, n+"/1h")}})
	}
	l := ratelimit.NewLimiter(bed.Store, rules("500"), bed.Clock.Now)
	f := storetest.FactsOf("news@example.org", "example.org")
	drain := func() (n int) {
		for n < 2000 && storetest.Send(t, l, f, "a@x.example") == "+" {
			n++
		}
		return n
	}
	if n := drain(); n != 500 {
		t.Fatalf("%d passed at 500/1h", n)
	}
	l.SetLimits(rules("600"))
	if n := drain(); n != 100 {
		t.Errorf("%d more passed at 600/1h, want exactly 100", n)
	}
	l.SetLimits(rules("500"))
	if n := drain(); n != 0 {
		t.Errorf("%d passed at 500/1h again", n)
	}
}

func testContributors(t *testing.T, bed storetest.Bed) {
	l := bed.Limiter(t, map[string]ratelimit.RuleConfig{
		"client": {Per: ratelimit.Per{ratelimit.PerClient}, Messages: storetest.Numbers(t, "100/1h")},
	})
	top := func(f ratelimit.Facts, n int) (tops [][]string) {
		for range n {
			a := l.Begin(f)
			a.Recipients(t.Context(), []ratelimit.Recipient{storetest.At("a@x.example")}, nil)
			for _, look := range a.Checks() {
				if look.Top != nil {
					tops = append(tops, look.Top)
				}
			}
			a.End()
		}
		return tops
	}
	for i := range 30 {
		top(storetest.FactsOf("s"+strconv.Itoa(i)+"@example.org", "example.org"), 1)
	}
	top(storetest.FactsOf("c@example.org", "example.org"), 10)
	top(storetest.FactsOf("b@example.org", "example.org"), 15)
	near := top(storetest.FactsOf("a@example.org", "example.org"), 45)
	if len(near) != 1 {
		t.Fatalf("events with contributors at 80 %%: %v", near)
	}
	refused := top(storetest.FactsOf("b@example.org", "example.org"), 1)
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
func testContributorsAfterRestart(t *testing.T, bed storetest.Bed) {
	limits := map[string]ratelimit.RuleConfig{
		"client": {Per: ratelimit.Per{ratelimit.PerClient}, Messages: storetest.Numbers(t, "10/1m", "100/1h"), Recipients: storetest.Numbers(t, "5000/24h")},
	}
	before, after := bed.Limiter(t, limits), bed.Limiter(t, limits)
	charge := func(l *ratelimit.Limiter, sender string, n int) {
		for i := range n {
			if i%9 == 0 {
				bed.Clock.Add(time.Minute)
			}
			a := l.Begin(storetest.FactsOf(sender, "example.org"))
			a.Recipients(t.Context(), []ratelimit.Recipient{storetest.At("a@x.example")}, nil)
			a.End()
		}
	}
	tops := func(l *ratelimit.Limiter) []string {
		t.Helper()
		states, err := l.Show(t.Context(), ratelimit.Filter{}, 1)
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

func testShadowLooks(t *testing.T, bed storetest.Bed) {
	l := bed.Limiter(t, map[string]ratelimit.RuleConfig{
		"a shadow": {Per: ratelimit.Per{ratelimit.PerSender}, Messages: storetest.Numbers(t, "1/1h"), Mode: ratelimit.Shadow},
		"real":     {Per: ratelimit.Per{ratelimit.PerSender}, Messages: storetest.Numbers(t, "3/1h")},
	})
	f := storetest.FactsOf("news@example.org", "example.org")
	for i, want := range []string{"+", "+", "+", "-"} {
		a := l.Begin(f)
		v := a.Recipients(t.Context(), []ratelimit.Recipient{storetest.At("a@x.example")}, nil)[0]
		if v.OK != (want == "+") {
			t.Errorf("message %d: %+v", i, v)
		}
		for _, look := range a.Checks() {
			if look.Limit == "a shadow" && (!look.Shadow || look.Used != 1 || look.Refused != (i > 0)) {
				t.Errorf("message %d: %+v", i, look)
			}
		}
		a.End()
	}
}

func testOverrides(t *testing.T, bed storetest.Bed) {
	l := bed.Limiter(t, map[string]ratelimit.RuleConfig{
		"sender": {
			Per: ratelimit.Per{ratelimit.PerSender}, Messages: storetest.Numbers(t, "1/1h"), Recipients: storetest.Numbers(t, "50/1h"),
			Overrides: map[string]ratelimit.Override{
				"News@EXAMPLE.org":    {Messages: storetest.Numbers(t, "5/1h")},
				"@example.org":        {Messages: storetest.Numbers(t, "3/1h")},
				"@*.example.org":      {Messages: storetest.Numbers(t, "2/1h")},
				"@shared.example.org": {Messages: storetest.Numbers(t, "4/1h"), Shared: true},
				"@*.wild.example":     {Messages: storetest.Numbers(t, "6/1h"), Shared: true},
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
		for n < 20 && storetest.Send(t, l, storetest.FactsOf(test.senders[n%len(test.senders)], storetest.At(test.senders[n%len(test.senders)]).Domain), "a@x.example") == "+" {
			n++
		}
		if n != test.want {
			t.Errorf("%v got %d, want %d", test.senders, n, test.want)
		}
	}
}

func testStreamShare(t *testing.T, bed storetest.Bed) {
	l := bed.Limiter(t, map[string]ratelimit.RuleConfig{
		"upstream": {Per: ratelimit.Per{ratelimit.PerUpstream}, Messages: storetest.Numbers(t, "10/1h"), Reserve: map[string]ratelimit.Percent{"transactional": 20}},
	})
	marketing := storetest.FactsOf("news@example.org", "example.org")
	transactional := marketing
	transactional.Stream = "transactional"
	drain := func(f ratelimit.Facts) string {
		var all []string
		for range 12 {
			all = append(all, storetest.Send(t, l, f, "a@x.example"))
		}
		return strings.TrimRight(strings.Join(all, ""), "-")
	}
	if got := drain(marketing); len(got) != 8 {
		t.Errorf("marketing got %d of 10", len(got))
	}
	if got := drain(transactional); len(got) != 2 {
		t.Errorf("transactional got %d, want its 2", len(got))
	}
	bed.Clock.Add(time.Hour + time.Second)
	if got := drain(transactional); len(got) != 10 {
		t.Errorf("transactional alone got %d of 10", len(got))
	}
}

func TestCompileNamesEveryProblem(t *testing.T) {
	_, err := ratelimit.Compile(map[string]ratelimit.RuleConfig{
		"a": {Per: ratelimit.Per{ratelimit.PerSender}},
		"b": {Messages: storetest.Numbers(t, "1/1h"), Clients: []string{"nobody"}},
		"c": {
			Per: ratelimit.Per{ratelimit.PerSender, ratelimit.PerAll}, Messages: storetest.Numbers(t, "1/1h", "2/1h"), Senders: []string{"x"},
			Reserve: map[string]ratelimit.Percent{"s": 60, "t": 50}, Recipients: storetest.Numbers(t, "1B/1h"),
			Overrides: map[string]ratelimit.Override{"x": {}, "@a.example": {}},
		},
	}, ratelimit.Env{Clients: []ratelimit.EnvClient{{Name: "shop"}}, Streams: []string{"s"}})
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
