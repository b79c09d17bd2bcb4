package identity

import (
	"net/netip"
	"testing"
	"time"

	"postern/internal/resolve"
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

func oneStream(ehlo string, ips ...string) Presence {
	s := StreamIdentity{Name: "main", EHLO: ehlo}
	for _, ip := range ips {
		s.Addresses = append(s.Addresses, netip.MustParseAddr(ip))
	}
	return Presence{Hostname: ehlo, Streams: []StreamIdentity{s}}
}
