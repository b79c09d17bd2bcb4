package detector

import (
	"fmt"
	"math"
	"testing"
	"time"
	"unsafe"

	"postern/outlier/detector/compact"
)

func TestPackedIsExactWhileSmallAndCloseBeyond(t *testing.T) {
	for n := range 2048 {
		if got := compact.Unpacked(compact.Packed(float32(n))); got != float32(n) {
			t.Fatalf("%d is stored as %v", n, got)
		}
	}
	for _, n := range []float32{2047.4, 2047.5, 2048, 4095, 4096, 65_535, 1e6, 1e9, 1e11} {
		if got := compact.Unpacked(compact.Packed(n)); math.Abs(float64(got-n)) > float64(n)/2048 {
			t.Errorf("%v is stored as %v", n, got)
		}
	}
	if compact.Packed(-1) != 0 || compact.Unpacked(compact.Packed(math.MaxFloat32)) < 1e12 {
		t.Error("beyond the ends")
	}
}

func TestHistoryAddsUp(t *testing.T) {
	var h uint8
	for i := range uint32(5000) {
		h = compact.AddHistory(h, 1, i)
	}
	if got := compact.HistoryOf(h); got < 3500 || got > 7000 {
		t.Errorf("5,000 messages are remembered as %v", got)
	}
}

func TestSenderTakesFewOctets(t *testing.T) {
	// Beside the entry: the name and its place in the map, at its lowest load.
	got := unsafe.Sizeof(entry{}) + 32 + 48
	t.Logf("a sender takes %d octets", got)
	if got > 400 {
		t.Errorf("a sender takes %d octets, at most 400 wanted", got)
	}
	var w compact.Writer
	(&meter{}).encode(&w)
	if len(w) > 128 {
		t.Errorf("stored it takes %d octets, at most 128 wanted", len(w))
	}
}

func TestRunsTakeFewOctets(t *testing.T) {
	if got := unsafe.Sizeof(runs{}); got > 340 {
		t.Errorf("runs take %d octets, at most 340 wanted", got)
	}
}

// usual are the documented defaults, with less room.
func usual() Settings {
	return Settings{
		Sensitivity: 1, Growth: 0.1, HalfLife: 120 * 24 * time.Hour, MaxSenders: 1000, MaxKnown: 20_000,
		Refused: Shares{MinRecipients: 50, Alarming: 0.05, Excessive: 0.10},
	}
}

// BenchmarkCount is one message of one of 100,000 senders.
func BenchmarkCount(b *testing.B) {
	s := usual()
	s.MaxSenders, s.MaxKnown = 200_000, 4_000_000
	d := New(s, Seed{1, 2})
	names := make([]string, 100_000)
	for i := range names {
		names[i] = fmt.Sprintf("sender%06d@example.org", i)
	}
	rcpts := []Recipient{{Took: true}}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		rcpts[0].Hash = uint64(i) * 0x9E3779B97F4A7C15
		d.Count(&Event{At: 1_700_000_000 + int64(i/100), Client: "client", Sender: names[i*7919%100_000], Recipients: rcpts}, nil)
	}
}
