package embedded

import (
	"path/filepath"
	"testing"
)

// BenchmarkSave is a snapshot of 100,000 keys.
func BenchmarkSave(b *testing.B) {
	e := New(Config{Memory: 128 << 20}, nil)
	flood(b, e, 0, 100_000, floodWindows, false)
	path := filepath.Join(b.TempDir(), "limits")
	for b.Loop() {
		if err := e.Save(path); err != nil {
			b.Fatal(err)
		}
	}
}
