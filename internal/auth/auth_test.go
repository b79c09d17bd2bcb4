package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// Cheap hashes of "open sesame"; the bcrypt one was made by another program.
var (
	cheapArgon  = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$" + cheapSum
	cheapBcrypt = "$2y$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy"
)

const cheapSum = "LZw8QEfBHW9tuI3M0fy1MTUbB4Uakofb4BnzuEdIrdI"

var home = netip.MustParseAddr("192.0.2.1")

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Unix(1_700_000_000, 0)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func testUsers() map[string]UserConfig {
	return map[string]UserConfig{
		"argon":    {Password: cheapArgon},
		"bcrypt":   {Password: cheapBcrypt},
		"disabled": {Password: cheapArgon, Disabled: true},
	}
}

func newTest(t testing.TB, c *clock, store WrongPasswords, change func(*Config)) *Authenticator {
	t.Helper()
	var cfg Config
	cfg.SetDefaults()
	if change != nil {
		change(&cfg)
	}
	a, err := New(testUsers(), cfg, c.now, store)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// try verifies and fails the test on a fault.
func try(t testing.TB, a *Authenticator, addr netip.Addr, user, password string) Result {
	t.Helper()
	r, err := a.Verify(t.Context(), addr, user, password)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestVerify(t *testing.T) {
	for _, row := range []struct {
		name, user, password string
		ok                   bool
	}{
		{"right with argon2id", "argon", "open sesame", true},
		{"right with bcrypt", "bcrypt", "open sesame", true},
		{"wrong with argon2id", "argon", "open Sesame", false},
		{"wrong with bcrypt", "bcrypt", "open sesame ", false},
		{"empty password", "argon", "", false},
		{"unknown user", "nobody", "open sesame", false},
		{"other case of the user", "Argon", "open sesame", false},
		{"empty user", "", "open sesame", false},
		{"disabled user, right", "disabled", "open sesame", false},
		{"very long password", "argon", strings.Repeat("x", 10_000), false},
	} {
		a := newTest(t, newClock(), nil, nil)
		want := Result{OK: row.ok}
		if !row.ok {
			want.Wait = 500 * time.Millisecond // alike for all
		}
		if r := try(t, a, home, row.user, row.password); r != want {
			t.Errorf("%s: %+v, want %+v", row.name, r, want)
		}
	}
}

func TestVerifyWithoutUsers(t *testing.T) {
	var cfg Config
	cfg.SetDefaults()
	a, err := New(nil, cfg, time.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r := try(t, a, home, "", ""); r.OK {
		t.Error("let in")
	}
}

func TestNewTellsAllBadHashes(t *testing.T) {
	var cfg Config
	cfg.SetDefaults()
	_, err := New(map[string]UserConfig{"a": {Password: "plain"}, "b": {}, "c": {Password: cheapArgon}}, cfg, time.Now, nil)
	if err == nil || !strings.Contains(err.Error(), `user."a".password: is not a hash`) || !strings.Contains(err.Error(), `user."b".password: is missing`) {
		t.Errorf("%v", err)
	}
	if err != nil && strings.Contains(err.Error(), "plain") {
		t.Errorf("tells the password: %v", err)
	}
}

func TestRightPasswordIsRemembered(t *testing.T) {
	c := newClock()
	a := newTest(t, c, nil, nil)
	if !try(t, a, home, "argon", "open sesame").OK {
		t.Fatal("refused")
	}
	a.users["argon"].hash = &hash{lanes: 1, memory: 8, passes: 1, salt: []byte("12345678"), sum: make([]byte, 16)}
	if !try(t, a, home, "argon", "open sesame").OK {
		t.Error("was hashed again within remember")
	}
	if try(t, a, home, "argon", "something else").OK {
		t.Error("takes another password")
	}
	c.add(5 * time.Minute)
	if try(t, a, home, "argon", "open sesame").OK {
		t.Error("was not hashed again after remember")
	}
}

func TestRememberOff(t *testing.T) {
	a := newTest(t, newClock(), nil, func(c *Config) { c.Remember = 0 })
	try(t, a, home, "argon", "open sesame")
	if a.users["argon"].remembered.Load() != nil {
		t.Error("remembered")
	}
}

func TestDelayGrowsPerAddressAndUser(t *testing.T) {
	c := newClock()
	a := newTest(t, c, nil, func(c *Config) { c.SuspendAfter.N = 100 })
	for i, want := range []time.Duration{500, 1000, 2000, 4000, 8000, 10000, 10000} {
		if r := try(t, a, home, fmt.Sprint("user", i), "x"); r.Wait != want*time.Millisecond {
			t.Errorf("wrong password %d from one address: wait %v, want %v", i+1, r.Wait, want*time.Millisecond)
		}
	}
	for i, want := range []time.Duration{500, 1000, 2000, 4000} {
		addr := netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
		if r := try(t, a, addr, "argon", "x"); r.Wait != want*time.Millisecond {
			t.Errorf("wrong password %d for one user: wait %v, want %v", i+1, r.Wait, want*time.Millisecond)
		}
	}
	if r := try(t, a, home, "argon", "open sesame"); !r.OK || r.Wait != 0 {
		t.Errorf("right password: %+v", r)
	}
	c.add(10 * time.Minute)
	if r := try(t, a, home, "argon", "x"); r.Wait != 500*time.Millisecond {
		t.Errorf("after the period: wait %v", r.Wait)
	}
}

func TestSuspension(t *testing.T) {
	c := newClock()
	a := newTest(t, c, nil, nil)
	for i := range 10 {
		r := try(t, a, home, "argon", "x")
		if want := map[bool]time.Duration{true: 15 * time.Minute}[i == 9]; r.Suspended != want {
			t.Fatalf("wrong password %d: suspended %v, want %v", i+1, r.Suspended, want)
		}
		c.add(59 * time.Second)
	}
	left := 15*time.Minute - 59*time.Second
	if r := try(t, a, home, "argon", "open sesame"); r.OK || r.Suspended != left {
		t.Errorf("right password while suspended: %+v", r)
	}
	if d, err := a.guesses.suspended(t.Context(), networkOf(home)); d != left || err != nil {
		t.Errorf("Suspended: %v, %v", d, err)
	}
	if r := try(t, a, home.Next(), "argon", "open sesame"); !r.OK {
		t.Errorf("another address: %+v", r)
	}
	c.add(left)
	if r := try(t, a, home, "argon", "open sesame"); !r.OK {
		t.Errorf("after the suspension: %+v", r)
	}
	if r := try(t, a, home, "argon", "x"); r.Suspended != 0 {
		t.Errorf("first wrong password after the suspension: %+v", r)
	}
}

func TestSuspensionCountsOnlyTheLastPeriod(t *testing.T) {
	c := newClock()
	a := newTest(t, c, nil, nil)
	for range 30 {
		if r := try(t, a, home, "argon", "x"); r.Suspended != 0 {
			t.Fatal("suspended at nine in ten minutes")
		}
		c.add(67 * time.Second)
	}
}

func TestSuspensionTakesAnIPv6NetworkAsOne(t *testing.T) {
	a := newTest(t, newClock(), nil, nil)
	addr := netip.MustParseAddr("2001:db8::1")
	for range 10 {
		try(t, a, addr, "argon", "x")
		addr = addr.Next()
	}
	if d, _ := a.guesses.suspended(t.Context(), networkOf(netip.MustParseAddr("2001:db8::ffff:1"))); d == 0 {
		t.Error("the same /64 is not suspended")
	}
	if d, _ := a.guesses.suspended(t.Context(), networkOf(netip.MustParseAddr("2001:db8:0:1::1"))); d != 0 {
		t.Error("another /64 is suspended")
	}
	if networkOf(netip.MustParseAddr("::ffff:192.0.2.1")) != networkOf(home) {
		t.Error("an IPv4 address in IPv6 form counts as another")
	}
}

func TestTrustedNetworkIsNeverSuspendedOrDelayed(t *testing.T) {
	a := newTest(t, newClock(), nil, func(c *Config) { c.Trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")} })
	for range 30 {
		if r := try(t, a, home, "argon", "x"); r != (Result{}) {
			t.Fatalf("%+v", r)
		}
	}
	// The user is counted all the same: others that guess it wait.
	if r := try(t, a, netip.MustParseAddr("203.0.113.1"), "argon", "x"); r.Wait != 10*time.Second {
		t.Errorf("%+v", r)
	}
}

// sharedStore stands for a store that other processes use too.
type sharedStore struct {
	count     Count
	suspended time.Duration
	err       error
	users     []string
}

func (s *sharedStore) Failed(_ context.Context, addr netip.Prefix, user string) (Count, error) {
	s.users = append(s.users, user)
	return s.count, s.err
}

func (s *sharedStore) Suspended(context.Context, netip.Prefix) (time.Duration, error) {
	return s.suspended, s.err
}

func TestSharedStoreDecides(t *testing.T) {
	s := &sharedStore{count: Count{Addr: 3, User: 1}}
	a := newTest(t, newClock(), s, nil)
	if r := try(t, a, home, "argon", "x"); r.Wait != 2*time.Second {
		t.Errorf("%+v", r)
	}
	if len(s.users) != 1 || strings.Contains(s.users[0], "argon") || len(s.users[0]) != 32 {
		t.Errorf("the store was told %q", s.users)
	}
	s.suspended = time.Minute
	if r := try(t, a, home, "argon", "open sesame"); r.OK || r.Suspended != time.Minute {
		t.Errorf("%+v", r)
	}
}

func TestOwnCountsStandInForTheSharedStore(t *testing.T) {
	fault := errors.New("gone")
	a := newTest(t, newClock(), &sharedStore{err: fault}, nil)
	if r := try(t, a, home, "argon", "open sesame"); !r.OK || r.Fault != nil && !errors.Is(r.Fault, fault) {
		t.Errorf("right password: %+v", r)
	}
	var r Result
	for range 10 {
		r = try(t, a, home, "argon", "x")
	}
	if r.Suspended != 15*time.Minute || !errors.Is(r.Fault, fault) {
		t.Errorf("%+v", r)
	}
	if r := try(t, a, home, "argon", "open sesame"); r.OK {
		t.Errorf("suspended by own counts: %+v", r)
	}
}

func TestUnknownUserMeetsTheSameHashEachTime(t *testing.T) {
	one, two := newTest(t, newClock(), nil, nil), newTest(t, newClock(), nil, nil)
	kinds := map[bool]int{}
	for i := range 100 {
		name := fmt.Sprint("nobody", i)
		h, again := one.decoy(name), two.decoy(name)
		if (h.lanes == 0) != (again.lanes == 0) {
			t.Fatalf("%s: another hash after a restart", name)
		}
		kinds[h.lanes == 0]++
	}
	if kinds[true] < 10 || kinds[false] < 10 {
		t.Errorf("unknown users do not spread over the kinds of hash: %v", kinds)
	}
}

func TestVerifyIsSafeForConcurrentUse(t *testing.T) {
	a := newTest(t, newClock(), nil, nil)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			addr := netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
			if r := try(t, a, addr, "argon", "open sesame"); !r.OK {
				t.Errorf("%+v", r)
			}
			if r := try(t, a, addr, "argon", "x"); r.OK {
				t.Errorf("%+v", r)
			}
		})
	}
	wg.Wait()
	if a.gate.waiting != 0 || len(a.gate.inside) != 0 {
		t.Errorf("gate: %d waiting, %v", a.gate.waiting, a.gate.inside)
	}
}

func BenchmarkVerify(b *testing.B) {
	var cfg Config
	cfg.SetDefaults()
	cfg.Trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	h := HashArgon2id("open sesame")
	a, err := New(map[string]UserConfig{"u": {Password: h}, "off": {Password: h, Disabled: true}}, cfg, time.Now, nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, row := range []struct{ name, user, password string }{
		{"wrong", "u", "x"}, {"unknown", "nobody", "x"}, {"disabled", "off", "open sesame"}, {"remembered", "u", "open sesame"},
	} {
		b.Run(row.name, func(b *testing.B) {
			for b.Loop() {
				try(b, a, home, row.user, row.password)
			}
		})
	}
}
