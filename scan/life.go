package scan

import (
	"context"
	"sync"
)

// life is how long a scanner's own tasks go on.
type life struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu    sync.Mutex
	begun bool
	ended bool
	tasks sync.WaitGroup
}

func newLife() *life {
	l := &life{}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// begin reports whether it has not begun before.
func (l *life) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun || l.ended {
		return false
	}
	l.begun = true
	return true
}

// spawn runs f beside the caller; false when it has ended.
func (l *life) spawn(f func(context.Context)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.tasks.Go(func() { f(l.ctx) })
	return true
}

// end returns when no task is left.
func (l *life) end() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.cancel()
	l.tasks.Wait()
}
