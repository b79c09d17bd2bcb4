package policy

import (
	"net/netip"
	"strings"
	"testing"

	"postern/mail"
)

// TestLenientTo: by address before the client is known, by the client behind that.
func TestLenientTo(t *testing.T) {
	client := func(change func(*ClientConfig)) ClientConfig {
		var c ClientConfig
		c.SetDefaults()
		c.Senders, c.Stream = []string{"@example.org"}, "main"
		change(&c)
		return c
	}
	net := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	rules := Compile(Config{Streams: map[string]StreamConfig{"main": {}}, Clients: map[string]ClientConfig{
		"cams":   client(func(c *ClientConfig) { c.Networks, c.Forms = net("192.0.2.0/28"), LenientForms }),
		"office": client(func(c *ClientConfig) { c.Networks = net("192.0.2.16/28") }),
		"one":    client(func(c *ClientConfig) { c.Networks = net("192.0.2.1/32") }),
		"ups": client(func(c *ClientConfig) {
			c.Networks, c.Users, c.Forms = net("192.0.2.16/28"), []string{"ups"}, LenientForms
		}),
		"phone": client(func(c *ClientConfig) { c.Users, c.Forms = []string{"phone"}, LenientForms }),
		"shop":  client(func(c *ClientConfig) { c.Users = []string{"shop"} }),
		"lab": client(func(c *ClientConfig) {
			c.Networks, c.Listeners, c.Forms = net("198.51.100.0/24"), []string{"lab"}, LenientForms
		}),
		"tls": client(func(c *ClientConfig) {
			c.Networks, c.RequireTLS, c.Forms = net("203.0.113.0/24"), true, LenientForms
		}),
	}}, parse, func(path, text string) { t.Errorf("%s: %s", path, text) }, func(string, string) {})
	if rules == nil {
		t.FailNow()
	}
	for _, tt := range []struct {
		name, ip, user, listener string
		before, atMail           bool
	}{
		{name: "lenient by address", ip: "192.0.2.2", before: true, atMail: true},
		{name: "IPv4 in IPv6", ip: "::ffff:192.0.2.2", before: true, atMail: true},
		{name: "a stricter client of one address within", ip: "192.0.2.1"},
		{name: "strict by address, lenient behind AUTH", ip: "192.0.2.17", before: true},
		{name: "lenient behind AUTH", ip: "192.0.2.17", user: "ups", before: true, atMail: true},
		{name: "strict behind AUTH, at a lenient address", ip: "192.0.2.2", user: "shop"},
		{name: "lenient without networks, before AUTH", ip: "192.0.2.99"},
		{name: "lenient without networks, behind AUTH", ip: "192.0.2.99", user: "phone", before: true, atMail: true},
		{name: "another listener", ip: "198.51.100.1"},
		{name: "its listener", ip: "198.51.100.1", listener: "lab", before: true, atMail: true},
		{name: "before TLS", ip: "203.0.113.1", before: true, atMail: true},
		{name: "no address", ip: ""},
	} {
		p := mail.Peer{User: tt.user, Listener: tt.listener}
		if tt.ip != "" {
			p.Addr = netip.AddrPortFrom(netip.MustParseAddr(tt.ip), 25)
		}
		if got := rules.LenientTo(&p); got != tt.before {
			t.Errorf("%s: LenientTo is %v", tt.name, got)
		}
		if got := rules.LenientAtMail(&p); got != tt.atMail {
			t.Errorf("%s: LenientAtMail is %v", tt.name, got)
		}
	}
}

func TestExplainTellsOfForms(t *testing.T) {
	c := ClientConfig{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}, Senders: []string{"@example.org"}, Stream: "main", Forms: LenientForms}
	d := ClientConfig{Users: []string{"cam"}, Senders: []string{"@example.org"}, Stream: "main", Forms: LenientForms}
	e := ClientConfig{Users: []string{"shop"}, Senders: []string{"@example.org"}, Stream: "main"}
	rules := Compile(Config{Streams: map[string]StreamConfig{"main": {}}, Clients: map[string]ClientConfig{"a": c, "b": d, "c": e}},
		parse, func(path, text string) { t.Errorf("%s: %s", path, text) }, func(string, string) {})
	for i, want := range []string{"are written anew\n", "for it has no networks\n", ""} {
		var b strings.Builder
		if err := rules.ExplainClient(&b, rules.Clients()[i]); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "forms:") != (want != "") || !strings.Contains(b.String(), want) {
			t.Errorf("%s", b.String())
		}
	}
}
