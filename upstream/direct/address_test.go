package direct

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"postern/internal/smtptest"
	"postern/upstream"
)

// TestNothingIsDialledWithin: each form in which a domain, a host or a literal can name an
// address of this machine or network is refused, and no connection is made.
func TestNothingIsDialledWithin(t *testing.T) {
	w := newWorld(t, func(c *upstream.Config, _ *Options) {
		c.Config.AllowNetworks, c.Family = nil, "any"
	})
	here := w.receiver("127.0.0.1", smtptest.Options{})
	refused := func(to string) {
		t.Helper()
		if s := w.send(to); s.codes() != "550" || s.to[0].Status != "5.4.4" {
			t.Errorf("%s: %s", to, s)
		}
	}
	forms := []string{
		"127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "100.64.0.1", "169.254.169.254", "172.16.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "203.0.113.9", "224.0.0.1", "255.255.255.255",
		"::", "::1", "fe80::1", "fec0::1", "fd12:3456::1", "ff02::1", "2001:db8::1", "100::1", "5f00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::ffff:0:127.0.0.1",
		"64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "2002:7f00:1::1", "2002:c0a8:101::1", "2001:0:7f00:1::", "2a00:1450::5efe:127.0.0.1",
	}
	for i, text := range forms {
		domain, qtype, literal := fmt.Sprintf("d%d.example", i), "A", "["+text+"]"
		if strings.Contains(text, ":") {
			qtype, literal = "AAAA", "[IPv6:"+text+"]"
		}
		w.zone.Add(fmt.Sprintf("%s. 60 MX 10 mx.%s.", domain, domain), fmt.Sprintf("mx.%s. 60 %s %s", domain, qtype, text))
		refused("x@" + domain)
		refused("x@" + literal)
		if netip.MustParseAddr(text).Unmap() == netip.MustParseAddr("127.0.0.1") {
			w.zone.Add(fmt.Sprintf("alias%d.example. 60 MX 10 a.alias%d.example.", i, i), fmt.Sprintf("a.alias%d.example. 60 CNAME mx.%s.", i, domain))
			refused(fmt.Sprintf("x@alias%d.example", i))
		}
	}
	if n := here.Accepted(); n != 0 {
		t.Errorf("%d connections", n)
	}
}
