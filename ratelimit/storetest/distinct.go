package storetest

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"postern/mail"
	"postern/ratelimit"
)

// distinctOf asks for recipients under all hashes that they have.
func distinctOf(names []string, plain bool) []ratelimit.Request {
	qs := make([]ratelimit.Request, len(names))
	for i, name := range names {
		qs[i] = ratelimit.Request{Recipients: 1, Distinct: HashRecipient(mail.RecipientID(name))}
		if plain {
			qs[i].Plain = PlainHash(name)
		}
	}
	return qs
}

// SendDistinct asks for recipients, up to a hundred at a time, and returns those that
// passed.
func (bed Bed) SendDistinct(t *testing.T, g ratelimit.Budget, names []string, plain bool) (passed []string) {
	t.Helper()
	for len(names) > 0 {
		n := min(100, len(names))
		b := BatchOf(distinctOf(names[:n], plain), g)
		said := bed.Decide(t, b)
		for i := range b.Requests {
			if said.Requests[i].OK {
				passed = append(passed, names[i])
			}
		}
		names = names[n:]
	}
	return passed
}

func Numbered(from, to int) (names []string) {
	for i := from; i < to; i++ {
		names = append(names, fmt.Sprintf("u%d@dest.example", i))
	}
	return names
}

// chosen are recipients whose SHA-256 begins, as earlier releases counted it,
// with a one: those were not kept beyond the first 1,024, so that a window of an
// hour held nobody. Nor would the draws of the store keep them at this time, if
// they went by that hash.
func (bed Bed) chosen(n int) (names []string) {
	for i := 0; len(names) < n; i++ {
		name := fmt.Sprintf("victim%d@dest.example", i)
		sum := sha256.Sum256([]byte(name))
		hash := PlainHash(name)
		if sum[7] >= 0x80 && (bed.Drops == nil || bed.Drops(hash, bed.Clock.Now())) {
			names = append(names, name)
		}
	}
	return names
}

// About reports whether n is what an estimate of want may be: 13 % are three
// standard errors.
func About(n, want int) bool { return n*100 >= want*87 && n*100 <= want*113 }

// testChosenRecipients: who knows the source, but not the secret, is held.
func testChosenRecipients(t *testing.T, bed Bed) {
	rules := Compile(t, map[string]ratelimit.RuleConfig{"client": {Per: ratelimit.Per{ratelimit.PerClient}, DistinctRecipients: Numbers(t, "1500/1h")}})
	a := ratelimit.NewLimiter(bed.Store, rules, bed.Clock.Now).Begin(ratelimit.Facts{Client: "tenant", Sender: "news@tenant.example"})
	defer a.End()
	passed := 0
	names := bed.chosen(20_000)
	for len(names) > 0 {
		var rs []ratelimit.Recipient
		for _, name := range names[:100] {
			rs = append(rs, ratelimit.Recipient{Address: mail.RecipientID(name), Domain: "dest.example"})
		}
		for _, v := range a.Recipients(t.Context(), rs, nil) {
			if v.OK {
				passed++
			}
		}
		names = names[100:]
	}
	if !About(passed, 1500) {
		t.Errorf("%d of 20000 chosen recipients passed 1500/1h", passed)
	}
}

// testAdaptiveRecipients: an attacker who sees only what passes fills a window,
// finds out by sending again who was not kept, and saves these up over many
// windows. Whatever is known of past ones is worth nothing.
func testAdaptiveRecipients(t *testing.T, bed Bed) {
	w := Win(ratelimit.DistinctRecipients, 1500, time.Hour)
	g := func() ratelimit.Budget { return BudgetOf("adaptive", "client=tenant", w) }
	var unkept []string
	next := 0
	for range 6 {
		bed.Clock.Add(2 * time.Hour)
		passed := bed.SendDistinct(t, g(), Numbered(next, next+2500), false)
		next += 2500
		if !About(len(passed), 1500) {
			t.Fatalf("%d passed in a window of 1500", len(passed))
		}
		again := map[string]bool{}
		for _, name := range bed.SendDistinct(t, g(), passed, false) {
			again[name] = true
		}
		for _, name := range passed {
			if !again[name] {
				unkept = append(unkept, name)
			}
		}
	}
	if len(unkept) < 3000 {
		t.Fatalf("only %d recipients are known not to have been kept: the test is none", len(unkept))
	}
	bed.Clock.Add(2 * time.Hour)
	if n := len(bed.SendDistinct(t, g(), unkept, false)); !About(n, 1500) {
		t.Errorf("%d of %d recipients that were not kept in past windows passed 1500/1h", n, len(unkept))
	}
	testAdaptiveRolling(t, bed)
}

// testAdaptiveRolling is the same attacker, who never lets a window empty: no
// hour ever has more than twice the number, no period more than the number.
func testAdaptiveRolling(t *testing.T, bed Bed) {
	w := Win(ratelimit.DistinctRecipients, 1500, time.Hour)
	g := func() ratelimit.Budget { return BudgetOf("rolling", "client=tenant", w) }
	const steps = 12 // in an hour
	last := map[string]int{}
	var unkept []string
	next := 0
	for step := range 4 * steps {
		bed.Clock.Add(time.Hour / steps)
		try := append(append([]string(nil), unkept[:min(len(unkept), 2000)]...), Numbered(next, next+300)...)
		next += 300
		rand.Shuffle(len(unkept), func(i, j int) { unkept[i], unkept[j] = unkept[j], unkept[i] })
		passed := bed.SendDistinct(t, g(), try, false)
		again := map[string]bool{}
		for _, name := range bed.SendDistinct(t, g(), passed, false) {
			again[name] = true
		}
		unkept = unkept[:0]
		for _, name := range passed {
			last[name] = step
			if !again[name] {
				unkept = append(unkept, name)
			}
		}
		live := 0
		for _, at := range last {
			if step-at < steps {
				live++
			}
		}
		if live > 2*1500*113/100 {
			t.Fatalf("step %d: %d recipients in an hour of 1500", step, live)
		}
	}
}

func recordDistinct(t *testing.T, bed Bed, limit string, records ...ratelimit.Record) {
	t.Helper()
	for i := range records {
		records[i].Limit, records[i].Key, records[i].N = limit, "all", 1
		records[i].Unit, records[i].Length = ratelimit.DistinctRecipients, time.Hour
	}
	for len(records) > 0 {
		n := min(100, len(records))
		if err := bed.Record(t.Context(), NextAttempt(), records[:n]); err != nil {
			t.Fatal(err)
		}
		records = records[n:]
	}
}

func plainRecords(names []string, age time.Duration, level uint8) (records []ratelimit.Record) {
	for _, name := range names {
		records = append(records, ratelimit.Record{Age: age, Distinct: PlainHash(name), Plain: true, Level: level})
	}
	return records
}

// testPlainRecipients: what a release without a secret has counted stays in
// force until its window has passed, and nobody is counted twice.
func testPlainRecipients(t *testing.T, bed Bed) {
	w := Win(ratelimit.DistinctRecipients, 800, time.Hour)
	g := func() ratelimit.Budget { return BudgetOf("plain", "all", w) }
	used := func() int64 { return bed.Peek(t, g())[0].Used }
	names := Numbered(0, 1000)
	recordDistinct(t, bed, "plain", plainRecords(names[:700], 30*time.Minute, 0)...)
	if n := used(); n != 700 {
		t.Fatalf("%d used, want the 700 of before", n)
	}
	if n := len(bed.SendDistinct(t, g(), names, true)); n != 800 || used() != 800 {
		t.Errorf("%d passed, %d used of 800", n, used())
	}
	if n := len(bed.SendDistinct(t, g(), names[:700], true)); n != 700 || used() != 800 {
		t.Errorf("of the 700 of before %d passed, %d used of 800", n, used())
	}
	bed.Clock.Add(31 * time.Minute)
	if n := used(); n != 800 {
		t.Errorf("%d used, want 800: they were charged again", n)
	}
	bed.Clock.Add(30 * time.Minute)
	if n := used(); n != 0 {
		t.Errorf("%d used an hour after the last charge", n)
	}
	// What its sender gave back is not forgotten: it was charged before.
	recordDistinct(t, bed, "plain", plainRecords(names[:1], time.Minute, 0)...)
	b := BatchOf(distinctOf(names[:1], true), g())
	said := bed.Decide(t, b)
	back := ratelimit.Return{Budget: b.Budgets[0], At: said.Requests[0].Charges[0].At, Recipients: 1, Distinct: b.Requests[0].Distinct}
	if err := bed.Refund(t.Context(), NextAttempt(), []ratelimit.Return{back}); err != nil {
		t.Fatal(err)
	}
	if n := used(); n != 1 {
		t.Errorf("%d used, want 1", n)
	}
	testPlainSample(t, bed)
}

// testPlainSample: of a sample nothing is let go, for its sender may have chosen
// who is in it.
func testPlainSample(t *testing.T, bed Bed) {
	w := Win(ratelimit.DistinctRecipients, 2000, time.Hour)
	g := func() ratelimit.Budget { return BudgetOf("sample", "all", w) }
	recordDistinct(t, bed, "sample", plainRecords(Numbered(0, 900), 30*time.Minute, 1)...)
	if n := bed.Peek(t, g())[0].Used; n != 1800 {
		t.Fatalf("%d used, want 1800", n)
	}
	if n := len(bed.SendDistinct(t, g(), Numbered(0, 900), true)); n != 900 {
		t.Errorf("%d of 900 that are live passed", n)
	}
	if n := len(bed.SendDistinct(t, g(), Numbered(5000, 7000), true)); n > 200 {
		t.Errorf("%d new recipients passed beside 1800 of 2000", n)
	}
	bed.Clock.Add(30 * time.Minute)
	if n := int(bed.Peek(t, g())[0].Used); n < 900 || n > 1200 {
		t.Errorf("%d used once the sample has passed, want the 900 and what came since", n)
	}
}

// testFormerRecipients: a node takes the secret of the others; whom it counted
// under its own is not counted again.
func testFormerRecipients(t *testing.T, bed Bed) {
	w := Win(ratelimit.DistinctRecipients, 500, time.Hour)
	g := func() ratelimit.Budget { return BudgetOf("former", "all", w) }
	other := byte(2)
	names := Numbered(0, 600)
	bed.SendDistinct(t, g(), names[:400], false)
	bed.Clock.Add(time.Minute)
	ask := func(names []string) (passed int) {
		b := BatchOf(make([]ratelimit.Request, len(names)), g())
		for i, name := range names {
			b.Requests[i].Recipients = 1
			b.Requests[i].Distinct, b.Requests[i].Former = keyedHash(other, name), HashRecipient(mail.RecipientID(name))
		}
		said := bed.Decide(t, b)
		for i := range b.Requests {
			if said.Requests[i].OK {
				passed++
			}
		}
		return passed
	}
	if n := ask(names); n != 500 {
		t.Errorf("%d passed, want 500", n)
	}
	if n := ask(names); n != 500 || bed.Peek(t, g())[0].Used != 500 {
		t.Errorf("%d passed again, %d used, want 500", n, bed.Peek(t, g())[0].Used)
	}
}

// testSampledRecords: what another store kept of many counts for all of them.
func testSampledRecords(t *testing.T, bed Bed) {
	g := func() ratelimit.Budget {
		return BudgetOf("sampled", "all", Win(ratelimit.DistinctRecipients, 100_000, time.Hour))
	}
	var records []ratelimit.Record
	for _, name := range Numbered(0, 700) {
		records = append(records, ratelimit.Record{Age: time.Minute, Distinct: HashRecipient(mail.RecipientID(name)), Level: 3})
	}
	recordDistinct(t, bed, "sampled", records...)
	if n := bed.Peek(t, g())[0].Used; n != 8*700 {
		t.Errorf("%d used, want %d", n, 8*700)
	}
	bed.SendDistinct(t, g(), Numbered(10_000, 14_000), false)
	if n := int(bed.Peek(t, g())[0].Used); !About(n, 9600) {
		t.Errorf("%d used, want about 9600", n)
	}
	var more []ratelimit.Record // fewer of each, so they are thinned
	for _, name := range Numbered(20_000, 20_800) {
		more = append(more, ratelimit.Record{Age: time.Minute, Distinct: HashRecipient(mail.RecipientID(name))})
	}
	recordDistinct(t, bed, "sampled", more...)
	if n := int(bed.Peek(t, g())[0].Used); !About(n, 10_400) {
		t.Errorf("%d used, want about 10400", n)
	}
}
