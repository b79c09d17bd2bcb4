package mx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

// zone is the DNS of the tests; each domain is a case.
const zone = `
one         MX 10 a
two         MX 20 b
            MX 10 a
equal       MX 10 a
            MX 10 b
            MX 10 c
null        MX 0 .
nullhigh    MX 10 .
nullbeside  MX 0 .
            MX 10 a
onlya       A 11.0.0.9
onlyaaaa    AAAA 2a00:1::9
neither     TXT "nothing"
cname       CNAME one
cname3      CNAME cname2
cname2      CNAME cname
cnameto     CNAME onlya
cnamenull   CNAME null
mxcname     MX 10 alias
alias       CNAME a
own         MX 10 relay
            MX 20 a
ownworse    MX 10 a
            MX 20 relay
            MX 30 b
ownequal    MX 10 a
            MX 10 relay
ownaddr     MX 10 a
            MX 10 mine
            MX 20 b
ownaddrlow  MX 10 a
            MX 20 mine
            MX 30 b
ownalias    MX 10 aliasrelay
aliasrelay  CNAME relay
ownpublic   MX 10 public
ownehlo     MX 5 news
capitals    MX 10 A
            MX 10 a
dangling    MX 10 missing
danglingtwo MX 10 missing
            MX 20 a
onlymx6     MX 10 six
both        MX 10 dual
loopback    MX 10 lo
localhost   MX 10 lo
            MX 20 a
private     MX 10 priv
mapped      MX 10 mapped4
nat64       MX 10 nat
mixed       MX 10 priv
            MX 20 a
number      MX 10 11.0.0.1.
numbertwo   MX 10 11.0.0.1.
            MX 20 a
odd         MX 10 a\032b
oddtwo      MX 10 a\000b
            MX 20 a
under       MX 10 under_score
mx20        MX 1 h01
            MX 2 h02
            MX 3 h03
            MX 4 h04
            MX 5 h05
            MX 6 h06
            MX 7 h07
many        MX 10 manya
            MX 20 a
ttl0        0 MX 10 a
self        MX 0 self
            A 11.0.0.8
wild.wild   A 11.0.0.7
a           A 11.0.0.1
b           A 11.0.0.2
c           A 11.0.0.3
relay       A 11.0.0.4
news        A 11.0.0.4
mine        A 11.0.0.5
public      A 11.0.0.6
six         AAAA 2a00:1::1
dual        A 11.0.0.10
            AAAA 2a00:1::10
lo          A 127.0.0.1
priv        A 10.0.0.1
mapped4     AAAA ::ffff:10.0.0.1
nat         AAAA 64:ff9b::a00:1
under_score A 11.0.0.11
manya       A 11.1.0.1
            A 11.1.0.2
            A 11.1.0.3
            A 11.1.0.4
            A 11.1.0.5
            A 11.1.0.6
            A 11.1.0.7
h01         A 11.2.0.1
h02         A 11.2.0.2
h03         A 11.2.0.3
h04         A 11.2.0.4
h05         A 11.2.0.5
h06         A 11.2.0.6
h07         A 11.2.0.7
ns          A 11.0.0.53
`

// self has the address 11.0.0.5 on an interface.
var self = Self{
	Names:     []string{"relay.example", "News.Example."},
	Addresses: []netip.Addr{netip.MustParseAddr("11.0.0.6")},
	Listeners: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:2525")},
}

func interfacesOfTests() ([]net.Addr, error) {
	return []net.Addr{
		&net.IPNet{IP: net.ParseIP("127.0.0.1"), Mask: net.CIDRMask(8, 32)},
		&net.IPNet{IP: net.ParseIP("11.0.0.5"), Mask: net.CIDRMask(24, 32)},
	}, nil
}

func newFinder(t *testing.T, server string, change func(*Options)) *Finder {
	t.Helper()
	o := Options{Self: self, Interfaces: interfacesOfTests, DNSTimeout: 2 * time.Second}
	o.Config.SetDefaults()
	o.Config.Resolvers = []string{server}
	if change != nil {
		change(&o)
	}
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// show is an answer in one line: its targets, or why there are none.
func show(a Answer, err error) string {
	switch {
	case errors.Is(err, errNamed):
		return "named"
	case errors.Is(err, ErrDNS):
		return "DNS"
	case errors.Is(err, ErrFamily):
		return "family"
	case err != nil:
		return err.Error()
	case a.Problem != None:
		return [...]string{"", "no domain", "null MX", "no address", "loop"}[a.Problem]
	}
	var words []string
	for _, t := range a.Targets {
		words = append(words, strings.TrimSuffix(t.String(), ":25"))
	}
	return strings.ReplaceAll(strings.Join(words, " "), ".example[", "[")
}

func TestWhoTakesMail(t *testing.T) {
	server := dnstest.Unbound(t, map[string]string{"example": dnstest.Knot(t, map[string]string{"example": zone})})
	f := newFinder(t, server, nil)
	v4, v6, any := Families{IPv4: true}, Families{IPv6: true}, Families{IPv4: true, IPv6: true}
	for _, row := range []struct {
		name, domain string
		families     Families
		want         string
	}{
		{"one host", "one", v4, "a[11.0.0.1]"},
		{"two preferences, the lower number first", "two", v4, "a[11.0.0.1] b[11.0.0.2]"},
		{"a null MX", "null", v4, "null MX"},
		{"a null MX with a preference", "nullhigh", v4, "null MX"},
		{"a null MX beside another", "nullbeside", v4, "a[11.0.0.1]"},
		{"no MX: its own address", "onlya", v4, "onlya[11.0.0.9]"},
		{"no MX: its own IPv6 address", "onlyaaaa", v6, "onlyaaaa[2a00:1::9]"},
		{"no MX, an IPv6 address, and mail leaves over IPv4", "onlyaaaa", v4, "family"},
		{"neither MX nor address", "neither", v4, "no address"},
		{"no such domain", "nowhere", v4, "no domain"},
		{"a domain that is an alias", "cname", v4, "a[11.0.0.1]"},
		{"an alias of an alias of an alias", "cname3", v4, "a[11.0.0.1]"},
		{"an alias of a name without MX", "cnameto", v4, "cnameto[11.0.0.9]"},
		{"an alias of a domain without mail", "cnamenull", v4, "null MX"},
		{"a host that is an alias", "mxcname", v4, "alias[11.0.0.1]"},
		{"we are the best", "own", v4, "loop"},
		{"we are in the middle", "ownworse", v4, "a[11.0.0.1]"},
		{"we are one of the best", "ownequal", v4, "loop"},
		{"a host with our address is one of the best", "ownaddr", v4, "loop"},
		{"a host with our address is worse", "ownaddrlow", v4, "a[11.0.0.1]"},
		{"a host that is an alias of our name", "ownalias", v4, "loop"},
		{"a host with the address that the world sees", "ownpublic", v4, "loop"},
		{"a host with an EHLO name of ours", "ownehlo", v4, "loop"},
		{"our own name without MX", "relay", v4, "loop"},
		{"one host twice, in capitals and not", "capitals", v4, "a[11.0.0.1]"},
		{"a host that does not exist", "dangling", v4, "no address"},
		{"a host that does not exist, and one that does", "danglingtwo", v4, "a[11.0.0.1]"},
		{"a host with IPv6 only, and mail leaves over IPv4", "onlymx6", v4, "family"},
		{"a host with IPv6 only", "onlymx6", any, "six[2a00:1::1]"},
		{"a host with both, and mail leaves over both", "both", any, "dual[11.0.0.10] dual[2a00:1::10]"},
		{"a host with both, and mail leaves over IPv6", "both", v6, "dual[2a00:1::10]"},
		{"a loopback address", "loopback", v4, "no address"},
		{"a loopback address before a real one", "localhost", v4, "a[11.0.0.1]"},
		{"a private address", "private", v4, "no address"},
		{"a private address that is mapped", "mapped", any, "no address"},
		{"a private address behind NAT64", "nat64", v6, "no address"},
		{"a private address before a real one", "mixed", v4, "a[11.0.0.1]"},
		{"an address for a name", "number", v4, "no address"},
		{"an address for a name, and a real one", "numbertwo", v4, "a[11.0.0.1]"},
		{"a name with a space", "odd", v4, "no address"},
		{"a name with a NUL, and a real one", "oddtwo", v4, "a[11.0.0.1]"},
		{"a name with an underscore", "under", v4, "under_score[11.0.0.11]"},
		{"seven hosts, five of them tried", "mx20", v4, "h01[11.2.0.1] h02[11.2.0.2] h03[11.2.0.3] h04[11.2.0.4] h05[11.2.0.5]"},
		{"TTL 0", "ttl0", v4, "a[11.0.0.1]"},
		{"a domain that is its own host", "self", v4, "self[11.0.0.8]"},
		{"a name between others", "wild", v4, "no address"},
	} {
		a, err := f.Find(t.Context(), row.domain+".example", row.families)
		if got := show(a, err); got != row.want {
			t.Errorf("%s: %s is %s, want %s (%v)", row.name, row.domain, got, row.want, err)
		}
	}
	for domain, want := range map[string]string{
		"[11.0.0.1]": "[11.0.0.1]", "[IPv6:2a00:1::1]": "[2a00:1::1]", "[127.0.0.1]": "no address", "[10.0.0.1]": "no address",
		"[IPv6:::ffff:127.0.0.1]": "no address", "[11.0.0.5]": "loop", "[x]": "no address",
	} {
		if got := show(f.Find(t.Context(), domain, any)); got != want {
			t.Errorf("%s is %s, want %s", domain, got, want)
		}
	}
	if got := show(f.Find(t.Context(), "[IPv6:2a00:1::1]", v4)); got != "family" {
		t.Errorf("an IPv6 literal over IPv4: %s", got)
	}
}

// TestManyAddressesOfOneHostLeaveRoomForTheNext: RFC 5321 s. 5.1 asks for two.
func TestManyAddressesOfOneHostLeaveRoomForTheNext(t *testing.T) {
	f := newFinder(t, dnstest.Knot(t, map[string]string{"example": zone}), nil)
	a, err := f.Find(t.Context(), "many.example", Families{IPv4: true})
	if err != nil || len(a.Targets) != MaxTargets {
		t.Fatalf("%v, %v", a.Targets, err)
	}
	if a.Targets[0].Host != "manya.example" || a.Targets[1].Host != "manya.example" || a.Targets[2].Host != "a.example" {
		t.Errorf("%v", a.Targets)
	}
}

// TestTroubleOfDNSIsNeverFinal: whatever goes wrong on the way to an answer, mail
// waits.
func TestTroubleOfDNSIsNeverFinal(t *testing.T) {
	faulty := dnstest.StartFaulty(t)
	f := newFinder(t, faulty.Address, func(o *Options) { o.DNSTimeout = 200 * time.Millisecond })
	for _, how := range []string{"x-silent", "x-servfail", "x-refused", "x-lame", "x-lame-nxdomain", "x-truncated-always", "x-truncated-hangup", "x-other-question",
		"x-other-id", "x-garbage", "x-circle", "x-chain"} {
		if got := show(f.Find(t.Context(), how+".example", Families{IPv4: true})); got != "DNS" {
			t.Errorf("%s: %s", how, got)
		}
	}
	for how, want := range map[string]string{"x-nxdomain": "no domain", "x-truncated-nxdomain": "no domain", "x-empty": "no address", "x-blocked": "no address"} {
		if got := show(f.Find(t.Context(), how+".example", Families{IPv4: true})); got != want {
			t.Errorf("%s: %s, want %s", how, got, want)
		}
	}
	f.Close()
	if got := show(f.Find(t.Context(), "x-nxdomain2.example", Families{IPv4: true})); got != "DNS" {
		t.Errorf("a finder that is closed says %s", got)
	}
}

// TestRewritingResolverIsNoHost: a resolver that answers for names that do not
// exist gets no mail.
func TestRewritingResolverIsNoHost(t *testing.T) {
	server := dnstest.Serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = append(m.Answer, dnstest.Record(q.Question[0].Name, dns.TypeA, 60, "11.9.9.9"))
		}
		w.WriteMsg(m)
	})
	if got := show(newFinder(t, server, nil).Find(t.Context(), "nowhere.example", Families{IPv4: true})); got != "DNS" {
		t.Errorf("got %s", got)
	}
}

// TestEqualsComeInRandomOrder by chi-square over the six orders of three.
func TestEqualsComeInRandomOrder(t *testing.T) {
	f := newFinder(t, dnstest.Knot(t, map[string]string{"example": zone}), nil)
	const n = 6000
	seen := map[string]int{}
	for range n {
		seen[show(f.Find(t.Context(), "equal.example", Families{IPv4: true}))]++
	}
	chi := 0.0
	for _, k := range seen {
		d := float64(k) - n/6
		chi += d * d / (n / 6)
	}
	if len(seen) != 6 || chi > 25.7 { // 5 degrees of freedom: one in 10,000 is above
		t.Errorf("chi-square %.1f over %v", chi, seen)
	}
}

func TestAddressesThatFailedComeLast(t *testing.T) {
	clock := dnstest.NewClock()
	f := newFinder(t, dnstest.Knot(t, map[string]string{"example": zone}), func(o *Options) { o.Now = clock.Now })
	find := func() string { return show(f.Find(t.Context(), "two.example", Families{IPv4: true})) }
	f.Failed(netip.MustParseAddr("11.0.0.1"))
	if got := find(); got != "b[11.0.0.2] a[11.0.0.1]" {
		t.Errorf("after a failure: %s", got)
	}
	clock.Add(failedFor)
	if got := find(); got != "a[11.0.0.1] b[11.0.0.2]" {
		t.Errorf("later: %s", got)
	}
	f.Failed(netip.MustParseAddr("11.0.0.1"))
	f.Worked("b.example", netip.MustParseAddr("11.0.0.1"))
	if got := find(); got != "a[11.0.0.1] b[11.0.0.2]" {
		t.Errorf("after a success: %s", got)
	}
	for i := range 3 * maxFailures {
		f.Failed(netip.AddrFrom4([4]byte{12, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	if n := len(f.failures.until); n > maxFailures {
		t.Errorf("%d failures are remembered", n)
	}
}

// TestOwnListenerIsNeverATarget, also where its network is allowed.
func TestOwnListenerIsNeverATarget(t *testing.T) {
	f := newFinder(t, dnstest.Knot(t, map[string]string{"example": zone}), func(o *Options) {
		o.Config.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		o.Config.Port = 2525
	})
	if got := show(f.Find(t.Context(), "loopback.example", Families{IPv4: true})); got != "loop" {
		t.Errorf("port of the listener: %s", got)
	}
	f.cfg.Port = 2526
	if got := show(f.Find(t.Context(), "loopback.example", Families{IPv4: true})); got != "lo[127.0.0.1]:2526" {
		t.Errorf("another port: %s", got)
	}
}

func TestFamiliesOfAStream(t *testing.T) {
	v4, v6 := netip.MustParseAddr("11.0.0.1"), netip.MustParseAddr("2a00::1")
	for _, row := range []struct {
		family  Family
		sources []netip.Addr
		want    string
	}{
		{FamilySource, nil, "IPv4"}, {FamilySource, []netip.Addr{v4}, "IPv4"}, {FamilySource, []netip.Addr{v6}, "IPv6"},
		{FamilySource, []netip.Addr{v4, v6}, "IPv4 and IPv6"}, {FamilyAny, nil, "IPv4 and IPv6"}, {FamilyIPv4, []netip.Addr{v6}, "IPv4"}, {FamilyIPv6, nil, "IPv6"},
	} {
		if got := (&Config{Family: row.family}).Families(row.sources).String(); got != row.want {
			t.Errorf("%s with %v: %s, want %s", row.family, row.sources, got, row.want)
		}
	}
}

// TestWhatAnOwnerOfADomainCanHaveUsDo: questions, targets and time have bounds,
// whatever stands in DNS.
func TestWhatAnOwnerOfADomainCanHaveUsDo(t *testing.T) {
	asked := make(chan string, 10_000)
	server := dnstest.Serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		name := q.Question[0].Name
		asked <- name
		switch {
		case strings.HasPrefix(name, "h"): // slow hosts: never answered
			return
		case q.Question[0].Qtype == dns.TypeMX:
			m.Compress = true
			for i := range 40 {
				m.Answer = append(m.Answer, dnstest.Record(name, dns.TypeMX, 1<<31-1, fmt.Sprintf("%d h%d.example.", i, i)))
			}
		}
		w.WriteMsg(m)
	})
	f := newFinder(t, server, func(o *Options) { o.DNSTimeout = 100 * time.Millisecond })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	began := time.Now()
	a, err := f.Find(ctx, "forty.example", Families{IPv4: true})
	if show(a, err) != "DNS" || a.Left != 20 {
		t.Errorf("%s, %d hosts left out", show(a, err), a.Left)
	}
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("it took %s", d)
	}
	hosts := map[string]bool{}
	for len(asked) > 0 {
		hosts[<-asked] = true
	}
	if n := len(hosts); n > maxExchangers+2 { // the domain, and the probe for a resolver that rewrites
		t.Errorf("asked for %d names: %v", n, hosts)
	}
}

// TestHostsThatWereNotLookedAt keep a refusal from being final: one of them may take mail.
func TestHostsThatWereNotLookedAt(t *testing.T) {
	z := dnstest.StartZone(t)
	for i := range 21 {
		z.Add(fmt.Sprintf("many.example. 60 MX %d h%d.many.example.", i, i), fmt.Sprintf("h%d.many.example. 60 A 10.0.0.1", i))
		if i < 20 {
			z.Add(fmt.Sprintf("few.example. 60 MX %d h%d.many.example.", i, i))
		}
	}
	z.Set("h20.many.example", "h20.many.example. 60 A 12.0.0.1")
	f := newFinder(t, z.Address, nil)
	if a, err := f.Find(t.Context(), "many.example", Families{IPv4: true}); !errors.Is(err, ErrDNS) || a.Problem != None {
		t.Errorf("%+v, %v", a.Problem, err)
	}
	if a, err := f.Find(t.Context(), "few.example", Families{IPv4: true}); err != nil || a.Problem != NoAddress {
		t.Errorf("%+v, %v", a.Problem, err)
	}
}

// TestOneGoodAddressAmongManyRefusedOnes is found, however many of a host are looked at.
func TestOneGoodAddressAmongManyRefusedOnes(t *testing.T) {
	z := dnstest.StartZone(t, "a.example. 60 MX 10 mx.a.example.", "mx.a.example. 60 A 12.0.0.1")
	for i := range 60 {
		z.Add(fmt.Sprintf("mx.a.example. 60 A 10.0.0.%d", i))
	}
	for range 5 { // they come in random order
		a, err := newFinder(t, z.Address, nil).Find(t.Context(), "a.example", Families{IPv4: true})
		if err != nil || len(a.Targets) != 1 || len(a.Exchangers[0].Addresses) != maxAddresses {
			t.Errorf("%+v, %v", a, err)
		}
	}
}

// TestOneQuestionAtATime: of many who ask for one domain only one asks DNS.
func TestOneQuestionAtATime(t *testing.T) {
	release, asked := make(chan struct{}), make(chan string, 1000)
	server := dnstest.Serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if name := q.Question[0].Name; !strings.HasSuffix(name, ".invalid.") {
			asked <- name
			<-release
		}
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable, m.Rcode = true, dns.RcodeNameError
		w.WriteMsg(m)
	})
	f := newFinder(t, server, nil)
	done := make(chan string)
	for range 50 {
		go func() { done <- show(f.Find(t.Context(), "busy.example", Families{IPv4: true})) }()
	}
	<-asked
	close(release)
	for range 50 {
		if got := <-done; got != "no domain" {
			t.Errorf("got %s", got)
		}
	}
	if n := len(asked); n > 0 {
		t.Errorf("asked %d times more", n)
	}
}

func TestConfigReportsWhatDoesNothing(t *testing.T) {
	var c Config
	c.SetDefaults()
	c.Port, c.Resolvers = 26, []string{"nonsense"}
	var keys []string
	c.Check(func(key, _ string) { keys = append(keys, key) })
	slices.Sort(keys)
	if fmt.Sprint(keys) != "[port resolvers resolvers.0]" {
		t.Errorf("%v", keys)
	}
}
