package redisstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/internal/redistest"
	"postern/ratelimit"
	"postern/ratelimit/storetest"
)

// slowly is the scripts without quick.lua.
func slowly(t *testing.T, text string) string {
	t.Helper()
	before, after, ok := strings.Cut(text, "if ARGV[4] ~= '' then")
	if !ok {
		return text
	}
	return before + "if false then" + after
}

// quickBeds are two stores on one server and with one clock, of which the second
// decides nothing quickly.
func quickBeds(t *testing.T) (beds [2]storetest.Bed, c *redis.Client) {
	server := redistest.Start(t)
	for i := range beds {
		cfg := redisSettings(server.Addr)
		cfg.Prefix = []string{"quick", "slow"}[i]
		beds[i] = simulated(t, cfg)
	}
	slow := newScripts(func(text string) string {
		return slowly(t, simulatedTime(text))
	})
	beds[1].Store.(*Store).scripts = slow
	beds[1].Store.(*Store).clock, beds[1].Clock = beds[0].Store.(*Store).clock, beds[0].Clock
	return beds, server.Client()
}

// TestRedisQuickDecidesAlike: on random traffic a quick decision answers what
// the whole script would have answered, and leaves the same counts.
func TestRedisQuickDecidesAlike(t *testing.T) {
	beds, c := quickBeds(t)
	const rounds = 3000
	for seed := range uint64(3) {
		d := quickDrive{beds: beds, rnd: rand.New(rand.NewPCG(seed, 7)), prefix: fmt.Sprint("s", seed)}
		for round := range rounds {
			if round%300 == 0 {
				d.pace = []time.Duration{time.Second, 20 * time.Millisecond, 200 * time.Millisecond}[round/300%3]
			}
			d.step(t)
			if t.Failed() {
				t.Fatalf("seed %d, round %d", seed, round)
			}
		}
	}
	info := c.Info(t.Context(), "commandstats").Val()
	_, info, _ = strings.Cut(info, "cmdstat_hsetnx:calls=")
	var quick int
	fmt.Sscanf(info, "%d", &quick)
	t.Logf("%d of %d decisions were quick", quick, 3*rounds)
	if quick < rounds {
		t.Error("too few to show anything")
	}
}

// quickDrive drives two stores alike.
type quickDrive struct {
	beds   [2]storetest.Bed
	rnd    *rand.Rand
	prefix string
	pace   time.Duration
	last   [2]*ratelimit.Batch
	owed   [2][]ratelimit.Return
}

func (d *quickDrive) step(t *testing.T) {
	switch n := d.rnd.IntN(20); {
	case n == 0 && len(d.owed[0]) > 0:
		d.refund(t)
	case n == 1 && d.last[0] != nil:
		d.both(t, func(ctx context.Context, i int) error { return d.beds[i].Undo(ctx, d.last[i]) })
	case n == 2 && d.rnd.IntN(10) == 0:
		until := d.beds[0].Clock.Now().Add(time.Minute)
		allowance := ratelimit.Allowance{Limit: d.prefix + "a", Key: "sender=1", Add: d.rnd.Int64N(20), Until: until}
		d.both(t, func(ctx context.Context, i int) error { return d.beds[i].SetAllowance(ctx, allowance) })
	default:
		d.take(t)
	}
	d.compare(t)
	by := time.Duration(d.rnd.Int64N(int64(d.pace))) * time.Duration(d.rnd.IntN(2))
	switch d.rnd.IntN(400) {
	case 0:
		by = -10 * time.Millisecond
	case 1:
		by = time.Duration(d.rnd.Int64N(int64(2 * time.Minute)))
	}
	d.beds[0].Clock.Add(by)
}

func (d *quickDrive) both(t *testing.T, f func(ctx context.Context, i int) error) {
	t.Helper()
	for i := range d.beds {
		if err := f(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
}

// windows are those of a limit, for which there is another configuration now
// and then.
func (d *quickDrive) windows(limit int) []ratelimit.Window {
	all := [][]ratelimit.Window{
		{storetest.Win(ratelimit.Messages, 200, 10*time.Second), storetest.Win(ratelimit.Messages, 100_000, time.Minute)},
		{storetest.Win(ratelimit.Recipients, 1000, 15*time.Second), storetest.Win(ratelimit.Bytes, 1<<44, time.Minute), storetest.Win(ratelimit.Messages, 300, 20*time.Second)},
		{storetest.Win(ratelimit.Recipients, 30, time.Second)},
		{storetest.Win(ratelimit.Recipients, 150, 15*time.Second), storetest.Win(ratelimit.Messages, 700, time.Minute)},
		{storetest.Win(ratelimit.DistinctRecipients, 60, 5*time.Second), storetest.Win(ratelimit.DistinctRecipients, 1300, time.Minute), storetest.Win(ratelimit.Messages, 100_000, time.Minute)},
	}[limit]
	if limit == 3 {
		for i := range all {
			all[i].Reserve = []ratelimit.Reserve{{Share: "x", Min: all[i].Max / 4}, {Share: "y", Min: all[i].Max / 3}}
		}
	}
	switch d.rnd.IntN(200) {
	case 0:
		slices.Reverse(all)
	case 1:
		all = append(all, storetest.Win(ratelimit.Bytes, 1<<44, time.Hour))
	case 2:
		all[0].Reserve = []ratelimit.Reserve{{Share: "x", Min: 10}}
	}
	return all
}

func (d *quickDrive) take(t *testing.T) {
	t.Helper()
	var budgets []ratelimit.Budget
	first := d.rnd.IntN(5)
	for i := first; i < min(5, first+1+d.rnd.IntN(3)); i++ {
		g := storetest.BudgetOf(d.prefix+string(rune('a'+i)), fmt.Sprint("sender=", d.rnd.IntN(2)), d.windows(i)...)
		g.Share = []string{"", "x", "y"}[d.rnd.IntN(3)]
		g.Paid, g.Shadow = d.rnd.IntN(4) == 0, d.rnd.IntN(10) == 0
		budgets = append(budgets, g)
	}
	requests := make([]ratelimit.Request, 1+d.rnd.IntN(3)*d.rnd.IntN(2))
	for i := range requests {
		requests[i].Recipients, requests[i].Distinct = 1+d.rnd.Int64N(2), 2+d.rnd.Uint64N(1<<(4+d.rnd.Uint64N(9)))
		if d.rnd.IntN(3) == 0 {
			requests[i] = ratelimit.Request{Bytes: d.rnd.Int64N(1 << (10 + 25*(d.rnd.IntN(100)/99)))}
		}
	}
	peek := d.rnd.IntN(30) == 0
	for i := range d.beds {
		d.last[i] = storetest.BatchOf(slices.Clone(requests), budgets...)
		d.last[i].Peek = peek
	}
	d.ask(t)
	if d.rnd.IntN(20) == 0 { // the reply was lost
		d.ask(t)
	}
}

// ask has both stores decide the same, and holds their answers together.
func (d *quickDrive) ask(t *testing.T) {
	t.Helper()
	var said [2]string
	d.both(t, func(ctx context.Context, i int) error {
		r, err := d.beds[i].Take(ctx, d.last[i])
		if err == nil {
			d.note(i, &r)
		}
		said[i] = fmt.Sprintf("%+v", r)
		return err
	})
	if said[0] != said[1] {
		t.Errorf("quickly:\n%s\nslowly:\n%s", said[0], said[1])
	}
}

// dump is a script that lists all that counts in a state; the order of sections
// means nothing.
var dump = sync.OnceValue(func() script {
	text, _ := luaFiles.ReadFile("lua/time.lua")
	state, _ := luaFiles.ReadFile("lua/state.lua")
	return newScript(simulatedTime(string(text)) + string(state) + `
local st, out = load(KEYS[1]), {}
for _, s in ipairs(st.sections) do
  if s[LOG] ~= '' or s[NEAR] ~= 0 then
    out[#out + 1] = table.concat({ s[ID], s[SHARE], s[NEAR], s[KIND], s[BASE], s[SUM], s[LOG] }, ' ')
  end
end
table.sort(out)
return { st.raises, st.ends, table.concat(out, '|') }`)
})

// compare holds the states of one budget together.
func (d *quickDrive) compare(t *testing.T) {
	t.Helper()
	var said [2]string
	limit, key := d.prefix+string(rune('a'+d.rnd.IntN(3))), fmt.Sprint("sender=", d.rnd.IntN(2))
	d.both(t, func(ctx context.Context, i int) error {
		r := d.beds[i].Store.(*Store)
		s := dump()
		v, err := r.run(ctx, &s, []string{r.budgetKey(limit, []byte(key))})
		said[i] = fmt.Sprintf("%q", v)
		return err
	})
	if said[0] != said[1] {
		t.Errorf("%s of %s, quickly:\n%s\nslowly:\n%s", limit, key, said[0], said[1])
	}
}

// note keeps what may be given back.
func (d *quickDrive) note(i int, said *ratelimit.Result) {
	b := d.last[i]
	for j, q := range b.Requests {
		for k, c := range said.Requests[j].Charges {
			if c.Made && !b.Peek {
				r := ratelimit.Return{Budget: b.Budgets[q.Refs[k]], At: c.At, Recipients: q.Recipients, Bytes: q.Bytes}
				if c.Message {
					r.Messages = 1
				}
				d.owed[i] = append(d.owed[i], r)
			}
		}
	}
}

func (d *quickDrive) refund(t *testing.T) {
	t.Helper()
	at := d.rnd.IntN(len(d.owed[0]))
	d.both(t, func(ctx context.Context, i int) error {
		r := d.owed[i][at]
		d.owed[i] = slices.Delete(d.owed[i], at, at+1)
		return d.beds[i].Refund(ctx, storetest.NextAttempt(), []ratelimit.Return{r})
	})
}

// TestRedisFirstVersion: states that the first version of the scripts wrote
// count on, and that version does not take a state of this one for its own.
func TestRedisFirstVersion(t *testing.T) {
	bed, c := simulatedServer(t)
	const key = "postern:b:first:{all}"
	windows := []ratelimit.Window{storetest.Win(ratelimit.Messages, 10, time.Minute), storetest.Win(ratelimit.DistinctRecipients, 10, time.Hour)}
	now := bed.Clock.Now().UnixMilli()
	base := now - 90_000
	old := append48(append48([]byte{1}, now), now+int64(time.Hour/time.Millisecond))
	old = append(appendCount(old, 19), 0)                                                  // an allowance of messages
	old = append48(be.AppendUint64(be.AppendUint32(old, 60), 5), now+30_000)               // by 5 in 1m
	old = append(be.AppendUint32(old, wireID(ratelimit.Messages, time.Minute)), 0)         // 2 of them count
	old = appendCount(be.AppendUint64(append48(append48(old, base), 0), 4), 0)             // near, sum, share
	old = appendCount(old, 18)                                                             // the log
	old = be.AppendUint32(append(old, 0, 0, 0, 0, 0), 2)                                   // 2, passed
	old = be.AppendUint32(append(old, 0, 0, 0, 0xea, 0x60), 2)                             // 2 after 60 s
	old = append(be.AppendUint32(old, wireID(ratelimit.DistinctRecipients, time.Hour)), 0) // one recipient
	old = appendCount(be.AppendUint64(append48(append48(old, base), 0), 0), 0)
	old = append(appendCount(old, 14), 0, 0, 0, 0, 0, 1)
	old = be.AppendUint64(old, 77)
	if err := c.Set(t.Context(), key, old, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	check := func(want string) {
		t.Helper()
		r := bed.Peek(t, storetest.BudgetOf("first", "all", windows...))
		if got := fmt.Sprintf("%d of %d, %d of %d", r[0].Used, r[0].Max, r[1].Used, r[1].Max); got != want {
			t.Errorf("used %s, want %s", got, want)
		}
	}
	check("2 of 15, 1 of 10")
	bed.Ask(t, ratelimit.Request{Recipients: 1, Distinct: 78, Plain: 77}, storetest.BudgetOf("first", "all", windows...))
	check("3 of 15, 1 of 10")
	bed.Clock.Add(31 * time.Second) // the second of the old charges has passed, and the allowance
	check("1 of 10, 1 of 10")
	if v := c.Get(t.Context(), key).Val(); v == "" || v[0] != 2 {
		t.Errorf("the state is %q", v)
	}
	const first = "return #{struct.unpack('>I6I6I2c0', redis.call('GET', KEYS[1]), 2)}"
	if err := c.Eval(t.Context(), first, []string{key}).Err(); err == nil {
		t.Error("the first version would read it")
	}
}

// TestRedisDecidesQuickly: reserved room and distinct recipients are decided
// without the whole script, once their state is there.
func TestRedisDecidesQuickly(t *testing.T) {
	beds, c := quickBeds(t)
	divided := storetest.Reserved(1000, time.Hour, ratelimit.Reserve{Share: "x", Min: 200})
	plain := storetest.Win(ratelimit.Messages, 1000, time.Hour)
	for name, test := range map[string]struct {
		budgets []ratelimit.Budget
		share   string
	}{
		"reserved room":                 {[]ratelimit.Budget{storetest.BudgetOf("a", "all", divided, plain)}, "x"},
		"what is left beside a reserve": {[]ratelimit.Budget{storetest.BudgetOf("a", "all", divided, plain)}, ""},
		"distinct recipients":           {[]ratelimit.Budget{storetest.BudgetOf("b", "all", plain, storetest.Win(ratelimit.DistinctRecipients, 1000, time.Hour))}, ""},
		"all together": {[]ratelimit.Budget{
			storetest.BudgetOf("c", "all", divided, plain), storetest.BudgetOf("d", "all", plain, storetest.Win(ratelimit.DistinctRecipients, 1000, time.Hour)),
		}, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range test.budgets {
				test.budgets[i].Share = test.share
			}
			quick := func() (n int) {
				_, info, _ := strings.Cut(c.Info(t.Context(), "commandstats").Val(), "cmdstat_hsetnx:calls=")
				fmt.Sscanf(info, "%d", &n)
				return n
			}
			before := quick()
			for i := range 100 {
				q := ratelimit.Request{Recipients: 1, Distinct: uint64(2 + i%50)}
				if !beds[0].Ask(t, q, test.budgets...).OK {
					t.Fatal("refused with room")
				}
				beds[0].Clock.Add(time.Second)
			}
			if n := quick() - before; n < 80 {
				t.Errorf("%d of 100 decisions were quick", n)
			}
		})
	}
}
