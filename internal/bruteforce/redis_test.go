package bruteforce

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/internal/auth"
	"postern/internal/redistest"
	"postern/ratelimit/redisstore"
)

// TestGuessersAreSharedByNodes: what one node has seen counts on another, and
// every key goes away by itself.
func TestGuessersAreSharedByNodes(t *testing.T) {
	server := redistest.Start(t)
	var cfg auth.Config
	cfg.SetDefaults()
	cfg.SuspendAfter = auth.Rate{N: 4, Period: time.Minute}
	nodes := make([]*Redis, 2)
	for i := range nodes {
		var r redisstore.Config
		r.SetDefaults()
		r.Addresses = []string{server.Addr}
		client, err := redisstore.NewClient(r)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		nodes[i] = New(client, "p", 10*time.Second, cfg)
	}
	addr := netip.MustParsePrefix("192.0.2.7/32")
	for i := range 4 {
		c, err := nodes[i%2].Failed(t.Context(), addr, "u")
		if err != nil || c.Addr != i+1 || c.User != i+1 || (c.Suspended > 0) != (i == 3) {
			t.Fatalf("wrong password %d: %+v, %v", i+1, c, err)
		}
	}
	for _, n := range nodes {
		if left, err := n.Suspended(t.Context(), addr); err != nil || left <= 0 || left > cfg.SuspendFor {
			t.Errorf("suspended for %v, %v", left, err)
		}
		if left, err := n.Suspended(t.Context(), netip.MustParsePrefix("192.0.2.8/32")); err != nil || left != 0 {
			t.Errorf("another address is suspended for %v, %v", left, err)
		}
	}
	// From nowhere it counts for the user only.
	if c, err := nodes[0].Failed(t.Context(), netip.Prefix{}, "u"); err != nil || c.Addr != 0 || c.User != 5 || c.Suspended != 0 {
		t.Errorf("without an address: %+v, %v", c, err)
	}
	client := server.Client()
	for _, key := range client.Keys(t.Context(), "*").Val() {
		if ttl := client.TTL(t.Context(), key).Val(); ttl <= 0 || !strings.HasPrefix(key, "p:{auth}:") {
			t.Errorf("key %s lives for %v", key, ttl)
		}
	}
}
