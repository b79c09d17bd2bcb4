package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"postern/mail"
)

const (
	auth530 = "530 5.7.0 authentication required"
	tls530  = "530 5.7.0 must issue a STARTTLS command first"
)

// peer describes a connection: address, SASL user, certificate names, TLS.
func peer(ip string, change ...func(p *mail.Peer)) *mail.Peer {
	p := &mail.Peer{Addr: netip.AddrPortFrom(netip.MustParseAddr(ip), 40000), Listener: "mta"}
	for _, f := range change {
		f(p)
	}
	return p
}

func overTLS(p *mail.Peer) { p.TLS.Version = "TLSv1.3" }
func as(user string) func(*mail.Peer) {
	return func(p *mail.Peer) { p.User = user }
}
func with(names ...string) func(*mail.Peer) {
	return func(p *mail.Peer) { p.Certificates = names; overTLS(p) }
}
func on(listener string) func(*mail.Peer) { return func(p *mail.Peer) { p.Listener = listener } }

func TestClientIsNamedByEveryConditionThatIsWritten(t *testing.T) {
	clients := map[string]ClientConfig{
		"office":  client(func(c *ClientConfig) { c.Networks = networksOf("10.0.0.0/16", "2001:db8:1::/48") }),
		"host":    client(func(c *ClientConfig) { c.Networks = networksOf("10.0.0.7/32") }),
		"floor":   client(func(c *ClientConfig) { c.Networks = networksOf("10.0.1.0/24") }),
		"mapped":  client(func(c *ClientConfig) { c.Networks = networksOf("::ffff:10.9.0.0/112") }),
		"shop":    client(func(c *ClientConfig) { c.Users = []string{"shop"} }),
		"both":    client(func(c *ClientConfig) { c.Users = []string{"till"}; c.Networks = networksOf("10.0.1.0/24") }),
		"cert":    client(func(c *ClientConfig) { c.Certificates = []string{"MTA.example.org"} }),
		"strict":  client(func(c *ClientConfig) { c.Networks = networksOf("10.3.0.0/16"); c.RequireTLS = true }),
		"submit":  client(func(c *ClientConfig) { c.Networks = networksOf("10.4.0.0/16"); c.Listeners = []string{"submission"} }),
		"strictu": client(func(c *ClientConfig) { c.Users = []string{"vault"}; c.RequireTLS = true }),
		"three": client(func(c *ClientConfig) {
			c.Users, c.Certificates, c.Networks = []string{"bank"}, []string{"bank.example"}, networksOf("10.5.0.0/16")
		}),
	}
	r := good(t, Config{Clients: clients})
	for _, tt := range []struct {
		name string
		peer *mail.Peer
		want string // a client, or a reply
	}{
		{"address in a network", peer("10.0.2.3"), "office"},
		{"IPv6 address in a network", peer("2001:db8:1::9"), "office"},
		{"IPv4 mapped into IPv6 is IPv4", peer("::ffff:10.0.2.3"), "office"},
		{"network mapped into IPv6 is IPv4", peer("10.9.0.1"), "mapped"},
		{"address with a zone", peer("2001:db8:1::9%eth0"), "office"},
		{"the longest network wins", peer("10.0.1.3"), "floor"},
		{"a host wins over its network", peer("10.0.0.7"), "host"},
		{"address in no network, where AUTH would help", peer("10.200.0.1"), auth530},
		{"user", peer("203.0.113.5", as("shop")), "shop"},
		{"user wins over the network of the peer", peer("10.0.0.7", as("shop")), "shop"},
		{"user in another case is another user", peer("203.0.113.5", as("Shop")), tls530}, // as vault, or by certificate
		{"user of no client", peer("203.0.113.5", as("nobody"), overTLS), "554 5.7.1 [203.0.113.5]: not an authorised client"},
		{"user of no client in a network is the network's", peer("10.0.0.7", as("nobody")), "host"},
		{"user and network", peer("10.0.1.9", as("till")), "both"},
		{"user without its network", peer("203.0.113.5", as("till"), overTLS), "554 5.7.1 [203.0.113.5]: not an authorised client"},
		{"network without its user", peer("10.0.1.9"), "floor"},
		{"certificate", peer("203.0.113.5", with("mta.example.org")), "cert"},
		{"certificate with the name in another case", peer("203.0.113.5", with("x", "MTA.EXAMPLE.ORG")), "cert"},
		{"certificate wins over the network", peer("10.0.0.7", with("mta.example.org")), "cert"},
		{"user wins over the certificate", peer("10.0.0.7", with("mta.example.org"), as("shop")), "shop"},
		{"certificate of somebody else", peer("203.0.113.5", with("mta.evil.example")), auth530},
		{"certificate with a name above", peer("203.0.113.5", with("example.org", "x.mta.example.org", "*.example.org"), as("x")), "554 5.7.1 [203.0.113.5]: not an authorised client"},
		{"network that asks for TLS", peer("10.3.0.1", overTLS), "strict"},
		{"network that asks for TLS, in plain text", peer("10.3.0.1", as("x")), tls530},
		{"on its listener", peer("10.4.0.1", on("submission")), "submit"},
		{"on another listener", peer("10.4.0.1", overTLS, as("x")), "554 5.7.1 [10.4.0.1]: not an authorised client"},
		{"user who asks for TLS", peer("203.0.113.5", overTLS, as("vault")), "strictu"},
		{"user who asks for TLS, in plain text", peer("203.0.113.5", as("vault")), tls530},
		{"three conditions", peer("10.5.0.1", with("bank.example"), as("bank")), "three"},
		{"three conditions, no user", peer("10.5.0.1", with("bank.example")), auth530},
		{"three conditions, other certificate", peer("10.5.0.1", with("x"), as("bank")), "554 5.7.1 [10.5.0.1]: not an authorised client"},
		{"three conditions, other network", peer("10.6.0.1", with("bank.example"), as("bank")), "554 5.7.1 [10.6.0.1]: not an authorised client"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, reply := r.Client(tt.peer)
			if (c == nil) == (reply == nil) {
				t.Fatalf("client %v and reply %v", c, reply)
			}
			got := ""
			if c != nil {
				got = c.Name()
			} else {
				got = reply.String()
			}
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestNobodyIsAClientByDefault(t *testing.T) {
	r := good(t, Config{})
	for _, p := range []*mail.Peer{
		{}, peer("127.0.0.1"), peer("::1"), peer("192.0.2.1", overTLS), peer("192.0.2.1", as("root"), with("", "x")),
	} {
		if c, reply := r.Client(p); c != nil || reply == nil || reply.Code != 554 {
			t.Errorf("%+v is %v, %v", p, c, reply)
		}
		if r.MayAuth(p) {
			t.Error("AUTH is offered, though there are no users")
		}
	}
}

func TestBlankPeerIsNoClient(t *testing.T) {
	r := good(t, Config{Clients: map[string]ClientConfig{
		"net":  client(func(c *ClientConfig) { c.Networks = networksOf("10.0.0.0/8", "2001:db8::/32") }),
		"user": client(func(c *ClientConfig) { c.Users = []string{"u"} }),
		"cert": client(func(c *ClientConfig) { c.Certificates = []string{"c"} }),
	}})
	for _, p := range []*mail.Peer{{}, {Certificates: []string{""}}, {Listener: "x", TLS: mail.TLS{Version: "TLSv1.3"}}} {
		if c, reply := r.Client(p); c != nil || !reply.Permanent() {
			t.Errorf("%+v is client %v", p, c)
		}
	}
}

func TestMayAuthOnlyWhereAUserWouldHelp(t *testing.T) {
	r := good(t, Config{Clients: map[string]ClientConfig{
		"net":  client(func(c *ClientConfig) { c.Networks = networksOf("10.0.0.0/16") }),
		"user": client(func(c *ClientConfig) { c.Users, c.Listeners = []string{"u"}, []string{"submission"} }),
		"both": client(func(c *ClientConfig) { c.Users, c.Networks = []string{"b"}, networksOf("10.1.0.0/16") }),
		"cert": client(func(c *ClientConfig) {
			c.Users, c.Certificates, c.Networks = []string{"c"}, []string{"c"}, networksOf("10.2.0.0/16")
		}),
	}})
	for _, tt := range []struct {
		name string
		peer *mail.Peer
		want bool
	}{
		{"network alone", peer("10.0.0.1"), false},
		{"user on another listener", peer("203.0.113.5"), false},
		{"user on its listener", peer("203.0.113.5", on("submission")), true},
		{"network of a user", peer("10.1.0.1"), true},
		{"network of a user with certificate", peer("10.2.0.1"), true},
	} {
		if got := r.MayAuth(tt.peer); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// reference is Client by the words of its comment: look at every client.
func reference(r *Rules, p *mail.Peer) *Client {
	ip := address(p)
	var all []*Client
	bits := func(c *Client) int {
		most := -1
		for _, n := range c.cfg.Networks {
			if n.Contains(ip) {
				most = max(most, n.Bits())
			}
		}
		return most
	}
	for _, c := range r.clients {
		certs := slices.ContainsFunc(p.Certificates, func(s string) bool { return slices.Contains(c.cfg.Certificates, s) })
		if (len(c.cfg.Networks) == 0 || bits(c) >= 0) && (len(c.cfg.Users) == 0 || slices.Contains(c.cfg.Users, p.User)) &&
			(len(c.cfg.Certificates) == 0 || certs) && (len(c.cfg.Listeners) == 0 || slices.Contains(c.cfg.Listeners, p.Listener)) &&
			(!c.cfg.RequireTLS || p.TLS.On()) {
			all = append(all, c)
		}
	}
	rank := func(c *Client) []int {
		n := func(b bool) int {
			if b {
				return 1
			}
			return 0
		}
		return []int{n(len(c.cfg.Users) > 0), n(len(c.cfg.Certificates) > 0), bits(c), n(len(c.cfg.Listeners) > 0), n(c.cfg.RequireTLS)}
	}
	if len(all) == 0 {
		return nil
	}
	return slices.MinFunc(all, func(a, b *Client) int { return slices.Compare(rank(b), rank(a)) }) // the first of equals, by name
}

func TestClientLookupEqualsLookingAtEveryClient(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(from []string) (some []string) {
		for _, s := range from {
			if rnd.IntN(3) == 0 {
				some = append(some, s)
			}
		}
		return some
	}
	networks := []string{"10.0.0.0/9", "10.0.0.0/16", "10.0.1.0/24", "10.0.1.1/32", "2001:db8::/48", "2001:db8::1/128"}
	users, certs, listeners := []string{"u", "v", "w"}, []string{"c", "d"}, []string{"l", "m"}
	found := 0
	for range 300 {
		clients := map[string]ClientConfig{}
		for i := range 12 {
			clients[fmt.Sprint("c", i)] = client(func(c *ClientConfig) {
				c.Networks, c.Users, c.Certificates = networksOf(pick(networks)...), pick(users), pick(certs)
				c.Listeners, c.RequireTLS = pick(listeners), rnd.IntN(3) == 0
				if rnd.IntN(2) == 0 {
					c.Users = nil
				}
				if len(c.Networks)+len(c.Users)+len(c.Certificates) == 0 {
					c.Users = []string{"x"}
				}
			})
		}
		// Ties would be refused at load; their order is by name all the same.
		b := builder{parse: parse, problem: func(path, text string) { t.Fatal(path, text) }, warn: func(string, string) {}, streams: map[string]*stream{"main": {}}}
		r := &Rules{}
		for _, name := range sorted(clients) {
			r.clients = append(r.clients, b.client(name, clients[name]))
		}
		r.index = newIndex(r.clients)
		for range 60 {
			p := peer([]string{"10.0.1.1", "10.0.1.2", "10.0.2.1", "10.1.1.1", "11.0.0.1", "2001:db8::1", "2001:db8::2", "::ffff:10.0.1.1"}[rnd.IntN(8)])
			p.Listener = []string{"l", "m", "n"}[rnd.IntN(3)]
			p.User = []string{"", "u", "v", "w", "z"}[rnd.IntN(5)]
			if rnd.IntN(2) == 0 {
				overTLS(p)
				p.Certificates = pick(certs)
			}
			want := reference(r, p)
			got, reply := r.Client(p)
			if got != want || (got == nil) == (reply == nil) {
				t.Fatalf("%+v is %v, want %v", p, got, want)
			}
			if got != nil {
				found++
			}
			checkHelp(t, r, p, reply)
		}
	}
	if found < 1000 {
		t.Errorf("only %d peers were clients", found)
	}
}

// checkHelp tries what the reply tells the peer to do: 530 exactly where
// authentication as somebody, or TLS with a certificate, could help.
func checkHelp(t *testing.T, r *Rules, p *mail.Peer, reply *mail.Reply) {
	t.Helper()
	helps := func(users []string, certs [][]string, tls bool) bool {
		for _, u := range users {
			for _, names := range certs {
				q := *p
				q.User, q.Certificates = u, names
				if tls {
					overTLS(&q)
				}
				if reference(r, &q) != nil {
					return true
				}
			}
		}
		return false
	}
	checkWays(t, r, p)
	users := []string{p.User}
	if p.User == "" {
		users = []string{"u", "v", "w", "x"}
	}
	certs := [][]string{nil, {"c"}, {"d"}}
	auth := p.User == "" && helps(users, [][]string{p.Certificates}, false)
	tls := !p.TLS.On() && (helps(append(users, p.User), certs, true))
	if reply == nil {
		return
	}
	if auth && !r.MayAuth(p) {
		t.Fatalf("%+v: AUTH would help and is not offered", p)
	}
	want := reply.Code == 554
	switch {
	case auth:
		want = reply.String() == auth530
	case tls:
		want = reply.String() == tls530
	}
	if !want {
		t.Fatalf("%+v: reply %v, AUTH would help %v, TLS would help %v", p, reply, auth, tls)
	}
}

// checkWays holds MayBecome against trying all that a fresh connection from
// p's address could show, and InNetworks against the clients.
func checkWays(t *testing.T, r *Rules, p *mail.Peer) {
	t.Helper()
	for bits := range 8 {
		w := Ways{Password: bits&1 != 0, TLS: bits&2 != 0, Certificate: bits&6 == 6}
		fresh := mail.Peer{Addr: p.Addr, Listener: p.Listener}
		if got, want := r.MayBecome(&fresh, w), couldBecome(r, fresh, w); got != want {
			t.Fatalf("%+v by %+v: %v, but trying gives %v", fresh, w, got, want)
		}
	}
	within := slices.ContainsFunc(r.clients, func(c *Client) bool {
		return len(c.cfg.Networks) > 0 && c.onListener(p) && slices.ContainsFunc(c.cfg.Networks, func(n netip.Prefix) bool { return n.Contains(address(p)) })
	})
	if got := r.InNetworks(p); got != within || got && !r.HaveNetworks(p.Listener) {
		t.Fatalf("%+v: in networks %v, want %v", p, got, within)
	}
}

func couldBecome(r *Rules, fresh mail.Peer, w Ways) bool {
	users, certs, tls := []string{""}, [][]string{nil}, []bool{false}
	if w.Password {
		users = append(users, "u", "v", "w", "x")
	}
	if w.TLS {
		tls = append(tls, true)
	}
	if w.Certificate {
		certs = append(certs, []string{"c"}, []string{"d"}, []string{"c", "d"})
	}
	for _, on := range tls {
		for _, user := range users {
			for _, names := range certs {
				q := fresh
				q.User = user
				if on {
					overTLS(&q)
					q.Certificates = names
				}
				if reference(r, &q) != nil {
					return true
				}
			}
		}
	}
	return false
}
