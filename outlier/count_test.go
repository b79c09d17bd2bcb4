package outlier

import (
	"math"
	"testing"
	"unsafe"
)

func TestCountIsExactWhileSmallAndCloseBeyond(t *testing.T) {
	var c count
	for i := 1; i <= 1_000_000; i++ {
		c = c.plus(1, uint32(i))
		got := float64(c.float())
		if i < 2048 && got != float64(i) || math.Abs(got-float64(i)) > 0.02*float64(i) {
			t.Fatalf("after %d additions of 1: %v", i, got)
		}
	}
	for _, n := range []float32{2047, 2048, 4095, 4096, 65_535, 1e6, 1e9} {
		if got := count(0).plus(n, 0).float(); math.Abs(float64(got-n)) > float64(n)/1000 {
			t.Errorf("0 plus %v is %v", n, got)
		}
	}
}

func TestLevelKeepsSmallFractionsAndLargeNumbers(t *testing.T) {
	for _, f := range []float32{0, 1.0 / 64, 0.5, 1, 17.25, 31.98, 32, 33.3, 100, 12_345, 1e7} {
		if got := toLevel(f).float(); math.Abs(float64(got-f)) > max(1.0/128, float64(f)/1000) {
			t.Errorf("level of %v is %v", f, got)
		}
	}
}

func TestHistoryAddsUp(t *testing.T) {
	var h uint8
	for i := range uint32(5000) {
		h = addHistory(h, 1, i)
	}
	if got := historyOf(h); got < 3500 || got > 7000 {
		t.Errorf("5,000 messages are remembered as %v", got)
	}
}

func TestSenderTakesFewOctets(t *testing.T) {
	// Beside the entry: the name, its slot in the index (8 octets, at a load of
	// a third at least).
	if got := unsafe.Sizeof(entry{}) + 32 + 24; got > 200 {
		t.Errorf("a sender takes %d octets, at most 200 wanted", got)
	}
	var w writer
	(&meter{}).encode(&w)
	if len(w) > 128 {
		t.Errorf("stored it takes %d octets, at most 128 wanted", len(w))
	}
}

func TestRunsTakeFewOctets(t *testing.T) {
	if got := unsafe.Sizeof(runs{}); got > 260 {
		t.Errorf("runs take %d octets, at most 260 wanted", got)
	}
}
