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

	mu     sync.Mutex
	timed  context.Context // what Done belongs to; nil before
	cancel context.CancelFunc
	ended  bool
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

// end gives the timer back and ends the context, with all that others have made
// of it and still use.
func (w *within) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	if w.cancel != nil {
		w.cancel()
	}
}

func (w *within) Deadline() (time.Time, bool) { return w.at, true }

func (w *within) Done() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timed == nil {
		w.timed, w.cancel = context.WithDeadline(w.Context, w.at)
		if w.ended {
			w.cancel()
		}
	}
	return w.timed.Done()
}

// Err is never nil once Done is closed: contexts made of this one rely on it.
func (w *within) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timed != nil {
		return w.timed.Err()
	}
	if err := w.Context.Err(); err != nil {
		return err
	}
	if w.ended {
		return context.Canceled
	}
	if time.Now().Before(w.at) {
		return nil
	}
	return context.DeadlineExceeded
}
