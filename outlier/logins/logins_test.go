package logins

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/internal/dnstest"
	"postern/reputation/dnsbl"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newAsker makes one that runs until the test ends; tell hears of zones.
func newAsker(t *testing.T, clock *dnstest.Clock, tell func(string, error), server string, tables map[string]dnsbl.ZoneConfig, zones ...string) *Asker {
	t.Helper()
	a := New(clock.Now, tell)
	if err := a.Use(Setup{Zones: zones, Tables: tables, Servers: []string{server}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { a.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		run.Wait()
	})
	return a
}

// answered waits until an address has been asked about, and gives what is known of it.
func answered(t *testing.T, a *Asker, addr string) string {
	t.Helper()
	ip := netip.MustParseAddr(addr)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		zone := a.Listed("shop", ip)
		a.mu.Lock()
		known, ok := a.known.Get("shop", ip.Unmap())
		done := ok && known.until.Sub(a.now()) == keep
		a.mu.Unlock()
		if done || zone != "" {
			return a.Listed("shop", ip)
		}
	}
	t.Fatalf("%s is never answered", addr)
	return ""
}

// TestListedAddressIsToldLater: never at once, and then for an hour.
func TestListedAddressIsToldLater(t *testing.T) {
	lists, clock := dnstest.Lists(t), dnstest.NewClock()
	tables := map[string]dnsbl.ZoneConfig{"BL.example.": {Codes: map[string]string{"127.0.0.4": "guesses passwords"}, Ignore: []netip.Addr{netip.MustParseAddr("127.0.0.10")}}}
	a := newAsker(t, clock, nil, lists.Server, tables, "bl.example", "bl6.example")
	for addr, want := range map[string]string{
		"192.0.2.66": "bl.example (127.0.0.4 guesses passwords)", "::ffff:192.0.2.66": "bl.example (127.0.0.4 guesses passwords)",
		"2001:db8::66": "bl6.example (127.0.0.3)",
	} {
		first := a.Listed("other"+addr, netip.MustParseAddr(addr))
		if got := answered(t, a, addr); first != "" || got != want {
			t.Errorf("%s: at first %q, then %q, want %q", addr, first, got, want)
		}
	}
	lists.Change(t, "bl.example", ":127.0.0.4:x\n127.0.0.2\n", "66.2.0.192", false)
	clock.Add(keep - time.Second)
	if a.Listed("shop", netip.MustParseAddr("192.0.2.66")) == "" {
		t.Error("not told for an hour")
	}
}

// TestWhoIsNotAsked: nobody is asked about addresses of our own, and an unproven zone
// says nothing, however much it lists.
func TestWhoIsNotAsked(t *testing.T) {
	lists, clock := dnstest.Lists(t), dnstest.NewClock()
	problems := make(chan error, 10)
	a := newAsker(t, clock, func(_ string, why error) { problems <- why }, lists.Server, nil, "all.example")
	for _, addr := range []string{"10.1.2.3", "127.0.0.1", "fe80::1", "fd00::1", "::1", "0.0.0.0"} {
		if a.Listed("shop", netip.MustParseAddr(addr)) != "" || a.known.Len() != 0 {
			t.Errorf("%s is asked about", addr)
		}
	}
	if a.Listed("shop", netip.Addr{}) != "" {
		t.Error("no address is listed")
	}
	a.Listed("shop", netip.MustParseAddr("192.0.2.66"))
	if err := <-problems; err == nil || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("a zone that lists everything is believed: %v", err)
	}
	if a.Listed("shop", netip.MustParseAddr("192.0.2.66")) != "" {
		t.Error("and what it says is told")
	}
	if New(nil, nil).Listed("shop", netip.MustParseAddr("192.0.2.66")) != "" {
		t.Error("without zones")
	}
}

// TestQuestionsAreBounded: who invents addresses has a hundred questions a minute, and
// takes none of anybody else's; a queue that nobody reads makes nobody wait.
func TestQuestionsAreBounded(t *testing.T) {
	clock := dnstest.NewClock()
	a := New(clock.Now, nil)
	if err := a.Use(Setup{Zones: []string{"bl.example"}, Servers: []string{"127.0.0.1:9"}}); err != nil {
		t.Fatal(err)
	}
	defer a.Use(Setup{})
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}) }
	for i := range 5000 {
		a.Listed("mta", address(i))
	}
	if len(a.queue) != perMinute {
		t.Errorf("%d questions of one client", len(a.queue))
	}
	a.Listed("shop", address(1))
	if len(a.queue) != perMinute+1 {
		t.Error("another client may not ask")
	}
	a.Listed("shop", address(1))
	if len(a.queue) != perMinute+1 {
		t.Error("what was asked is asked again")
	}
	for c := range 100 {
		for i := range 100 {
			a.Listed(fmt.Sprint("c", c), address(i))
		}
	}
	if len(a.queue) != maxQueued || a.known.Len() > maxKept {
		t.Errorf("%d in the queue, %d known", len(a.queue), a.known.Len())
	}
	clock.Add(time.Minute)
	a.mu.Lock()
	may := a.mayAsk("mta", clock.Now())
	a.mu.Unlock()
	if !may {
		t.Error("the next minute has no questions")
	}
}

// TestZoneThatFails says nothing, and is believed again when it answers.
func TestZoneThatFails(t *testing.T) {
	bad, clock := dnstest.StartFaulty(t), dnstest.NewClock()
	problems := make(chan error, 10)
	a := newAsker(t, clock, func(_ string, why error) { problems <- why }, bad.Address, nil, "x-servfail.bl")
	a.Listed("shop", netip.MustParseAddr("192.0.2.66"))
	if err := <-problems; err == nil {
		t.Error("believed")
	}
	if err := a.Use(Setup{Zones: []string{"x.example"}, Tables: map[string]dnsbl.ZoneConfig{"x.example": {KeyFile: "/nonexistent"}}}); err == nil || !strings.Contains(err.Error(), "outlier.networks.zones: x.example: ") {
		t.Errorf("a key that is not there: %v", err)
	}
	if a.lists == nil || errors.Is(a.Use(Setup{}), context.Canceled) {
		t.Error("a bad configuration has taken the zones away")
	}
}
