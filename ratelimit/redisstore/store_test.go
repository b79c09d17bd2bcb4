package redisstore

import (
	"context"
	"crypto/sha1"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"postern/internal/redistest"
	"postern/mail"
	"postern/ratelimit"
	"postern/ratelimit/storetest"
)

// redisSettings are those of a file that names only addresses, but with a long
// time: a machine that runs tests may be slow.
func redisSettings(addrs ...string) Config {
	var cfg Config
	cfg.SetDefaults()
	cfg.Addresses = addrs
	cfg.Timeout = 20 * time.Second
	return cfg
}

// openRedis makes a store as cmd/relay does.
func openRedis(t testing.TB, cfg Config) *Store {
	t.Helper()
	return openScripts(t, cfg, plainScripts())
}

var plainScripts = sync.OnceValue(func() scripts {
	return newScripts(func(text string) string { return text })
})

func openScripts(t testing.TB, cfg Config, s scripts) *Store {
	t.Helper()
	client, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := newStore(client, cfg, s)
	t.Cleanup(func() {
		r.Close()
		client.Close()
	})
	return r
}

// simulated is a store whose scripts go by a clock of the test.
func simulated(t *testing.T, cfg Config) storetest.Bed {
	t.Helper()
	r := openScripts(t, cfg, simulatedScripts())
	clock := storetest.NewClock()
	r.clock = func() any {
		us := clock.Now().UnixMicro()
		return fmt.Sprintf("[%d,%d]", us/1e6, us%1e6)
	}
	return storetest.Bed{Store: r, Clock: clock, Once: true, Drops: drops}
}

// drops reports whether state.lua would leave a hash out of a sample of an hour.
func drops(hash uint64, at time.Time) bool {
	sum := sha1.Sum(fmt.Append(be.AppendUint64(nil, hash), at.UnixMilli()/3_600_000))
	return sum[0] >= 0x80
}

var simulatedScripts = sync.OnceValue(func() scripts {
	return newScripts(simulatedTime)
})

// simulatedTime makes a script go by its last argument. Redis lets keys go by its own
// clock, which on a slow machine runs ahead of the test's: those of short windows stay for
// a minute.
func simulatedTime(text string) string {
	edited := strings.Replace(text, "call('TIME')", "cjson.decode(table.remove(ARGV))", 1)
	if edited == text {
		panic("the script reads no clock")
	}
	return strings.NewReplacer("expiries[k][2])", "max(expiries[k][2], 60000))", "'PX', kept - now)", "'PX', max(kept - now, 60000))").Replace(edited)
}

// simulatedServer is that on a server of its own.
func simulatedServer(t *testing.T) (storetest.Bed, *redis.Client) {
	t.Helper()
	server := redistest.Start(t)
	return simulated(t, redisSettings(server.Addr)), server.Client()
}

func TestRedisStore(t *testing.T) {
	server := redistest.Start(t)
	storetest.Run(t, func(t *testing.T) storetest.Bed {
		if err := server.Client().FlushDB(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		return simulated(t, redisSettings(server.Addr))
	})
}

// TestRedisKeepsClaims: automatic replies, reports, retries and new rules are
// counted in Redis as they are in process.
func TestRedisKeepsClaims(t *testing.T) {
	storetest.RunClaims(t, func(t *testing.T) storetest.Bed {
		bed, _ := simulatedServer(t)
		return bed
	})
}

// TestRedisKeysExpire: no key may stay for ever, whatever made it.
func TestRedisKeysExpire(t *testing.T) {
	bed, c := simulatedServer(t)
	b := func() ratelimit.Budget {
		w := []ratelimit.Window{storetest.Win(ratelimit.Messages, 5, time.Minute), storetest.Win(ratelimit.Recipients, 5, time.Hour), storetest.Win(ratelimit.DistinctRecipients, 5, time.Hour)}
		return storetest.BudgetOf("expiry", "sender=a", w...)
	}
	q := bed.Ask(t, ratelimit.Request{Recipients: 1, Distinct: 77}, b())
	bed.Ask(t, ratelimit.Request{Recipients: 9}, b()) // refused
	bed.Peek(t, b())
	undone := storetest.BatchOf([]ratelimit.Request{{Recipients: 1}}, b())
	bed.Decide(t, undone)
	for _, err := range []error{
		bed.Undo(t.Context(), undone),
		bed.Undo(t.Context(), storetest.BatchOf([]ratelimit.Request{{Recipients: 1}}, b())), // never arrived
		bed.Refund(t.Context(), storetest.NextAttempt(), []ratelimit.Return{{Budget: b(), At: q.Charges[0].At, Messages: 1}}),
		bed.Record(t.Context(), storetest.NextAttempt(), []ratelimit.Record{{Limit: "expiry", Key: "all", Length: time.Hour, N: 1}}),
		bed.SetAllowance(t.Context(), ratelimit.Allowance{Limit: "expiry", Key: "sender=b", Add: 1, Until: bed.Clock.Now().Add(time.Hour)}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := bed.Nodes(t.Context()); err != nil {
		t.Fatal(err)
	}
	names := c.Keys(t.Context(), "*").Val()
	if len(names) < 6 {
		t.Fatalf("only these keys: %q", names)
	}
	for _, name := range names {
		ttl := c.PTTL(t.Context(), name).Val()
		if ttl <= 0 || ttl > time.Hour+time.Hour/80+5*time.Second {
			t.Errorf("%q lives for %s", name, ttl)
		}
	}
}

// TestRedisForgetsWhatIsOver: what has passed takes no memory, even in a budget
// that is in use.
func TestRedisForgetsWhatIsOver(t *testing.T) {
	bed, c := simulatedServer(t)
	long := storetest.BudgetOf("over", "all", storetest.Win(ratelimit.Recipients, 1000, 24*time.Hour))
	short := storetest.BudgetOf("over", "all", storetest.Win(ratelimit.Recipients, 1000, time.Minute))
	for range 50 {
		bed.One(t, long)
		bed.Clock.Add(time.Second)
	}
	size := func() int64 { return c.StrLen(t.Context(), "postern:b:over:{all}").Val() }
	full := size()
	bed.Clock.Add(25 * time.Hour)
	bed.One(t, short)
	if now := size(); now > full/3 {
		t.Errorf("%d octets of %d are left of a window that is over", now, full)
	}
	if ttl := c.PTTL(t.Context(), "postern:b:over:{all}").Val(); ttl > 2*time.Minute {
		t.Errorf("it lives for %s", ttl)
	}
	q := bed.One(t, short)
	for range 2 {
		r := ratelimit.Return{Budget: short, At: q.Charges[0].At, Recipients: 2}
		if err := bed.Refund(t.Context(), storetest.NextAttempt(), []ratelimit.Return{r}); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.Exists(t.Context(), "postern:b:over:{all}").Val(); n != 0 {
		t.Error("a budget without charges is kept")
	}
}

// TestRedisMemory holds the promises about memory: 1 KiB for a sender with ten
// messages a day and three windows, 4 KiB for the busiest.
func TestRedisMemory(t *testing.T) {
	bed, c := simulatedServer(t)
	windows := []ratelimit.Window{storetest.Win(ratelimit.Messages, 1e9, time.Minute), storetest.Win(ratelimit.Messages, 1e9, time.Hour), storetest.Win(ratelimit.Recipients, 1e9, 24*time.Hour)}
	const name = "sender=a.rather.long.local.part@department.example.org"
	usage := func(limit string) int64 {
		n, err := c.MemoryUsage(t.Context(), "postern:b:"+limit+":{"+name+"}").Result()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range 30 { // three days
		bed.One(t, storetest.BudgetOf("calm", name, windows...))
		bed.Clock.Add(144 * time.Minute)
	}
	calm := usage("calm")
	busyWindows := append(windows, storetest.Win(ratelimit.Bytes, ratelimit.MaxNumber, 7*24*time.Hour))
	most := map[string]int64{}
	for i := range 3000 {
		// Bursts and long runs: every window gets a charge in each of its parts.
		bed.Ask(t, ratelimit.Request{Recipients: 7, Bytes: 20_000_000}, storetest.BudgetOf("busy 3", name, windows...), storetest.BudgetOf("busy 4", name, busyWindows...))
		bed.Clock.Add([]time.Duration{100 * time.Millisecond, 5 * time.Second, 5 * time.Minute}[i/1000])
		if i%50 == 0 {
			for _, limit := range []string{"busy%203", "busy%204"} {
				most[limit] = max(most[limit], usage(limit))
			}
		}
	}
	t.Logf("MEMORY USAGE: calm %d, busy with three windows %d, with four %d", calm, most["busy%203"], most["busy%204"])
	if calm > 1<<10 {
		t.Errorf("a sender with ten messages a day takes %d octets, want 1 KiB at most", calm)
	}
	for limit, n := range most {
		if n > 4<<10 {
			t.Errorf("%s takes %d octets, want 4 KiB at most", limit, n)
		}
	}
}

// TestRedisDistinctMemory: however many recipients, no more than 1024 are kept.
func TestRedisDistinctMemory(t *testing.T) {
	bed, c := simulatedServer(t)
	b := storetest.BudgetOf("distinct", "all", storetest.Win(ratelimit.DistinctRecipients, 1e6, 24*time.Hour))
	batch := storetest.BatchOf(make([]ratelimit.Request, 500), b)
	for round := range 12 {
		for i := range batch.Requests {
			batch.Requests[i].Recipients = 1
			batch.Requests[i].Distinct = storetest.HashRecipient(mail.RecipientID(fmt.Sprint(round*500 + i)))
		}
		batch.ID = storetest.NextAttempt()
		bed.Decide(t, batch)
		if round == 1 && bed.Peek(t, b)[0].Used != 1000 {
			t.Errorf("1000 recipients count as %d", bed.Peek(t, b)[0].Used)
		}
	}
	if n := c.MemoryUsage(t.Context(), "postern:b:distinct:{all}").Val(); n > 18<<10 {
		t.Errorf("6000 recipients take %d octets", n)
	}
	if used := bed.Peek(t, b)[0].Used; used < 5000 || used > 7000 {
		t.Errorf("6000 recipients count as %d", used)
	}
}

// TestRedisSettings: every way to log in, and that a prefix and a database keep
// relays apart.
func TestRedisSettings(t *testing.T) {
	charge := func(t *testing.T, cfg Config) error {
		t.Helper()
		b := storetest.BatchOf([]ratelimit.Request{{Recipients: 1}}, storetest.BudgetOf("l", "all", storetest.Win(ratelimit.Messages, 1, time.Hour)))
		said, err := openRedis(t, cfg).Take(t.Context(), b)
		if err == nil && !said.Requests[0].OK {
			t.Error("refused: it shares counts with another")
		}
		return err
	}
	server := redistest.Start(t, "requirepass secret", "user relay on >relaypass "+redisACL("postern"))
	for _, test := range []struct {
		name string
		edit func(*Config)
		ok   bool
	}{
		{"the password of the default user", func(c *Config) { c.Password = "secret" }, true},
		{"no password", func(*Config) {}, false},
		{"a wrong password", func(c *Config) { c.Password = "guess" }, false},
		{"another prefix", func(c *Config) { c.Password, c.Prefix = "secret", "other" }, true},
		{"another database", func(c *Config) { c.Password, c.Database = "secret", 3 }, true},
		{"an ACL user, another database", func(c *Config) { c.Username, c.Password, c.Database = "relay", "relaypass", 4 }, true},
		{"an ACL user outside of its prefix", func(c *Config) { c.Username, c.Password, c.Prefix = "relay", "relaypass", "secret" }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := redisSettings(server.Addr)
			test.edit(&cfg)
			if err := charge(t, cfg); (err == nil) != test.ok {
				t.Errorf("got %v", err)
			} else if err != nil && strings.Contains(err.Error(), cfg.Password) && cfg.Password != "" {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

// redisACL is the rule that docs/redis.md gives for an ACL user.
func redisACL(prefix string) string {
	return "~" + prefix + ":* -@all " + strings.Join(redisCommands, " ")
}

// redisCommands are all that the store and its client send, and those inside
// scripts. docs/redis.md lists the same.
var redisCommands = []string{
	"+evalsha", "+eval", "+time", "+get", "+set", "+del", "+hget", "+hset", "+hdel", "+hgetall",
	"+getrange", "+setrange", "+hsetnx", "+pexpire", "+pttl", "+zadd", "+zcard", "+zremrangebyscore", "+scan", "+ping", "+hello", "+select",
}

// TestRedisACL does all that the store can do as a user who may do nothing else.
func TestRedisACL(t *testing.T) {
	server := redistest.Start(t, "user relay on >relaypass "+redisACL("postern"))
	cfg := redisSettings(server.Addr)
	cfg.Username, cfg.Password = "relay", "relaypass"
	useEverything(t, openRedis(t, cfg))
	log, err := server.Client().Do(t.Context(), "ACL", "LOG").Slice()
	if err != nil || len(log) > 0 {
		t.Errorf("refused by the ACL: %v, %v", log, err)
	}
}

func useEverything(t *testing.T, r *Store) {
	t.Helper()
	b := storetest.BatchOf([]ratelimit.Request{{Recipients: 1, Bytes: 5, Distinct: 9}}, storetest.BudgetOf("l", "all",
		storetest.Win(ratelimit.Messages, 2, time.Hour), storetest.Win(ratelimit.Recipients, 2, time.Hour), storetest.Win(ratelimit.Bytes, 20, time.Hour), storetest.Win(ratelimit.DistinctRecipients, 2, time.Hour)))
	ctx := t.Context()
	allowance := ratelimit.Allowance{Limit: "l", Key: "all", Add: 1, Until: time.Now().Add(time.Hour)}
	_, err := r.Take(ctx, b)
	for i, err := range []error{
		r.Ping(ctx), err, r.Undo(ctx, b), r.SetAllowance(ctx, allowance),
		r.Record(ctx, storetest.NextAttempt(), []ratelimit.Record{{Limit: "l", Key: "all", Length: time.Hour, N: 1}}),
		r.Refund(ctx, storetest.NextAttempt(), []ratelimit.Return{{Budget: b.Budgets[0], At: 1, Messages: 1}}),
		r.Scan(ctx, "", func(string, string) bool { return true }),
		r.Reset(ctx, "l", "all"),
	} {
		if err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	allowance.Add = 0
	if err := r.SetAllowance(ctx, allowance); err != nil {
		t.Error(err)
	}
	if list, err := r.Allowances(ctx); err != nil || len(list) != 0 {
		t.Errorf("raises: %v, %v", list, err)
	}
	if n, err := r.Nodes(ctx); err != nil || n != 1 {
		t.Errorf("%d nodes, %v", n, err)
	}
	if secret, err := r.Agree(ctx, "ours", ""); err != nil || secret != "ours" {
		t.Errorf("secret %q, %v", secret, err)
	}
}

func TestRedisOverTLS(t *testing.T) {
	server := redistest.StartTLS(t, "requirepass secret")
	cfg := redisSettings(server.Addr)
	cfg.Password = "secret"
	cfg.TLS, cfg.CA = true, server.TLS().CA
	cfg.Certificate, cfg.Key = server.TLS().Certificate, server.TLS().Key
	if err := openRedis(t, cfg).Ping(t.Context()); err != nil {
		t.Error(err)
	}
	for name, edit := range map[string]func(*Config){
		"an unknown authority":    func(c *Config) { c.CA = "" },
		"no certificate of ours":  func(c *Config) { c.Certificate, c.Key = "", "" },
		"another name":            func(c *Config) { c.ServerName = "redis.example.org" },
		"plain text":              func(c *Config) { c.TLS = false },
		"the name of the machine": func(c *Config) { c.ServerName = "localhost" },
	} {
		other := cfg
		edit(&other)
		if err := openRedis(t, other).Ping(t.Context()); (err == nil) != (name == "the name of the machine") {
			t.Errorf("%s: %v", name, err)
		}
	}
	cfg.CA = cfg.Key
	if _, err := NewClient(cfg); err == nil || !strings.HasPrefix(err.Error(), "redis.ca: ") {
		t.Errorf("a key in place of the authority: %v", err)
	}
	cfg.CA, cfg.Certificate = "", cfg.Key
	if _, err := NewClient(cfg); err == nil || !strings.HasPrefix(err.Error(), "redis.certificate: ") {
		t.Errorf("a key in place of the certificate: %v", err)
	}
}

// TestRedisNames: no name of a limit and no key can be taken for another.
func TestRedisNames(t *testing.T) {
	r := &Store{prefix: "postern"}
	seen := map[string]bool{}
	for _, limit := range []string{"sender", "a:b", "a", "ü %3A", "a:{x}", "", "%", "b:{sender=a"} {
		for _, key := range []string{
			"all", "client=shop", "client=shop recipient_domain=x.example", "sender=a}b@x.example",
			"sender={@x.example", "sender=}", "sender=a} sender=b", "client=a:{b}",
		} {
			name := r.budgetKey(limit, []byte(key))
			gotLimit, gotKey, ok := r.parseBudgetKey(name)
			if !ok || gotLimit != limit || gotKey != key || seen[name] {
				t.Errorf("%q %q: name %q reads as %q %q %v, seen %v", limit, key, name, gotLimit, gotKey, ok, seen[name])
			}
			seen[name] = true
		}
	}
	for _, name := range []string{"", "postern:nodes", "postern:b:", "postern:b:l:x", "postern:b:%4:{all}", "postern:b:%GG:{all}", "postern:b:l:{all"} {
		if _, _, ok := r.parseBudgetKey(name); ok {
			t.Errorf("%q is read as a budget", name)
		}
	}
}

// TestRedisSameSlot: whatever a sender writes, the keys of a budget and its
// attempts stay in the slot of the client.
func TestRedisSameSlot(t *testing.T) {
	server := redistest.Start(t, "cluster-enabled yes")
	r := &Store{prefix: "postern", cluster: redis.NewClusterClient(&redis.ClusterOptions{})}
	defer r.cluster.Close()
	for _, key := range []string{"all", "client=shop", "sender=a}b@x.example", "sender={@x.example", "sender=}", `sender="a\x20{}"@x.example`} {
		slots := map[int64]bool{}
		for _, name := range []string{
			r.budgetKey("one", []byte(key)), r.budgetKey("two:{x}", []byte(key+" recipient_domain={y}")),
			r.markKey(slotOf([]byte(key)), storetest.NextAttempt()),
		} {
			slot, err := server.Client().ClusterKeySlot(t.Context(), name).Result()
			if err != nil {
				t.Fatal(err)
			}
			slots[slot] = true
		}
		if len(slots) != 1 {
			t.Errorf("%q lies in slots %v", key, slots)
		}
	}
}

func FuzzRedisAnswer(f *testing.F) {
	f.Add("")
	f.Add(strings.Repeat("\x00", 1+6+1+26+14+1))
	f.Add("\x01" + strings.Repeat("\x00", 6+8))
	f.Add(strings.Repeat("\xff", 80))
	f.Fuzz(func(t *testing.T, text string) {
		b := storetest.BatchOf([]ratelimit.Request{{Recipients: 1}}, storetest.BudgetOf("l", "all", storetest.Win(ratelimit.Messages, 1, time.Hour)))
		o := outlookOf(b, nil)
		result := ratelimit.NewResult(b)
		if err := decodeBatch(b, text, &o, nil, &result); err == nil && len(text) != 1+6+1+26+14+1 && len(text) != 1+6+8 {
			t.Errorf("%q was taken", text)
		}
	})
}

func FuzzRedisName(f *testing.F) {
	f.Add("postern:b:limit%20x:{client=shop} recipient_domain=x.example")
	r := &Store{prefix: "postern"}
	f.Fuzz(func(t *testing.T, name string) {
		limit, key, ok := r.parseBudgetKey(name)
		if !ok || key == "" || strings.HasPrefix(key, " ") {
			return
		}
		again, key2, ok := r.parseBudgetKey(r.budgetKey(limit, []byte(key)))
		if !ok || again != limit || key2 != key {
			t.Errorf("%q %q became %q %q", limit, key, again, key2)
		}
	})
}

// TestRedisScan: a scan passes on what it finds once, and ends when it is told.
func TestRedisScan(t *testing.T) {
	server := redistest.Start(t)
	r := openRedis(t, redisSettings(server.Addr))
	var want []string
	for i := range 1200 {
		key := fmt.Sprintf("sender=a%d@x.example", i)
		want = append(want, key)
		limit := []string{"one", "o*e", "one:{x}"}[i%3]
		b := storetest.BatchOf([]ratelimit.Request{{Recipients: 1}}, storetest.BudgetOf(limit, key, storetest.Win(ratelimit.Messages, 5, time.Hour)))
		if _, err := r.Take(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	collect := func(_, key string) bool { got = append(got, key); return true }
	if err := r.Scan(t.Context(), "", collect); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("found %d keys, want %d", len(got), len(want))
	}
	got = nil
	if err := r.Scan(t.Context(), "o*e", collect); err != nil || len(got) != 400 {
		t.Errorf("of one limit: %d keys, %v", len(got), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Scan(ctx, "", collect); err == nil {
		t.Error("a scan went on without its context")
	}
}

// TestRedisDocs: the rule that operators copy is the one that tests use.
func TestRedisDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	if rule := redisACL("postern"); !strings.Contains(string(text), rule) {
		t.Errorf("docs/redis.md does not give the rule %q", rule)
	}
}

// TestRedisManyReturns: what a large message gives back takes several calls, and
// comes once all the same.
func TestRedisManyReturns(t *testing.T) {
	bed, _ := simulatedServer(t)
	b := func() ratelimit.Budget {
		return storetest.BudgetOf("many", "all", storetest.Win(ratelimit.Recipients, 5000, time.Hour))
	}
	batch := storetest.BatchOf(make([]ratelimit.Request, 1300), b())
	for i := range batch.Requests {
		batch.Requests[i].Recipients = 1
	}
	said := bed.Decide(t, batch)
	var returns []ratelimit.Return
	for i := range batch.Requests[:1200] {
		returns = append(returns, ratelimit.Return{Budget: b(), At: said.Requests[i].Charges[0].At, Recipients: 1})
	}
	id := storetest.NextAttempt()
	for range 2 {
		if err := bed.Refund(t.Context(), id, returns); err != nil {
			t.Fatal(err)
		}
	}
	if used := bed.Peek(t, b())[0].Used; used != 100 {
		t.Errorf("%d of 1300 are left after 1200 were given back, want 100", used)
	}
	if _, err := bed.Take(t.Context(), storetest.BatchOf(make([]ratelimit.Request, 70_000), b())); err == nil {
		t.Error("a batch that does not fit was sent")
	}
}

// TestRedisLeavesNothingRunning: after Close no goroutine of the store is left.
func TestRedisLeavesNothingRunning(t *testing.T) {
	server := redistest.Start(t)
	before := goleak.IgnoreCurrent()
	client, err := NewClient(redisSettings(server.Addr))
	if err != nil {
		t.Fatal(err)
	}
	r := New(client, redisSettings(server.Addr))
	onAll(t, []*Store{r}, 20, func(r *Store, _ func() ratelimit.Attempt) error { return r.Ping(t.Context()) })
	r.Close()
	client.Close()
	goleak.VerifyNone(t, before)
}

// TestRedisRefundOfLostCharge: where charges were joined, what is given back of
// a charge that was lost takes nothing from those that came later.
func TestRedisRefundOfLostCharge(t *testing.T) {
	bed, c := simulatedServer(t)
	b := func() ratelimit.Budget {
		return storetest.BudgetOf("lost", "all", storetest.Win(ratelimit.Messages, 200, time.Hour))
	}
	fill := func() (at []int64) {
		t.Helper()
		for range 200 {
			at = append(at, bed.One(t, b()).Charges[0].At)
			bed.Clock.Add(time.Millisecond)
		}
		return at
	}
	before := fill()
	if err := c.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	after := fill()
	for _, at := range append(before, after[150:]...) {
		if err := bed.Refund(t.Context(), storetest.NextAttempt(), []ratelimit.Return{{Budget: b(), At: at, Messages: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if used := bed.Peek(t, b())[0].Used; used != 150 {
		t.Errorf("%d are left of 200 after 50 of them were given back, and 200 that were lost", used)
	}
}
