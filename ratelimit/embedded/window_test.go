package embedded

import (
	"testing"

	"postern/ratelimit"
)

func TestUsedAddsUpJoinedAndLargestAmounts(t *testing.T) {
	w := make(log, windowHead+3*entrySize, windowHead+4*entrySize)
	le.PutUint32(w, uint32(makeWindowID(ratelimit.Bytes, 3600e9, 0)))
	w.setCount(3)
	for i, n := range []int64{5, 1 << 32, maxAmount} {
		w.entry(i).setTime(^uint32(0))
		w.entry(i).setAmount(n)
		w.entry(i).setJoined()
	}
	next := w[:cap(w)] // another window's octets follow in a record
	for i := len(w); i < len(next); i++ {
		next[i] = 0xff
	}
	if got, want := next.used(), int64(5+1<<32+maxAmount); got != want {
		t.Errorf("used %d, want %d", got, want)
	}
}
