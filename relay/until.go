package relay

import (
	"context"
	"time"
)

// deadline is a context with a deadline that whoever does I/O under it has to
// keep, as package upstream does: no timer ends the context itself.
type deadline struct {
	context.Context
	at time.Time
}

func (d deadline) Deadline() (time.Time, bool) { return d.at, true }

// until is ctx for at most d, without the cost of a timer.
func until(ctx context.Context, d time.Duration) context.Context {
	return deadline{ctx, time.Now().Add(d)}
}
