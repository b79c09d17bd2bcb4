package reputation

import (
	"net/netip"
	"testing"
	"time"

	"postern/internal/resolve"
	"postern/reputation/dnsbl"
	"postern/reputation/identity"
)

func newTestResolver(t *testing.T, timeout time.Duration, servers ...string) *resolve.Resolver {
	t.Helper()
	r, err := resolve.New(resolve.Options{Servers: servers, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func zoneConfig(change func(*dnsbl.ZoneConfig)) dnsbl.ZoneConfig {
	var z dnsbl.ZoneConfig
	z.SetDefaults()
	if change != nil {
		change(&z)
	}
	return z
}
func oneStream(ehlo string, ips ...string) identity.Presence {
	s := identity.StreamIdentity{Name: "main", EHLO: ehlo}
	for _, ip := range ips {
		s.Addresses = append(s.Addresses, netip.MustParseAddr(ip))
	}
	return identity.Presence{Hostname: ehlo, Streams: []identity.StreamIdentity{s}}
}
