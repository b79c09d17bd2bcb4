package plain

import (
	"strings"
	"testing"
)

// BenchmarkIsPlain is what a line of log or journal costs.
func BenchmarkIsPlain(b *testing.B) {
	line := []byte(strings.Repeat(`"from":"orders@shop.example",`, 33))
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		IsPlain(line)
	}
}
