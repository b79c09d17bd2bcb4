package policy

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"postern/internal/syntax"
	"postern/mail"
)

// many makes rules of n clients of each kind: a host, a user, a user in a
// network that all share, a certificate; each with a sender of its own, and one
// client with n senders and n refused recipients.
func many(b *testing.B, n int) *Rules {
	b.Helper()
	clients := map[string]ClientConfig{}
	var senders, refused []string
	for i := range n {
		own := []string{fmt.Sprintf("@c%d.example.org", i), fmt.Sprintf("@*.c%d.example.org", i), fmt.Sprintf("news%d@example.org", i)}
		senders = append(senders, own...)
		refused = append(refused, fmt.Sprintf("x%d@partner.example", i))
		add := func(kind string, change func(c *ClientConfig)) {
			clients[fmt.Sprint(kind, i)] = client(func(c *ClientConfig) { c.Senders = own; change(c) })
		}
		host := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		add("host", func(c *ClientConfig) { c.Networks = []netip.Prefix{netip.PrefixFrom(host, 32)} })
		add("user", func(c *ClientConfig) { c.Users = []string{fmt.Sprint("user", i)} })
		add("desk", func(c *ClientConfig) {
			c.Users, c.Networks = []string{fmt.Sprint("desk", i)}, networksOf("172.16.0.0/12", "2001:db8::/32")
		})
		add("cert", func(c *ClientConfig) { c.Certificates = []string{fmt.Sprintf("mta%d.example.org", i)} })
	}
	clients["big"] = client(func(c *ClientConfig) {
		c.Networks, c.Senders, c.RefuseRecipients = networksOf("192.0.2.0/24"), senders, refused
	})
	return good(b, Config{Clients: clients})
}

var sizes = []int{10, 10000}

func BenchmarkClient(b *testing.B) {
	for _, n := range sizes {
		r := many(b, n)
		for _, v := range []struct {
			name string
			peer *mail.Peer
		}{
			{"host", peer(netip.AddrFrom4([4]byte{10, 0, 0, byte(n / 2)}).String())},
			{"user", peer("203.0.113.5", as(fmt.Sprint("user", n/2)), overTLS)},
			{"userInNetwork", peer("172.16.1.1", as(fmt.Sprint("desk", n/2)), overTLS)},
			{"certificate", peer("203.0.113.5", with(fmt.Sprintf("mta%d.example.org", n/2)))},
			{"nobody", peer("203.0.113.5", as("nobody"), overTLS)},
		} {
			b.Run(fmt.Sprint(v.name, "/", n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					r.Client(v.peer)
				}
			})
		}
		b.Run(fmt.Sprint("MayAuth/", n), func(b *testing.B) {
			p := peer("172.16.1.1")
			b.ReportAllocs()
			for b.Loop() {
				r.MayAuth(p)
			}
		})
	}
}

func BenchmarkSender(b *testing.B) {
	for _, n := range sizes {
		r := many(b, n)
		c, _ := r.Client(peer("192.0.2.1"))
		for _, v := range []struct{ name, from string }{
			{"address", fmt.Sprintf("news%d@example.org", n/2)},
			{"domain", fmt.Sprintf("anna@c%d.example.org", n/2)},
			{"below", fmt.Sprintf("anna@a.b.c%d.example.org", n/2)},
			{"upperCase", fmt.Sprintf("NEWS%d@example.org", n/2)},
		} {
			from := addr(b, v.from)
			b.Run(fmt.Sprint(v.name, "/", n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if r.Sender(c, from) != nil {
						b.Fatal("refused")
					}
				}
			})
		}
	}
}

func BenchmarkRecipient(b *testing.B) {
	for _, n := range sizes {
		r := many(b, n)
		c, _ := r.Client(peer("192.0.2.1"))
		to := addr(b, "ben@sales.partner.example")
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if r.Recipient(c, to) != nil {
					b.Fatal("refused")
				}
			}
		})
	}
}

// BenchmarkHeader reads and judges a header that has been split into fields.
func BenchmarkHeader(b *testing.B) {
	r := good(b, Config{Clients: map[string]ClientConfig{"one": anna(nil)}})
	c := r.Clients()[0]
	for _, name := range []string{"plain.eml", "newsletter-one-click.eml"} {
		msg, err := os.ReadFile(filepath.Join(corpus, name))
		if err != nil {
			b.Fatal(err)
		}
		fields, err := syntax.ParseHeader(msg[:syntax.HeaderEnd(msg, 0)], 2000)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			var h HeaderFacts
			b.ReportAllocs()
			for b.Loop() {
				h.read(fields)
				if _, reply, _ := r.Header(c, &h); reply != nil {
					b.Fatal(reply)
				}
			}
		})
	}
}

// BenchmarkCompile is what a reload costs.
func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		many(b, 2500) // 10,000 clients
	}
}
