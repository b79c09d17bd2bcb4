package warmup_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"postern/ratelimit/embedded"
	"postern/upstream/warmup"
)

// A new address may send two messages in 24 hours to a group of receivers; the third
// one waits.
func Example() {
	now := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	var cfg warmup.Config
	cfg.SetDefaults()
	cfg.Schedule = warmup.Schedule{2, 4, 8}
	gate := warmup.New(warmup.Options{Upstream: "world", Config: cfg, Store: embedded.New(embedded.Config{Memory: 16 << 20}, clock), Now: clock})
	for range 3 {
		pass, wait, err := gate.Take(context.Background(), netip.MustParseAddr("192.0.2.25"), "google")
		fmt.Println(pass != nil, wait, err)
		if pass != nil {
			pass.End(warmup.Taken, true)
		}
	}
	// Output:
	// true 0s <nil>
	// true 0s <nil>
	// false 24h0m0s <nil>
}
