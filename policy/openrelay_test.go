package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestOpenRelayIsRefusedAtLoad(t *testing.T) {
	const open, wide = "that is an open relay", "is very wide"
	halves4 := []string{"0.0.0.0/1", "128.0.0.0/1"}
	for _, tt := range []struct {
		name          string
		networks      []string
		problem, warn string
	}{
		{name: "all of IPv4", networks: []string{"0.0.0.0/0"}, problem: open},
		{name: "all of IPv6", networks: []string{"::/0"}, problem: open},
		{name: "all of IPv4 among others", networks: []string{"10.0.0.0/24", "0.0.0.0/0"}, problem: open},
		{name: "both halves of IPv4", networks: halves4, problem: open},
		{name: "half of IPv4", networks: halves4[:1], problem: open},
		{name: "three quarters", networks: []string{"0.0.0.0/2", "64.0.0.0/2", "192.0.0.0/2"}, problem: open},
		{name: "all but a hole", networks: []string{"0.0.0.0/2", "64.0.0.0/3", "96.0.0.0/4", "112.0.0.0/5", "128.0.0.0/1"}, problem: open},
		{name: "halves of halves that overlap", networks: []string{"0.0.0.0/2", "0.0.0.0/3", "64.0.0.0/2", "0.0.0.0/1"}, problem: open},
		{name: "IPv4 as mapped into IPv6", networks: []string{"::ffff:0:0/96"}, problem: open},
		{name: "its halves", networks: []string{"::ffff:0:0/97", "::ffff:128.0.0.0/97"}, problem: open},
		{name: "both halves of IPv6", networks: []string{"::/1", "8000::/1"}, problem: open},
		{name: "the half of IPv6 that is in use", networks: []string{"::/1"}, problem: open},
		{name: "global unicast", networks: []string{"2000::/3"}, problem: open},
		{name: "all that the registries have given out", networks: []string{"2000::/4"}, problem: open},
		{name: "half of it", networks: []string{"2000::/5"}, problem: open},
		{name: "IPv4 behind NAT64", networks: []string{"64:ff9b::/96"}, problem: open},
		{name: "IPv4 behind 6to4", networks: []string{"2002::/16"}, problem: open},
		{name: "256 networks that are everything", networks: slash8(256), problem: open},
		{name: "128 networks that are half", networks: slash8(128), problem: open},

		{name: "a /8", networks: []string{"10.0.0.0/8"}, warn: wide},
		{name: "a /2", networks: []string{"64.0.0.0/2"}, warn: wide},
		{name: "a quarter, told four times", networks: []string{"64.0.0.0/2", "64.0.0.0/3", "96.0.0.0/3", "64.0.0.0/2"}, warn: wide},
		{name: "a /8 mapped into IPv6", networks: []string{"::ffff:10.0.0.0/104"}, warn: wide},
		{name: "a /32 of IPv6", networks: []string{"2001:db8::/32"}, warn: wide},
		{name: "a /7 of IPv6", networks: []string{"fc00::/7"}, warn: wide},
		{name: "a /9", networks: []string{"10.0.0.0/9"}},
		{name: "a /33 of IPv6", networks: []string{"2001:db8::/33"}},
		{name: "one host", networks: []string{"192.0.2.1/32", "2001:db8::1/128"}},
		{name: "the same host often", networks: slices.Repeat([]string{"192.0.2.1/32"}, 300)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, s := compile(Config{Clients: map[string]ClientConfig{"one": anna(func(c *ClientConfig) { c.Networks = networksOf(tt.networks...) })}})
			if (r == nil) != (tt.problem != "") {
				t.Errorf("rules %v", r)
			}
			only(t, "problem", s.problems, tt.problem)
			only(t, "warning", s.warnings, tt.warn)

			// With a password or a certificate an address may be any.
			for _, add := range []func(c *ClientConfig){
				func(c *ClientConfig) { c.Users = []string{"u"} },
				func(c *ClientConfig) { c.Certificates = []string{"mta.example.org"} },
			} {
				r, s := compile(Config{Clients: map[string]ClientConfig{"one": anna(func(c *ClientConfig) { c.Networks = networksOf(tt.networks...); add(c) })}})
				if r == nil || len(s.problems)+len(s.warnings) > 0 {
					t.Errorf("with one more condition: %q, %q", s.problems, s.warnings)
				}
			}
		})
	}
}

func slash8(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("%d.0.0.0/8", i))
	}
	return all
}

// only holds what was said to one text, or to none.
func only(t *testing.T, kind string, all []string, want string) {
	t.Helper()
	all = slices.Compact(slices.Clone(all))
	if want == "" && len(all) > 0 {
		t.Errorf("%s %q", kind, all)
	}
	if want != "" && (len(all) == 0 || !strings.Contains(all[0], want)) {
		t.Errorf("%s %q, want %q", kind, all, want)
	}
}

func TestOpenRelayIsRefusedWhenCutIntoClients(t *testing.T) {
	_, s := compile(Config{Clients: map[string]ClientConfig{
		"a": anna(func(c *ClientConfig) { c.Networks = networksOf("0.0.0.0/2") }),
		"b": anna(func(c *ClientConfig) { c.Networks = networksOf("64.0.0.0/2") }),
		"c": anna(func(c *ClientConfig) { c.Networks, c.Users = networksOf("128.0.0.0/1"), []string{"u"} }),
	}})
	want := "client: the networks of a, b together hold most of IPv4, and nothing else is asked: that is an open relay; name your own networks, or add users or certificates"
	if len(s.problems) != 1 || s.problems[0] != want {
		t.Errorf("%q", s.problems)
	}
}

func TestOpenRelayOnAListenerOrUnderTLSIsStillOne(t *testing.T) {
	_, s := compile(Config{Clients: map[string]ClientConfig{"one": anna(func(c *ClientConfig) {
		c.Networks, c.Listeners, c.RequireTLS = networksOf("0.0.0.0/0"), []string{"internal"}, true
	})}})
	only(t, "problem", s.problems, "that is an open relay")
}

func TestCompileReportsEveryProblem(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(c *ClientConfig)
		want   string
	}{
		{"no condition", func(c *ClientConfig) { c.Networks = nil }, "client.one: has no condition, so everybody would be this client; write networks, users or certificates"},
		{"a listener alone is no condition", func(c *ClientConfig) { c.Networks, c.Listeners = nil, []string{"x"} }, "client.one: has no condition"},
		{"TLS alone is no condition", func(c *ClientConfig) { c.Networks, c.RequireTLS = nil, true }, "client.one: has no condition"},
		{"a blank user", func(c *ClientConfig) { c.Networks, c.Users = nil, []string{""} }, "client.one.users.0: is blank; write a name or remove it"},
		{"a blank certificate", func(c *ClientConfig) { c.Certificates = []string{"a.example", " "} }, "client.one.certificates.1: is blank"},
		{"a blank listener", func(c *ClientConfig) { c.Listeners = []string{""} }, "client.one.listeners.0: is blank"},
		{"a pattern of certificates", func(c *ClientConfig) { c.Certificates = []string{"*.example.org"} }, `client.one.certificates.0: "*.example.org" is a pattern; write each name in full`},
		{"a zero network", func(c *ClientConfig) { c.Networks = append(c.Networks, netip.Prefix{}) }, `client.one.networks.1: is not a network; write one such as "192.0.2.0/24"`},
		{"bits beyond the length", func(c *ClientConfig) { c.Networks = networksOf("10.1.2.3/8") }, "client.one.networks.0: 10.1.2.3/8 has bits set beyond its length; write 10.0.0.0/8, or 10.1.2.3 for the one address"},
		{"no stream", func(c *ClientConfig) { c.Stream = "" }, "client.one.stream: missing; name the table [stream.NAME] by which its mail leaves"},
		{"a stream that is not there", func(c *ClientConfig) { c.Stream = "news" }, "client.one.stream: there is no [stream.news]; write that table or correct the name"},
		{"a sender that is none", func(c *ClientConfig) { c.Senders = []string{"@example.org", "news"} }, `client.one.senders.1: "news" is not a pattern of addresses; write one such as "news@example.org", "@example.org" or "@*.example.org"`},
		{"a blank sender", func(c *ClientConfig) { c.Senders = []string{""} }, `client.one.senders.0: "" is not a pattern`},
		{"a recipient that is none", func(c *ClientConfig) { c.RefuseRecipients = []string{"x@"} }, `client.one.refuse_recipients.0: "x@" is not a pattern`},
		{"an allowed recipient that is none", func(c *ClientConfig) { c.AllowRecipients = []string{"example.org"} }, `client.one.allow_recipients.0: "example.org" is not a pattern`},
		{"a limit that limits nothing", func(c *ClientConfig) { c.NullSenderLimit = nil }, `client.one.null_sender_limit: blank, so null_sender = "limit" has no limit; write a list such as ["20/1h"]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, s := compile(Config{Clients: map[string]ClientConfig{"one": anna(tt.change)}})
			if r != nil || len(s.problems) != 1 || !strings.HasPrefix(s.problems[0], tt.want) {
				t.Errorf("rules %v, problems %q, want %q", r, s.problems, tt.want)
			}
		})
	}
}

func TestCompileWarnsOfWhatIsHardlyMeant(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(c *ClientConfig)
		want   string
	}{
		{"no senders", func(c *ClientConfig) { c.Senders = nil }, "client.one.senders: blank, so this client can send nothing"},
		{"a whole top-level domain", func(c *ClientConfig) { c.Senders = []string{"@*.org"} }, `client.one.senders.0: "@*.org" owns every domain below "org"`},
	} {
		r, s := compile(Config{Clients: map[string]ClientConfig{"one": anna(tt.change)}})
		if r == nil || len(s.warnings) != 1 || !strings.HasPrefix(s.warnings[0], tt.want) {
			t.Errorf("%s: %q", tt.name, s.warnings)
		}
	}
}

func TestCompileQuotesNamesAsTOMLDoes(t *testing.T) {
	_, s := compile(Config{Clients: map[string]ClientConfig{"a.b c": anna(func(c *ClientConfig) { c.Stream = "" })}})
	if len(s.problems) != 1 || !strings.HasPrefix(s.problems[0], `client."a.b c".stream: `) {
		t.Errorf("%q", s.problems)
	}
}

func TestInternalDomainsAreDomains(t *testing.T) {
	_, s := compile(Config{InternalDomains: []string{"example.org", "*.example.org", "", "a@example.org", "@example.org", "*"}})
	if len(s.problems) != 4 || !strings.HasPrefix(s.problems[0], `internal_domains.2: "" is not a domain; write one such as "example.org" or "*.example.org"`) {
		t.Errorf("%q", s.problems)
	}
}

// Two clients that nothing tells apart would leave it to chance which senders
// a peer owns.
func TestTiesAreRefused(t *testing.T) {
	type change func(c *ClientConfig)
	net := func(texts ...string) change { return func(c *ClientConfig) { c.Networks = networksOf(texts...) } }
	users := func(names ...string) change { return func(c *ClientConfig) { c.Users = names } }
	certs := func(names ...string) change { return func(c *ClientConfig) { c.Certificates = names } }
	listeners := func(names ...string) change { return func(c *ClientConfig) { c.Listeners = names } }
	tls := func(c *ClientConfig) { c.RequireTLS = true }
	all := func(changes ...change) change {
		return func(c *ClientConfig) {
			for _, f := range changes {
				f(c)
			}
		}
	}
	for _, tt := range []struct {
		name string
		a, b change
		tie  string
	}{
		{"same network", net("10.0.0.0/24"), net("192.0.2.0/24", "10.0.0.0/24"), "network 10.0.0.0/24"},
		{"same network, once mapped", net("10.0.0.0/24"), net("::ffff:10.0.0.0/120"), "network 10.0.0.0/24"},
		{"one network in the other", net("10.0.0.0/24"), net("10.0.0.0/25"), ""},
		{"other listeners", all(net("10.0.0.0/24"), listeners("x", "y")), all(net("10.0.0.0/24"), listeners("z")), ""},
		{"a listener in common", all(net("10.0.0.0/24"), listeners("x", "y")), all(net("10.0.0.0/24"), listeners("y", "z")), "network 10.0.0.0/24"},
		{"one on all listeners", all(net("10.0.0.0/24"), listeners("x")), net("10.0.0.0/24"), ""},
		{"one under TLS", all(net("10.0.0.0/24"), tls), net("10.0.0.0/24"), ""},
		{"one with users", all(net("10.0.0.0/24"), users("u")), net("10.0.0.0/24"), ""},
		{"other users", all(net("10.0.0.0/24"), users("u")), all(net("10.0.0.0/24"), users("v")), ""},
		{"same user in the network", all(net("10.0.0.0/24"), users("u")), all(net("10.0.0.0/24"), users("v", "u")), "user u"},
		{"same user", users("u"), users("u"), "user u"},
		{"same user in other networks", all(net("10.0.0.0/24"), users("u")), all(net("10.0.1.0/24"), users("u")), ""},
		{"same user, once in a network", all(net("10.0.0.0/24"), users("u")), users("u"), ""},
		{"same certificate", certs("a.example"), certs("A.example"), "certificate a.example"},
		{"same user, once with a certificate", all(users("u"), certs("a.example")), users("u"), ""},
		{"same certificate, once with a user", all(users("u"), certs("a.example")), certs("a.example"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clients := map[string]ClientConfig{"a": anna(all(net(), tt.a)), "b": anna(all(net(), tt.b))}
			r, s := compile(Config{Clients: clients})
			want := []string{}
			if tt.tie != "" {
				want = append(want, "client.b: a peer could be this client or client a with equal right ("+tt.tie+"); join the two, or add a condition to one")
			}
			if (r == nil) != (tt.tie != "") || !slices.Equal(s.problems, want) {
				t.Errorf("%q, want %q", s.problems, want)
			}
		})
	}
}
