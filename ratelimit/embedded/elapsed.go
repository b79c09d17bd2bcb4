package embedded

import (
	"sync"
	"time"
)

// elapsed is time that only goes forward, in nanoseconds. It begins at
// elapsedBase, so that what is older than the process has a time too.
//
// The real clock carries a monotonic reading, which no change of the wall
// clock touches. A clock without one (a simulated one) may be set back; time
// then goes on from where it was.
type elapsed struct {
	now   func() time.Time
	start time.Time
	base  int64 // what read gives at start
	wall  bool  // no monotonic reading

	mu   sync.Mutex // of what follows; only for wall
	skew int64
	last int64
}

const elapsedBase = int64(400 * 24 * time.Hour)

func newElapsed(now func() time.Time) *elapsed {
	start := now()
	return &elapsed{now: now, start: start, base: elapsedBase, wall: start == start.Round(0), last: elapsedBase}
}

func (e *elapsed) read() int64 {
	at := e.base + int64(e.now().Sub(e.start))
	if !e.wall {
		return at
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if at+e.skew < e.last {
		e.skew = e.last - at
	}
	e.last = at + e.skew
	return e.last
}

// resume makes the time go on from at, before the first read that counts.
func (e *elapsed) resume(at int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.start = e.now()
	e.base, e.last, e.skew = at, at, 0
}
