package relay

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/policy"
	"postern/relay/smtpd"
)

// connectFrom is connect from another address of this machine.
func (r *rig) connectFrom(ip string) *peer {
	r.t.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 0))}
	conn, err := d.DialContext(context.Background(), "tcp", r.start())
	if err != nil {
		r.t.Fatal(err)
	}
	p := &peer{t: r.t}
	p.use(conn)
	r.t.Cleanup(func() { conn.Close() })
	return p
}

// TestStrangersDoNotLockClientsOut: from 20 addresses, none of them a client's,
// strangers take all the connections that they can get, and keep them.
func TestStrangersDoNotLockClientsOut(t *testing.T) {
	for _, row := range []struct {
		name          string
		usersAnywhere bool
		held          int
	}{
		{"where users may come from anywhere", true, 90},
		{"who can become no client", false, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			r.listener.MaxConnections, r.listener.MaxConnectionsPerIP = 100, 50
			if !row.usersAnywhere {
				delete(r.clients, "shop")
			}
			held := 0
			for i := range 120 {
				p := r.connectFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(1 + i%20)}).String())
				if strings.HasPrefix(p.reply(), "220") {
					p.say("EHLO stranger.example", "250")
					held++
				} else if p.reply() != "" {
					t.Fatal("a refused connection stays open")
				}
			}
			if held != row.held {
				t.Errorf("strangers hold %d connections, want %d", held, row.held)
			}
			for range 10 {
				p := r.connect()
				p.want("220")
				p.open("b@dest.example")
				p.send(plainMail)
				p.want("250")
			}
		})
	}
}

// TestStrangersBehindAProxyAreStrangers: the proxy's address is not theirs.
func TestStrangersBehindAProxyAreStrangers(t *testing.T) {
	r := newRig(t)
	r.listener.MaxConnections, r.listener.MaxConnectionsPerIP = 20, 20
	r.listener.ProxyProtocolFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	c := r.clients["corporate"]
	c.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")}
	r.clients["corporate"] = c
	in := 0
	for range 20 {
		p := r.connect()
		p.send("PROXY TCP4 198.51.100.7 198.51.100.1 5000 25\r\n")
		if strings.HasPrefix(p.reply(), "220") {
			in++
		}
	}
	if in != 18 {
		t.Errorf("%d strangers are in, want 18", in)
	}
	// Those who were turned away are counted out a moment behind their reply.
	known := 0
	for end := time.Now().Add(5 * time.Second); known < 2 && time.Now().Before(end); {
		p := r.connect()
		p.send("PROXY TCP4 192.0.2.3 198.51.100.1 5000 25\r\n")
		if strings.HasPrefix(p.reply(), "220") {
			known++
		}
	}
	if known != 2 {
		t.Errorf("%d of the client's connections are in, want 2", known)
	}
}

// TestWaysOfAListener: a condition that the listener cannot meet opens nothing.
func TestWaysOfAListener(t *testing.T) {
	for _, row := range []struct {
		name     string
		set      func(*rig, *policy.ClientConfig)
		greeting string
	}{
		{"a user where no password is taken", func(r *rig, c *policy.ClientConfig) { c.Users, r.public = []string{"u"}, true }, "554 5.7.1"},
		{"a user on loopback", func(_ *rig, c *policy.ClientConfig) { c.Users = []string{"u"} }, "220"},
		{"a user where there are none", func(r *rig, c *policy.ClientConfig) { c.Users, r.noUsers = []string{"u"}, true }, "554 5.7.1"},
		{"TLS where there is none", func(_ *rig, c *policy.ClientConfig) {
			c.Networks, c.RequireTLS = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, true
		}, "554 5.7.1"},
		{"TLS", func(r *rig, c *policy.ClientConfig) {
			c.Networks, c.RequireTLS = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, true
			r.listener.TLS = smtpd.TLSOptional
		}, "220"},
		{"a certificate", func(r *rig, c *policy.ClientConfig) {
			c.Certificates = []string{"mta.example.org"}
			r.listener.TLS = smtpd.TLSOptional
		}, "220"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			var c policy.ClientConfig
			c.SetDefaults()
			c.Senders, c.Stream = []string{"@example.org"}, "main"
			row.set(r, &c)
			r.clients = map[string]policy.ClientConfig{"one": c}
			r.connect().want(row.greeting)
		})
	}
}

// TestAClientOfManyAddressesDoesNotLockTheOthersOut: the cap per address does not hold
// a client that has many, the one per client does.
func TestAClientOfManyAddressesDoesNotLockTheOthersOut(t *testing.T) {
	r := newRig(t)
	r.listener.MaxConnections, r.listener.MaxConnectionsPerIP = 20, 5
	r.listener.ProxyProtocolFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	for name, network := range map[string]string{"corporate": "192.0.2.0/28", "shop": "198.51.100.0/28"} {
		c := r.clients[name]
		c.Networks, c.Users = []netip.Prefix{netip.MustParsePrefix(network)}, nil
		r.clients[name] = c
	}
	from := func(address string) bool {
		p := r.connect()
		p.send("PROXY TCP4 " + address + " 203.0.113.1 5000 25\r\n")
		return strings.HasPrefix(p.reply(), "220")
	}
	in := 0
	for i := range 20 {
		if from(fmt.Sprintf("192.0.2.%d", i%8+1)) {
			in++
		}
	}
	if in != 15 {
		t.Errorf("%d of one client's connections are in, want 15 of 20", in)
	}
	others := 0
	for end := time.Now().Add(time.Minute); others < 5 && time.Now().Before(end); { // the last ones leave a moment behind their reply
		if from("198.51.100.1") {
			others++
		}
	}
	if others != 5 {
		t.Errorf("%d of the other client's connections are in, want 5", others)
	}
}
