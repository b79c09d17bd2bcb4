package outlier

import "time"

// clock turns the machine's time into one that never goes back. A step of the
// wall clock does not move it while the process runs: time.Time carries the
// monotonic reading too.
type clock struct {
	now   func() time.Time
	start time.Time
	last  time.Time
	shift time.Duration
}

func newClock(now func() time.Time) clock {
	t := now()
	return clock{now: now, start: t, last: t.Round(0)}
}

// read is the present time. Of a clock without a monotonic reading, steps back
// are taken out.
func (c *clock) read() time.Time {
	t := c.start.Round(0).Add(c.now().Sub(c.start) + c.shift)
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
