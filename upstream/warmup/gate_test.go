package warmup

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/ratelimit"
	"postern/ratelimit/embedded"
	"postern/ratelimit/storetest"
)

var (
	cold   = netip.MustParseAddr("192.0.2.25")
	google = Pair{cold, "google"}
)

// bench is some nodes that share a store.
type bench struct {
	t     *testing.T
	clock *storetest.Clock
	store ratelimit.Store
	nodes []*Gate
	sent  []time.Time // of what went out to google
}

func newBench(t *testing.T, nodes int, steps ...Step) *bench {
	t.Helper()
	b := &bench{t: t, clock: storetest.NewClock()}
	b.store = embedded.New(embedded.Config{Memory: 16 << 20}, b.clock.Now)
	for range nodes {
		b.nodes = append(b.nodes, b.gate(steps...))
	}
	return b
}

func (b *bench) gate(steps ...Step) *Gate {
	c := Config{}
	c.SetDefaults()
	if len(steps) > 0 {
		c.Schedule = steps
	}
	return New(Options{Upstream: "world", Config: c, Store: b.store, Now: b.clock.Now})
}

// round is what Run does in a minute.
func (b *bench) round() {
	b.t.Helper()
	for _, g := range b.nodes {
		if err := errors.Join(g.Refresh(b.t.Context()), g.grow(b.t.Context())); err != nil {
			b.t.Fatal(err)
		}
	}
}

// send asks for n places in turn at all nodes, and returns how many there were.
func (b *bench) send(n int, end End) (had int) {
	b.t.Helper()
	for i := range n {
		p, wait, err := b.nodes[i%len(b.nodes)].Take(b.t.Context(), cold, "google")
		if err != nil {
			b.t.Fatal(err)
		}
		if p == nil {
			if wait < time.Second || wait > day+day/60 {
				b.t.Fatalf("wait %v", wait)
			}
			continue
		}
		had++
		p.End(end, end == Taken || end == Refused)
		if end == Taken {
			b.sent = append(b.sent, b.clock.Now())
		}
	}
	return had
}

func (b *bench) row() Row {
	b.t.Helper()
	rows, err := b.nodes[0].List(b.t.Context())
	if err != nil || len(rows) != 1 {
		b.t.Fatalf("%+v, %v", rows, err)
	}
	return rows[0]
}

// most is the most that went out within any 24 hours.
func (b *bench) most() (most int) {
	lo := 0
	for hi, at := range b.sent {
		for at.Sub(b.sent[lo]) >= day {
			lo++
		}
		most = max(most, hi-lo+1)
	}
	return most
}

// TestBudgetGrowsAStepADay, on days on which mail goes out.
func TestBudgetGrowsAStepADay(t *testing.T) {
	b := newBench(t, 1, 10, 20, 40)
	if had := b.send(100, Taken); had != 10 {
		t.Fatalf("%d went out on the first day", had)
	}
	for i, next := range []int{20, 40, 140} {
		b.clock.Add(23 * time.Hour)
		b.round()
		if row := b.row(); row.Step != i+1 || row.Holds != "the step is not a day old" {
			t.Fatalf("%+v", row)
		}
		b.clock.Add(2 * time.Hour)
		had := b.send(100, Taken)
		b.round()
		if had += b.send(100, Taken); had != next {
			t.Errorf("day %d: %d went out, want %d", i+2, had, next)
		}
	}
	if row := b.row(); row.Budget != 0 || row.Step != 4 || row.Sent != 140 || row.Holds != "warm" {
		t.Errorf("%+v", row)
	}
}

// TestBudgetStays where little goes out, or much of it is not wanted.
func TestBudgetStays(t *testing.T) {
	for _, row := range []struct {
		name                     string
		taken, deferred, refused int
		holds                    string
	}{
		{"nothing goes out", 0, 0, 0, "less than half of the budget went out"},
		{"less than half", 49, 0, 0, "less than half of the budget went out"},
		{"half", 50, 0, 0, ""},
		{"deferred, 5 %", 95, 5, 0, ""},
		{"deferred, over 5 %", 94, 6, 0, "over 5 % of the messages were deferred"},
		{"refused, 2 %", 98, 0, 2, ""},
		{"refused, over 2 %", 97, 0, 3, "over 2 % of the messages were refused"},
	} {
		b := newBench(t, 1, 100, 200)
		b.send(1, NotSent)
		b.clock.Add(25 * time.Hour)
		b.send(row.taken, Taken)
		b.send(row.deferred, Deferred)
		b.send(row.refused, Refused)
		if got := b.row().Holds; got != row.holds {
			t.Errorf("%s: holds %q, want %q", row.name, got, row.holds)
		}
		b.round()
		if got := b.row().Step; (got == 2) != (row.holds == "") {
			t.Errorf("%s: step %d", row.name, got)
		}
	}
}

// TestPlacesComeBack: what was not taken and may come again spends nothing.
func TestPlacesComeBack(t *testing.T) {
	b := newBench(t, 1, 5)
	if had := b.send(20, NotSent) + b.send(20, Deferred); had != 40 {
		t.Errorf("%d", had)
	}
	if had := b.send(3, Refused) + b.send(20, Taken); had != 5 {
		t.Errorf("%d", had)
	}
	if row := b.row(); row.Sent != 5 || row.Tried != 25 || row.Deferred != 20 || row.Refused != 3 {
		t.Errorf("%+v", row)
	}
}

// TestBudgetIsNeverExceeded over any 24 hours, by two nodes that both take what they can
// at random times for two weeks; a restart and a step that only one of them has seen
// change nothing.
func TestBudgetIsNeverExceeded(t *testing.T) {
	steps := Schedule{10, 20, 40, 80, 160, 200}
	b := newBench(t, 2, steps...)
	rnd := rand.New(rand.NewPCG(1, 2))
	best := 0
	for range 14 * 24 * 4 {
		b.send(rnd.IntN(30), Taken)
		b.clock.Add(time.Duration(rnd.IntN(30)) * time.Minute)
		g := b.nodes[rnd.IntN(2)]
		if err := errors.Join(g.Refresh(t.Context()), g.grow(t.Context())); err != nil {
			t.Fatal(err)
		}
		if rnd.IntN(50) == 0 {
			b.nodes[0] = b.gate(steps...)
			if err := b.nodes[0].Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		step := 0
		for _, g := range b.nodes {
			g.mu.Lock()
			step = max(step, g.pairs[google].step)
			g.mu.Unlock()
		}
		if step >= len(steps) {
			break
		}
		best = max(best, step)
		if most := b.most(); most > int(steps[step]) {
			t.Fatalf("%d within 24 hours at step %d, which has %d", most, step, steps[step])
		}
	}
	if best < 4 {
		t.Errorf("step %d in two weeks", best)
	}
}

// TestListingTakesBack: what a host of the group says before a recipient is named, once a
// day; all else needs witnesses, and of domains in no group confirmation.
func TestListingTakesBack(t *testing.T) {
	at := func(h Listing, more func(i int, h *Listing)) func(g *Gate) bool {
		return func(g *Gate) (back bool) {
			for i := range 6 {
				one := h
				if one.Clients == 0 {
					one.Clients = 2
				}
				one.Client, one.Domain = []string{"shop", "corporate"}[i%2], fmt.Sprintf("d%d.example", i)
				if more != nil {
					more(i, &one)
				}
				back = g.Listed(&one) || back
			}
			return back
		}
	}
	one := func(_ int, h *Listing) { h.Domain = "evil.example" }
	tenant := func(_ int, h *Listing) { h.Client = "shop" }
	for _, row := range []struct {
		name string
		say  func(*Gate) bool
		back bool
	}{
		{"a host of the group, at once", at(Listing{Pair: google, OfGroup: true, Early: true}, one), true},
		{"one domain, to RCPT", at(Listing{Pair: google, OfGroup: true}, one), false},
		{"many domains, mail of one tenant", at(Listing{Pair: google, OfGroup: true}, tenant), false},
		{"many domains, a stream with one client", at(Listing{Pair: google, OfGroup: true, Clients: 1}, tenant), true},
		{"many domains, mail of two", at(Listing{Pair: google, OfGroup: true}, nil), true},
		{"hosts under other names", at(Listing{Pair: google, Early: true}, nil), false},
		{"hosts under other names, confirmed", at(Listing{Pair: google, Early: true, Confirmed: true}, nil), true},
		{"one host under another name, confirmed", at(Listing{Pair: google, Early: true, Confirmed: true}, one), false},
		{"another address", at(Listing{Pair: Pair{netip.MustParseAddr("192.0.2.26"), "google"}, OfGroup: true, Early: true}, nil), false},
		{"another group", at(Listing{Pair: Pair{cold, "yahoo"}, OfGroup: true, Early: true}, nil), false},
	} {
		b := newBench(t, 2, 10, 20, 40, 80, 160)
		if err := b.nodes[0].write(t.Context(), google, record{step: 4, since: b.clock.Now(), until: b.clock.Now().Add(coldAfter)}); err != nil {
			t.Fatal(err)
		}
		for _, g := range b.nodes {
			if err := g.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		got := row.say(b.nodes[0])
		if got != row.back {
			t.Errorf("%s: back %v", row.name, got)
		}
		b.round()
		want := int64(160)
		if row.back {
			want = 40
		}
		for i, g := range b.nodes {
			if n := g.budgetOf(google); n != want {
				t.Errorf("%s: node %d has a budget of %d, want %d", row.name, i, n, want)
			}
		}
	}
}

func TestColdAgain(t *testing.T) {
	b := newBench(t, 1, 10, 20)
	b.send(5, Taken)
	b.round()
	b.clock.Add(25 * time.Hour)
	b.send(10, Taken)
	b.round()
	if row := b.row(); row.Step != 2 {
		t.Fatalf("%+v", row)
	}
	b.clock.Add(31 * day)
	b.round()
	if had := b.send(100, Taken); had != 10 || b.row().Step != 1 {
		t.Errorf("%d went out after a month of silence, %+v", had, b.row())
	}
}

// away is a store that does not answer for a while.
type away struct {
	ratelimit.Store
	gone *bool
}

var errAway = errors.New("connection refused")

func (a away) Take(ctx context.Context, b *ratelimit.Batch) (ratelimit.Result, error) {
	if *a.gone {
		return ratelimit.Result{}, errAway
	}
	return a.Store.Take(ctx, b)
}

func (a away) Allowances(ctx context.Context) ([]ratelimit.Allowance, error) {
	if *a.gone {
		return nil, errAway
	}
	return a.Store.Allowances(ctx)
}

func (a away) SwapAllowance(ctx context.Context, r ratelimit.Allowance, old string) (bool, error) {
	if *a.gone {
		return false, errAway
	}
	return a.Store.SwapAllowance(ctx, r, old)
}

func (a away) Ping(ctx context.Context) error {
	if *a.gone {
		return errAway
	}
	return a.Store.Ping(ctx)
}

// TestStoreIsAway: nobody passes without a count, and no node grows by itself.
func TestStoreIsAway(t *testing.T) {
	b := newBench(t, 1, 10, 20)
	gone := false
	b.store = away{b.store, &gone}
	b.nodes[0] = b.gate(10, 20)
	b.send(10, Taken)
	b.round()
	b.clock.Add(25 * time.Hour)
	b.send(10, Taken)
	gone = true
	if p, _, err := b.nodes[0].Take(t.Context(), cold, "google"); p != nil || !errors.Is(err, errAway) {
		t.Errorf("%v, %v", p, err)
	}
	if err := b.nodes[0].grow(t.Context()); !errors.Is(err, errAway) {
		t.Errorf("%v", err)
	}
	if b.nodes[0].budgetOf(google) != 10 {
		t.Error("it has grown by itself")
	}
	b.nodes[0].Listed(&Listing{Pair: google, OfGroup: true, Early: true})
	gone = false
	b.round()
	if b.row().Step != 2 {
		t.Errorf("%+v", b.row())
	}
}

func TestSchedulesAreChecked(t *testing.T) {
	for name, s := range schedules {
		c := Config{Schedule: s, Overflow: Defer}
		c.Check(func(key, problem string) { t.Errorf("%s: %s: %s", name, key, problem) })
		for i := 1; i < len(s); i++ {
			if s[i] > 2*s[i-1] {
				t.Errorf("%s: %d follows %d", name, s[i], s[i-1])
			}
		}
		if s.String() != name {
			t.Errorf("%s is called %s", name, s)
		}
	}
	for _, row := range []struct {
		c    Config
		want string
	}{
		{Config{Overflow: Defer}, "has 0 steps"}, {Config{Schedule: Schedule{0}, Overflow: Defer}, "not a number of messages"},
		{Config{Schedule: Schedule{10, 5}, Overflow: Defer}, "less than the step before"}, {Config{Schedule: Schedule{10}}, "is blank"},
	} {
		var problems []string
		row.c.Check(func(_, problem string) { problems = append(problems, problem) })
		if !strings.Contains(strings.Join(problems, "\n"), row.want) {
			t.Errorf("%+v: %v", row.c, problems)
		}
	}
	var s Schedule
	if err := s.UnmarshalText([]byte("fast")); err == nil {
		t.Error("an unknown schedule passes")
	}
}

// TestPlacesAtOnce: two nodes and 400 messages at the same time.
func TestPlacesAtOnce(t *testing.T) {
	b := newBench(t, 2, 50)
	var wg sync.WaitGroup
	var mu sync.Mutex
	had := 0
	for i := range 400 {
		wg.Go(func() {
			if p, _, err := b.nodes[i%2].Take(t.Context(), cold, "google"); err == nil && p != nil {
				mu.Lock()
				had++
				mu.Unlock()
				p.End(Taken, true)
			}
		})
	}
	wg.Wait()
	if had != 50 {
		t.Errorf("%d", had)
	}
}

func FuzzParsePair(f *testing.F) {
	f.Add("source_ip=192.0.2.1 provider=google")
	f.Add("source_ip=any provider=other")
	f.Fuzz(func(t *testing.T, key string) {
		if p, ok := parsePair(key); ok {
			if again, ok := parsePair(p.key()); !ok || again != p {
				t.Fatalf("%q is %+v, and %+v again", key, p, again)
			}
		}
	})
}
