package outlier

import (
	"fmt"
	"testing"
)

// BenchmarkMessage is one message to one recipient that the client knows, as
// bench/outlier measures it.
func BenchmarkMessage(b *testing.B) {
	for _, senders := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) { benchmarkMessage(b, senders) })
	}
}

func benchmarkMessage(b *testing.B, senders int) {
	const start = 1_700_000_000
	var cfg Config
	cfg.SetDefaults()
	r, err := NewReplay(cfg)
	if err != nil {
		b.Fatal(err)
	}
	names := make([]string, senders)
	for i := range names {
		names[i] = fmt.Sprintf("sender%06d@example.org", i)
	}
	rcpts := make([][]string, 1000)
	for i := range rcpts {
		rcpts[i] = []string{fmt.Sprintf("recipient%d@example.net", i)}
	}
	for i, name := range names {
		r.Message(start+int64(i/1000), name, "client", rcpts[i%1000], 0)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Message(start+100+int64(i/100*100_000/senders), names[i*7919%senders], "client", rcpts[i%1000], 0)
	}
}
