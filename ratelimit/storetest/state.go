package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/mail"
	"postern/ratelimit"
)

func testNear(t *testing.T, bed Bed) {
	w := Win(ratelimit.Recipients, 10, time.Hour)
	near := func() int {
		count := 0
		for range 12 {
			b := BatchOf([]ratelimit.Request{{Recipients: 1}}, BudgetOf("near", "all", w))
			said := bed.Decide(t, b)
			if r := said.Budgets[0].Windows[0]; r.Near {
				count++
				if r.Used != 8 {
					t.Errorf("near at %d of 10", r.Used)
				}
			}
		}
		return count
	}
	if n := near(); n != 1 {
		t.Errorf("near was told %d times, want once", n)
	}
	bed.Clock.Add(time.Hour + time.Second)
	if n := near(); n != 1 {
		t.Errorf("near was told %d times in the next window, want once", n)
	}
}

func testDistinct(t *testing.T, bed Bed) {
	w := Win(ratelimit.DistinctRecipients, 3, time.Hour)
	b := func() ratelimit.Budget { return BudgetOf("distinct", "all", w) }
	ask := func(name string) *Answer {
		t.Helper()
		return bed.Ask(t, ratelimit.Request{Recipients: 1, Distinct: HashRecipient(mail.RecipientID(name))}, b())
	}
	first := ask("a@x.example")
	for _, name := range []string{"a@x.example", "b@x.example", "a@x.example", "c@x.example", "b@x.example"} {
		if !ask(name).OK {
			t.Fatalf("%s refused", name)
		}
		bed.Clock.Add(time.Minute)
	}
	if ask("d@x.example").OK {
		t.Fatal("a fourth distinct recipient passed")
	}
	if !ask("a@x.example").OK {
		t.Error("a repeated one was refused")
	}
	// a was charged again since, so giving its first charge back changes nothing.
	give := func(q *Answer, name string) {
		t.Helper()
		r := ratelimit.Return{Budget: b(), At: q.Charges[0].At, Recipients: 1, Distinct: HashRecipient(mail.RecipientID(name))}
		if err := bed.Refund(t.Context(), NextAttempt(), []ratelimit.Return{r}); err != nil {
			t.Fatal(err)
		}
	}
	give(first, "a@x.example")
	if ask("d@x.example").OK {
		t.Error("a refund forgot a recipient that was written to twice")
	}
	bed.Clock.Add(time.Hour)
	only := ask("e@x.example")
	give(only, "e@x.example")
	if r := bed.Peek(t, b()); r[0].Used != 0 {
		t.Errorf("%d used after the only charge was given back", r[0].Used)
	}
	// Of many the number is an estimate.
	many := BudgetOf("distinct", "client=many", Win(ratelimit.DistinctRecipients, 20_000, time.Hour))
	for i := range 50 {
		b := BatchOf(make([]ratelimit.Request, 100), many)
		for j := range b.Requests {
			b.Requests[j].Recipients, b.Requests[j].Distinct = 1, HashRecipient(mail.RecipientID(time.Duration(100*i+j).String()))
		}
		bed.Decide(t, b)
	}
	if used := bed.Peek(t, many)[0].Used; used < 4000 || used > 6000 {
		t.Errorf("estimate of 5000 distinct: %d", used)
	}
}

func testPeek(t *testing.T, bed Bed) {
	w := Win(ratelimit.Recipients, 2, time.Hour)
	b := func() ratelimit.Budget { return BudgetOf("peek", "all", w) }
	if r := bed.Peek(t, b()); r[0] != (ratelimit.WindowResult{Max: 2}) {
		t.Errorf("of a new key: %+v", r[0])
	}
	bed.One(t, b())
	bed.Clock.Add(time.Minute)
	bed.One(t, b())
	for range 3 {
		r := bed.Peek(t, b())[0]
		if r.Used != 2 || !r.Refused || r.Free < 59*time.Minute-time.Second || r.Free > 59*time.Minute+time.Second {
			t.Errorf("full: %+v", r)
		}
	}
	if r := bed.Peek(t, BudgetOf("peek", "all", Win(ratelimit.Recipients, 0, time.Hour)))[0]; r.Free != -1 {
		t.Errorf("0/1h: %+v", r)
	}
}

func testRecord(t *testing.T, bed Bed) {
	w := []ratelimit.Window{Win(ratelimit.Recipients, 10, time.Hour), Win(ratelimit.DistinctRecipients, 10, time.Hour)}
	b := func() ratelimit.Budget { return BudgetOf("record", "all", w...) }
	records := []ratelimit.Record{
		{Limit: "record", Key: "all", Unit: ratelimit.Recipients, Length: time.Hour, Age: 30 * time.Minute, N: 12},
		{Limit: "record", Key: "all", Unit: ratelimit.DistinctRecipients, Length: time.Hour, Age: 30 * time.Minute, N: 1, Distinct: HashRecipient("a")},
		{Limit: "record", Key: "all", Unit: ratelimit.DistinctRecipients, Length: time.Hour, Age: 20 * time.Minute, N: 1, Distinct: HashRecipient("a")},
		{Limit: "record", Key: "all", Unit: ratelimit.Recipients, Length: time.Hour, Age: 40 * time.Minute, N: 1},
	}
	if err := bed.Record(t.Context(), NextAttempt(), records); err != nil {
		t.Fatal(err)
	}
	if r := bed.Peek(t, b()); r[0].Used != 13 || r[1].Used != 1 {
		t.Errorf("used %d and %d distinct, want 13 and 1", r[0].Used, r[1].Used)
	}
	bed.Clock.Add(20*time.Minute + time.Minute)
	if r := bed.Peek(t, b()); r[0].Used != 12 {
		t.Errorf("used %d after the older one's hour, want 12", r[0].Used)
	}
	bed.Clock.Add(10 * time.Minute)
	if r := bed.Peek(t, b()); r[0].Used != 0 || r[1].Used != 1 {
		t.Errorf("used %d and %d distinct, want 0 and 1", r[0].Used, r[1].Used)
	}
}

func testAllowances(t *testing.T, bed Bed) {
	w := []ratelimit.Window{Win(ratelimit.Messages, 2, time.Minute), Win(ratelimit.Messages, 3, time.Hour)}
	b := func() ratelimit.Budget { return BudgetOf("raise", "sender=a", w...) }
	allowance := ratelimit.Allowance{
		Limit: "raise", Key: "sender=a", Unit: ratelimit.Messages, Add: 5,
		Made: bed.Clock.Now(), Until: bed.Clock.Now().Add(30 * time.Minute), Reason: "campaign",
	}
	if n := bed.Fill(t, 100, b()); n != 2 {
		t.Fatalf("%d passed, want 2", n)
	}
	if err := bed.SetAllowance(t.Context(), allowance); err != nil {
		t.Fatal(err)
	}
	if n := bed.Fill(t, 100, b()); n != 5 {
		t.Errorf("%d more passed under an allowance of 5", n)
	}
	if r := bed.Peek(t, b()); r[0].Max != 7 || r[1].Max != 8 {
		t.Errorf("raised numbers %d and %d, want 7 and 8", r[0].Max, r[1].Max)
	}
	if r := bed.Peek(t, BudgetOf("raise", "sender=b", w...)); r[0].Max != 2 {
		t.Error("an allowance reached another key")
	}
	list, err := bed.Allowances(t.Context())
	if err != nil || len(list) != 1 || list[0].Reason != "campaign" || list[0].Key != "sender=a" || list[0].Add != 5 {
		t.Errorf("raises: %+v, %v", list, err)
	}
	if err := bed.Reset(t.Context(), "raise", "sender=a"); err != nil {
		t.Fatal(err)
	}
	if n := bed.Fill(t, 100, b()); n != 7 {
		t.Errorf("%d passed after a reset, want the allowance to stay", n)
	}
	bed.Clock.Add(30 * time.Minute)
	if bed.One(t, b()).OK {
		t.Error("the allowance has ended, yet another passed")
	}
	if list, _ := bed.Allowances(t.Context()); len(list) != 0 {
		t.Errorf("an ended allowance is listed: %+v", list)
	}
	allowance.Until = bed.Clock.Now().Add(time.Hour)
	allowance.Window = time.Hour
	for _, add := range []int64{5, 0} {
		allowance.Add = add
		if err := bed.SetAllowance(t.Context(), allowance); err != nil {
			t.Fatal(err)
		}
		if r := bed.Peek(t, b()); r[0].Max != 2 || r[1].Max != 3+add {
			t.Errorf("raise of the hour by %d: numbers %d and %d", add, r[0].Max, r[1].Max)
		}
	}
}

// testSwapAllowances: of two who change what they have read only one does.
func testSwapAllowances(t *testing.T, bed Bed) {
	allowance := func(reason string) ratelimit.Allowance {
		return ratelimit.Allowance{Limit: "swap", Key: "sender=a", Unit: ratelimit.Messages, Window: time.Hour, Add: 1, Made: bed.Clock.Now(), Until: bed.Clock.Now().Add(30 * time.Minute), Reason: reason}
	}
	there := func() (reason string) {
		t.Helper()
		all, err := bed.Allowances(t.Context())
		if err != nil || len(all) > 1 {
			t.Fatal(all, err)
		}
		for _, r := range all {
			reason = r.Reason
		}
		return reason
	}
	for _, row := range []struct {
		old, reason string
		ok          bool
	}{
		{"x", "one", false}, {"", "one", true}, {"", "two", false}, {"", "one", true}, {"one", "two", true},
		{"one", "three", false}, {"one", "two", true}, {"two", `{"step": 1, "\"\u00e9": true}`, true}, {`{"step": 1, "\"\u00e9": true}`, "four", true},
	} {
		before := there()
		ok, err := bed.SwapAllowance(t.Context(), allowance(row.reason), row.old)
		want := before
		if row.ok {
			want = row.reason
		}
		if err != nil || ok != row.ok || there() != want {
			t.Errorf("%q for %q: %v, %v; there is %q, want %q", row.reason, row.old, ok, err, there(), want)
		}
	}
	b := BudgetOf("swap", "sender=a", Win(ratelimit.Messages, 2, time.Hour))
	if r := bed.Peek(t, b); r[0].Max != 3 {
		t.Errorf("the number is %d, want 3", r[0].Max)
	}
	var wg sync.WaitGroup
	var won atomic.Int64
	for i := range 20 {
		wg.Go(func() {
			if ok, err := bed.SwapAllowance(t.Context(), allowance(fmt.Sprint("race ", i)), "four"); ok && err == nil {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of 20 have won", won.Load())
	}
	bed.Clock.Add(31 * time.Minute)
	if ok, err := bed.SwapAllowance(t.Context(), allowance("anew"), ""); !ok || err != nil {
		t.Errorf("behind its end: %v, %v", ok, err)
	}
}

func testScanReset(t *testing.T, bed Bed) {
	w := Win(ratelimit.Messages, 5, time.Hour)
	want := map[string]bool{"s1 client=a": true, "s1 client=b": true, "s2 all": true}
	bed.One(t, BudgetOf("s1", "client=a", w), BudgetOf("s2", "all", w))
	bed.One(t, BudgetOf("s1", "client=b", w), BudgetOf("s2", "all", w))
	scan := func(limit string) map[string]bool {
		t.Helper()
		got := map[string]bool{}
		err := bed.Scan(t.Context(), limit, func(limit, key string) bool {
			got[limit+" "+key] = true
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := scan("")
	for name := range want {
		if !got[name] {
			t.Errorf("%s is missing in %v", name, got)
		}
	}
	if got := scan("s1"); len(got) != 2 {
		t.Errorf("of s1: %v", got)
	}
	count := 0
	if err := bed.Scan(t.Context(), "", func(string, string) bool { count++; return false }); err != nil || count != 1 {
		t.Errorf("a scan that was stopped called %d times, %v", count, err)
	}
	if err := bed.Reset(t.Context(), "s1", "client=a"); err != nil {
		t.Fatal(err)
	}
	if r := bed.Peek(t, BudgetOf("s1", "client=a", w)); r[0].Used != 0 {
		t.Errorf("%d used after a reset", r[0].Used)
	}
	if r := bed.Peek(t, BudgetOf("s1", "client=b", w)); r[0].Used != 1 {
		t.Errorf("another key has %d used after the reset, want 1", r[0].Used)
	}
	if err := bed.Reset(t.Context(), "s1", "client=unknown"); err != nil {
		t.Error(err)
	}
}

func testPaid(t *testing.T, bed Bed) {
	b := BudgetOf("paid", "all", Win(ratelimit.Messages, 5, time.Hour), Win(ratelimit.Recipients, 50, time.Hour))
	batch := BatchOf([]ratelimit.Request{{Recipients: 1}, {Recipients: 1}, {Bytes: 7}}, b)
	said := bed.Decide(t, batch)
	first, second := said.Requests[0].Charges[0], said.Requests[1].Charges[0]
	if !first.Message || second.Message || !said.Budgets[0].Paid {
		t.Errorf("messages of the batch: %+v %+v, paid %v", first, second, said.Budgets[0].Paid)
	}
	b.Paid = true
	bed.One(t, b)
	if r := bed.Peek(t, b); r[0].Used != 1 || r[1].Used != 3 {
		t.Errorf("used %d messages and %d recipients, want 1 and 3", r[0].Used, r[1].Used)
	}
}

func testLongKeys(t *testing.T, bed Bed) {
	long := make([]byte, 1000)
	for i := range long {
		long[i] = 'a' + byte(i%26)
	}
	for i := range 40 {
		long[999] = byte('0' + i)
		b := BudgetOf("long keys", "sender="+string(long), Win(ratelimit.Messages, 3, time.Hour), Win(ratelimit.Recipients, 3, 24*time.Hour), Win(ratelimit.Bytes, 3, time.Minute))
		if n := bed.Fill(t, 10, b); n != 3 {
			t.Fatalf("key %d: %d passed, want 3", i, n)
		}
	}
}
