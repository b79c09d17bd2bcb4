package outlier

import "time"

// clock turns the machine's time into one that never goes back. A step of the
// wall clock does not move it while the process runs: it is the wall clock's
// time at the start and what the monotonic one has counted since.
type clock struct {
	start time.Time            // of the wall clock
	since func() time.Duration // since then
	last  time.Time
	shift time.Duration
}

// newClock makes one; now is nil for the machine's.
func newClock(now func() time.Time) clock {
	if now == nil {
		start := time.Now()
		// Half as dear as to ask for both clocks.
		return clock{start: start.Round(0), since: func() time.Duration { return time.Since(start) }, last: start.Round(0)}
	}
	start := now()
	return clock{start: start.Round(0), since: func() time.Duration { return now().Sub(start) }, last: start.Round(0)}
}

// read is the present time. Of a clock without a monotonic reading, steps back
// are taken out.
func (c *clock) read() time.Time {
	t := c.start.Add(c.since() + c.shift)
	if t.Before(c.last) {
		c.shift += c.last.Sub(t)
		t = c.last
	}
	c.last = t
	return t
}

// notBefore moves the clock on to t, the end of an earlier run.
func (c *clock) notBefore(t time.Time) {
	if d := t.Sub(c.read()); d > 0 {
		c.shift += d
		c.last = t
	}
}
