package outlier

import (
	"fmt"
	"testing"
)

// BenchmarkCount is one message of one of 100,000 senders.
func BenchmarkCount(b *testing.B) {
	var cfg Config
	cfg.SetDefaults()
	g := newEngine(&cfg, seed{1, 2})
	names := make([]string, 100_000)
	for i := range names {
		names[i] = fmt.Sprintf("sender%06d@example.org", i)
	}
	rcpts := []recipient{{took: true}}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		rcpts[0].hash = uint64(i) * 0x9E3779B97F4A7C15
		g.count(1_700_000_000+int64(i/100), &message{client: "client", sender: names[i*7919%100_000], rcpts: rcpts})
	}
}
