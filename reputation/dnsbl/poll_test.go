package dnsbl

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/dnstest"
	"postern/internal/resolve"
)

// TestZonesAreReadAsTheyMean asks rbldnsd, and a server that misbehaves, about
// targets.
func TestZonesAreReadAsTheyMean(t *testing.T) {
	lists, bad := dnstest.Lists(t), dnstest.StartFaulty(t)
	good := newTestResolver(t, 20*time.Second, lists.Server)
	quick := newTestResolver(t, time.Second, bad.Address)
	address := func(s string) Target { return AddressTarget(netip.MustParseAddr(s)) }
	cases := []struct {
		name   string
		r      *resolve.Resolver
		zone   string
		config func(*ZoneConfig)
		target Target
		want   TargetState
		say    string // code of a listing, or error
	}{
		{"listed address", good, "bl.example", nil, address("192.0.2.66"), Listed, "127.0.0.4"},
		{"clean address", good, "bl.example", nil, address("192.0.2.1"), Clean, ""},
		{"mapped address", good, "bl.example", nil, address("::ffff:192.0.2.66"), Listed, "127.0.0.4"},
		{"meaning of a code", good, "bl.example", func(z *ZoneConfig) { z.Codes = map[string]string{"127.0.0.4": "XBL"} }, address("192.0.2.66"), Listed, "127.0.0.4 XBL"},
		{"ignored code", good, "bl.example", func(z *ZoneConfig) { z.Ignore = []netip.Addr{netip.MustParseAddr("127.0.0.10")} }, address("192.0.2.67"), Clean, ""},
		{"listed IPv6 address", good, "bl6.example", nil, address("2001:db8::66"), Listed, "127.0.0.3"},
		{"clean IPv6 address", good, "bl6.example", nil, address("2001:db8::1"), Clean, ""},
		{"listed domain", good, "dbl.example", nil, DomainTarget("Spam.Example."), Listed, "127.0.1.2"},
		{"listed subdomain", good, "dbl.example", nil, DomainTarget("a.wild.example"), Listed, "127.0.1.2"},
		{"clean domain", good, "dbl.example", nil, DomainTarget("good.example"), Clean, ""},
		{"no such zone", good, "none.example", nil, address("192.0.2.66"), Unknown, "REFUSED"},
		{"SERVFAIL", quick, "x-servfail.bl", nil, address("192.0.2.66"), Unknown, "SERVFAIL"},
		{"REFUSED", quick, "x-refused.bl", nil, address("192.0.2.66"), Unknown, "REFUSED"},
		{"silence", quick, "x-silent.bl", nil, address("192.0.2.66"), Unknown, "in time"},
		{"lame", quick, "x-lame.bl", nil, address("192.0.2.66"), Unknown, "lame"},
		{"lame NXDOMAIN", quick, "x-lame-nxdomain.bl", nil, address("192.0.2.66"), Unknown, "lame"},
		{"no addresses", quick, "x-empty.bl", nil, address("192.0.2.66"), Unknown, "without addresses"},
		{"truncated without TCP", quick, "x-truncated-hangup.bl", nil, address("192.0.2.66"), Unknown, "truncated"},
		{"truncated listing", quick, "x-truncated.bl", nil, address("192.0.2.66"), Listed, "127.0.0.2"},
		{"truncated NXDOMAIN", quick, "x-truncated-nxdomain.bl", nil, address("192.0.2.66"), Clean, ""},
		{"another question answered", quick, "x-other-question.bl", nil, address("192.0.2.66"), Unknown, "another question"},
		{"another id", quick, "x-other-id.bl", nil, address("192.0.2.66"), Unknown, ""},
		{"garbage", quick, "x-garbage.bl", nil, address("192.0.2.66"), Unknown, ""},
		{"parked zone", quick, "x-parked.bl", nil, address("192.0.2.66"), Unknown, "outside"},
		{"error code", quick, "x-error-code.bl", nil, address("192.0.2.66"), Unknown, "refuses to answer"},
		{"answer 127.0.0.1", quick, "x-blocked.bl", nil, address("192.0.2.66"), Unknown, "no listing"},
		{"NXDOMAIN", quick, "x-nxdomain.bl", nil, address("192.0.2.66"), Clean, ""},
		{"dead zone", newTestResolver(t, 500*time.Millisecond, fmt.Sprintf("127.0.0.1:%d", dnstest.FreePort(t))), "bl.example", nil, address("192.0.2.66"), Unknown, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			z, err := NewZone(c.zone, zoneConfig(c.config))
			if err != nil {
				t.Fatal(err)
			}
			a := z.Lookup(t.Context(), c.r, c.target)
			all := fmt.Sprint(a.Codes, a.why)
			if a.State != c.want || !strings.Contains(all, c.say) {
				t.Errorf("state %d %s, want %d with %q", a.State, all, c.want, c.say)
			}
		})
	}
}

func TestZonesAreBelievedByTheirControls(t *testing.T) {
	lists, bad := dnstest.Lists(t), dnstest.StartFaulty(t)
	good := newTestResolver(t, 20*time.Second, lists.Server)
	quick := newTestResolver(t, time.Second, bad.Address)
	cases := []struct {
		name   string
		r      *resolve.Resolver
		zone   string
		config func(*ZoneConfig)
		family Family
		say    string // part of the doubt; "" when believed
	}{
		{"a good zone", good, "bl.example", nil, ipv4, ""},
		{"a good zone of IPv6 addresses", good, "bl6.example", nil, ipv6, ""},
		{"a good zone of domains", good, "dbl.example", func(z *ZoneConfig) { z.Of = []Kind{Domains} }, names, ""},
		{"controls of its own", good, "bl.example", func(z *ZoneConfig) { z.ListedControl, z.CleanControl = "192.0.2.66", "192.0.2.1" }, ipv4, ""},
		{"a zone of domains asked about IPv6", good, "dbl.example", nil, ipv6, "not listed"},
		{"an emptied zone", good, "dead.example", nil, ipv4, "not listed"},
		{"a zone that lists the world", good, "all.example", nil, ipv4, "is listed"},
		{"a parked zone", quick, "x-parked.bl", nil, ipv4, "outside"},
		{"a zone that blocks us", quick, "x-error-code.bl", nil, ipv4, "refuses"},
		{"a zone that fails", quick, "x-servfail.bl", nil, ipv4, "SERVFAIL"},
		{"a zone that only says no", quick, "x-nxdomain.bl", nil, ipv4, "not listed"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			z, err := NewZone(c.zone, zoneConfig(c.config))
			if err != nil {
				t.Fatal(err)
			}
			err = z.Believed(t.Context(), c.r, c.family)
			if (err == nil) != (c.say == "") || err != nil && !strings.Contains(err.Error(), c.say) {
				t.Errorf("doubt %v, want %q", err, c.say)
			}
		})
	}
}

func TestZoneKeyIsAskedButNeverTold(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("s3cretlabel\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	z, err := NewZone("Zen.DQ.example.", zoneConfig(func(c *ZoneConfig) { c.KeyFile = key }))
	if err != nil {
		t.Fatal(err)
	}
	if q, _ := z.question(AddressTarget(netip.MustParseAddr("192.0.2.1"))); q != "1.2.0.192.s3cretlabel.zen.dq.example" {
		t.Errorf("asks for %q", q)
	}
	bad := dnstest.StartFaulty(t)
	a := z.Lookup(t.Context(), newTestResolver(t, 300*time.Millisecond, bad.Address), Target{Addresses, "x"})
	if strings.Contains(fmt.Sprint(a.why, z.Name), "s3cret") {
		t.Errorf("the key shows: %v", a.why)
	}
	if err := os.WriteFile(key, []byte("not a label!"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = NewZone("zen.dq.example", zoneConfig(func(c *ZoneConfig) { c.KeyFile = key })); err == nil || strings.Contains(err.Error(), "label!") {
		t.Errorf("a bad key gives %v", err)
	}
	if _, err = NewZone("zen.dq.example", zoneConfig(func(c *ZoneConfig) { c.KeyFile = key + "x" })); err == nil {
		t.Error("a missing key file was taken")
	}
}

// pollRig is a poller over rbldnsd with a clock.
type pollRig struct {
	*Poller
	clock   *dnstest.Clock
	targets []Target
}

func newPollRig(t *testing.T, server, name string, targets ...Target) *pollRig {
	z, err := NewZone(name, zoneConfig(nil))
	if err != nil {
		t.Fatal(err)
	}
	c := dnstest.NewClock()
	return &pollRig{NewPoller(newTestResolver(t, 20*time.Second, server), []*Zone{z}, c.Now), c, targets}
}

// poll moves the clock to the next poll and carries it out.
func (r *pollRig) poll(t *testing.T) []Change {
	t.Helper()
	at, ok := r.Due()
	if !ok {
		t.Fatal("nothing is due")
	}
	if d := at.Sub(r.clock.Now()); d > 0 {
		r.clock.Add(d)
	}
	return r.Settle(r.Ask(t.Context(), r.targets), r.targets)
}

func TestTwoPollsInARowMakeAListingAndItsEnd(t *testing.T) {
	lists := dnstest.Lists(t)
	ours := AddressTarget(netip.MustParseAddr("192.0.2.1"))
	r := newPollRig(t, lists.Server, "bl.example", ours)
	if c := r.poll(t); len(c) != 0 {
		t.Fatalf("clean, yet %+v", c)
	}
	lists.Change(t, "bl.example", dnstest.Ip4List+"192.0.2.1\n", "1.2.0.192", true)
	before := r.clock.Now()
	if c := r.poll(t); len(c) != 0 {
		t.Fatalf("one poll made a listing: %+v", c)
	}
	first := r.clock.Now()
	if d := first.Sub(before); d < 20*time.Minute || d > 40*time.Minute {
		t.Errorf("polled after %v, want about 30m", d)
	}
	c := r.poll(t)
	if len(c) != 1 || !c[0].Listed || c[0].Target != ours {
		t.Fatalf("two polls made %+v", c)
	}
	if d := r.clock.Now().Sub(first); d > 6*time.Minute {
		t.Errorf("the second poll came %v after the first, want it soon", d)
	}
	if c := r.poll(t); len(c) != 0 {
		t.Fatalf("a listing told twice: %+v", c)
	}
	lists.Change(t, "bl.example", dnstest.Ip4List+"# gone again\n", "1.2.0.192", false)
	if c := r.poll(t); len(c) != 0 {
		t.Fatalf("one poll ended it: %+v", c)
	}
	if c = r.poll(t); len(c) != 1 || c[0].Listed {
		t.Fatalf("two polls made %+v", c)
	}
}

func TestBrokenZoneChangesNothing(t *testing.T) {
	lists := dnstest.Lists(t)
	ours := AddressTarget(netip.MustParseAddr("192.0.2.66"))
	r := newPollRig(t, lists.Server, "bl.example", ours)
	r.poll(t)
	// The list loses its data: neither our listing nor its end may follow.
	lists.Change(t, "bl.example", "# empty\n", "66.2.0.192", false)
	c := r.poll(t)
	if len(c) != 1 || c[0].Problem == "" || c[0].Believed {
		t.Fatalf("want one word about the zone, got %+v", c)
	}
	if c := r.poll(t); len(c) != 0 {
		t.Fatalf("told twice: %+v", c)
	}
	lists.Change(t, "bl.example", dnstest.Ip4List+"# once more\n", "66.2.0.192", true)
	if c = r.poll(t); len(c) != 1 || !c[0].Believed {
		t.Fatalf("the zone is good again, got %+v", c)
	}
	if c = r.poll(t); len(c) != 1 || !c[0].Listed {
		t.Fatalf("two good polls in a row made %+v", c)
	}
	if s := r.Status(); len(s) != 1 || !slices.Equal(s[0].Listed, []Target{ours}) || s[0].Problem != "" {
		t.Errorf("status %+v", s)
	}
	r.targets = nil
	if c = r.poll(t); len(c) != 1 || c[0].Listed || c[0].Target != ours {
		t.Errorf("the address is no longer ours, got %+v", c)
	}
}

func TestPollsAreSpread(t *testing.T) {
	z := PolledZone{Zone: Zone{Config: zoneConfig(nil)}}
	seen := map[time.Duration]bool{}
	for range 200 {
		d := z.pause(0)
		if d < 27*time.Minute || d > 33*time.Minute {
			t.Fatalf("pause %v", d)
		}
		seen[d] = true
	}
	if len(seen) < 100 {
		t.Errorf("%d different pauses of 200", len(seen))
	}
	if d := z.pause(time.Hour); d > 33*time.Minute {
		t.Errorf("a long TTL made the pause %v", d)
	}
}
