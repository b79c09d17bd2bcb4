package ratelimit

import (
	"context"
	"sync"
	"time"
)

// within is a context that ends after some time, and with its parent, as
// context.WithTimeout makes them, but sets a timer only when somebody asks for
// Done. Most calls of a store do not: who does I/O goes by Deadline.
type within struct {
	context.Context // the parent
	at              time.Time

	once   sync.Once
	timed  context.Context
	cancel context.CancelFunc
}

// newWithin makes one, which must be ended. It is the parent's brother where
// that is one, too: so there is one timer at most.
func newWithin(ctx context.Context, d time.Duration) *within {
	w := &within{Context: ctx, at: time.Now().Add(d)}
	if at, ok := ctx.Deadline(); ok && at.Before(w.at) {
		w.at = at
	}
	if parent, ok := ctx.(*within); ok {
		w.Context = parent.Context
	}
	return w
}

// end gives the timer back. Whoever was handed the context must have returned.
func (w *within) end() {
	if w.cancel != nil {
		w.cancel()
	}
}

func (w *within) Deadline() (time.Time, bool) { return w.at, true }

func (w *within) Done() <-chan struct{} {
	w.once.Do(func() { w.timed, w.cancel = context.WithDeadline(w.Context, w.at) })
	return w.timed.Done()
}

func (w *within) Err() error {
	if err := w.Context.Err(); err != nil {
		return err
	}
	if time.Now().Before(w.at) {
		return nil
	}
	return context.DeadlineExceeded
}
