package dnsbl

import (
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

func zoneConfig(change func(*ZoneConfig)) ZoneConfig {
	var z ZoneConfig
	z.SetDefaults()
	if change != nil {
		change(&z)
	}
	return z
}
