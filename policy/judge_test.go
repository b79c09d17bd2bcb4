package policy

import (
	"testing"

	"postern/mail"
)

func TestSenderMustBeOwned(t *testing.T) {
	r, c := one(t, anna(func(c *ClientConfig) { c.Senders = []string{"news@shop.example.org", "@example.org"} }))
	for _, tt := range []struct{ name, from, want string }{
		{"in the domain", "anna@example.org", ""},
		{"in another case", "ANNA@EXAMPLE.ORG", ""},
		{"the one address", "news@shop.example.org", ""},
		{"another there", "admin@shop.example.org", "553 5.7.1 <admin@shop.example.org>: sender not owned by this client"},
		{"somebody else", "ceo@evil.example", "553 5.7.1 <ceo@evil.example>: sender not owned by this client"},
		{"percent hack", "anna%example.org@evil.example", "553 5.7.1 <anna%example.org@evil.example>: sender not owned by this client"},
		{"bang path", "example.org!anna@evil.example", "553 5.7.1 <example.org!anna@evil.example>: sender not owned by this client"},
		{"quoted at sign", `"anna@example.org"@evil.example`, `553 5.7.1 <"anna@example.org"@evil.example>: sender not owned by this client`},
		{"literal", "anna@[192.0.2.1]", "553 5.7.1 <anna@[192.0.2.1]>: sender not owned by this client"},
		{"beyond ASCII", "jdöe@mächine.example", `553 5.7.1 <jd\x{F6}e@xn--mchine-bua.example>: sender not owned by this client`},
		{"parent domain", "anna@org", "553 5.7.1 <anna@org>: sender not owned by this client"},
	} {
		t.Run(tt.name, func(t *testing.T) { wantReply(t, r.Sender(c, addr(t, tt.from)), tt.want) })
	}
}

func TestWhoOwnsNothingSendsNothing(t *testing.T) {
	r, c := one(t, anna(func(c *ClientConfig) { c.Senders, c.NullSender = nil, RejectNull }))
	for _, s := range []string{"anna@example.org", "<>", "root@localhost", "a@[192.0.2.1]"} {
		if reply := r.Sender(c, addr(t, s)); reply == nil {
			t.Errorf("%s may be sent from", s)
		}
	}
	for _, m := range []Mismatch{"", RejectMismatch} {
		c.cfg.FromMismatch = m
		if _, reply, _ := r.Header(c, facts(t, "From: anna@example.org\r\n")); reply == nil {
			t.Error("a header may name a sender")
		}
	}
}

func TestNullSender(t *testing.T) {
	const refused = "553 5.7.1 <>: null reverse-path not allowed for this client"
	for _, tt := range []struct {
		value NullSender
		want  string
	}{
		{RejectNull, refused},
		{"", refused}, // blank never widens
		{"anything", refused},
		{LimitNull, ""},
		{AllowNull, ""},
	} {
		t.Run(string(tt.value), func(t *testing.T) {
			r, c := one(t, anna(func(c *ClientConfig) { c.NullSender = tt.value }))
			wantReply(t, r.Sender(c, mail.Address{}), tt.want)
		})
	}
}

func TestPostmasterWithoutDomainOwnsNothing(t *testing.T) {
	r, c := one(t, anna(nil))
	if r.Sender(c, mail.Postmaster) == nil {
		t.Error("the bare postmaster is a sender")
	}
}

func TestRecipients(t *testing.T) {
	const to, literal = "ben@partner.example", "root@[192.0.2.1]"
	refused := func(s string) string { return "550 5.7.1 <" + s + ">: recipient not allowed for this client" }
	for _, tt := range []struct {
		name   string
		client func(c *ClientConfig)
		stream func(s *StreamConfig)
		to     string
		want   string
	}{
		{name: "everybody by default", to: to},
		{name: "literal by default", to: literal, want: refused(literal)},
		{name: "literal where allowed", client: func(c *ClientConfig) { c.AddressLiterals = true }, to: literal},
		{name: "refused address", client: func(c *ClientConfig) { c.RefuseRecipients = []string{to} }, to: "BEN@Partner.example", want: refused("BEN@partner.example")},
		{name: "refused domain", client: func(c *ClientConfig) { c.RefuseRecipients = []string{"@partner.example"} }, to: to, want: refused(to)},
		{name: "refused quoted form", client: func(c *ClientConfig) { c.RefuseRecipients = []string{to} }, to: `"ben"@partner.example`, want: refused(to)},
		{name: "refused by the stream", stream: func(s *StreamConfig) { s.RefuseRecipients = []string{"@*.example"} }, to: to, want: refused(to)},
		{name: "refused wins over allowed", client: func(c *ClientConfig) {
			c.RefuseRecipients, c.AllowRecipients = []string{to}, []string{"@partner.example"}
		}, to: to, want: refused(to)},
		{name: "allowed", client: func(c *ClientConfig) { c.AllowRecipients = []string{"@partner.example"} }, to: to},
		{name: "not among the allowed", client: func(c *ClientConfig) { c.AllowRecipients = []string{"@partner.example"} }, to: "ben@other.example", want: refused("ben@other.example")},
		{name: "not among the allowed by percent hack", client: func(c *ClientConfig) { c.AllowRecipients = []string{"@partner.example"} }, to: "ben%partner.example@other.example", want: refused("ben%partner.example@other.example")},
		{name: "not among those of the stream", stream: func(s *StreamConfig) { s.AllowRecipients = []string{"@other.example"} }, to: to, want: refused(to)},
		{name: "allowed by the client, not by the stream", client: func(c *ClientConfig) { c.AllowRecipients = []string{to} },
			stream: func(s *StreamConfig) { s.AllowRecipients = []string{"@other.example"} }, to: to, want: refused(to)},
		{name: "allowed by both", client: func(c *ClientConfig) { c.AllowRecipients = []string{to} },
			stream: func(s *StreamConfig) { s.AllowRecipients = []string{"@*.example"} }, to: to},
		{name: "IDN in either form", client: func(c *ClientConfig) { c.RefuseRecipients = []string{"@mächine.example"} }, to: "a@xn--mchine-bua.example", want: refused("a@xn--mchine-bua.example")},
		{name: "literal refused as mapped", client: func(c *ClientConfig) {
			c.AddressLiterals, c.RefuseRecipients = true, []string{"@[192.0.2.1]"}
		}, to: "root@[IPv6:::ffff:192.0.2.1]", want: refused(literal)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s StreamConfig
			s.SetDefaults()
			if tt.stream != nil {
				tt.stream(&s)
			}
			r := good(t, Config{Clients: map[string]ClientConfig{"one": anna(tt.client)}, Streams: map[string]StreamConfig{"main": s}})
			wantReply(t, r.Recipient(r.Clients()[0], addr(t, tt.to)), tt.want)
		})
	}
}

func TestInternal(t *testing.T) {
	r := good(t, Config{InternalDomains: []string{"Example.org", "*.mächine.example"}})
	for s, want := range map[string]bool{
		"a@example.org": true, "a@EXAMPLE.ORG": true, "a@x.example.org": false, "a@x.xn--mchine-bua.example": true,
		"a@xn--mchine-bua.example": false, "a%example.org@partner.example": false,
	} {
		if r.Internal(addr(t, s)) != want {
			t.Errorf("%s internal: %v", s, !want)
		}
	}
	if good(t, Config{}).Internal(addr(t, "a@example.org")) {
		t.Error("somebody is internal, though no domain is")
	}
}

// A client sees what the settings of its table say and no table of another.
func TestClientSettings(t *testing.T) {
	_, c := one(t, anna(func(c *ClientConfig) { c.HideClient, c.AddressLiterals = true, true }))
	if c.Name() != "one" || c.Stream() != "main" || !c.HideClient() || !c.AddressLiterals() {
		t.Errorf("%+v", c)
	}
}
