package halves

import (
	"sync"
	"time"
)

// lane does one thing for all who wait for it, one time after another: who comes while it
// is being done waits for the next time, together with all others who have come by then.
// Its goroutine lives only while somebody waits. A zero do does nothing.
type lane struct {
	do func() error

	mu      sync.Mutex
	waiting []chan error
	again   bool // somebody wants it done who does not wait
	busy    bool
	idle    chan struct{} // closed when the goroutine has ended
}

// ask has it done once from now on, and returns what came of it, or errSlow behind limit.
func (l *lane) ask(limit time.Duration) error {
	if l.do == nil {
		return nil
	}
	done := make(chan error, 1)
	l.mu.Lock()
	l.waiting = append(l.waiting, done)
	l.start()
	l.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return errSlow
	}
}

// begin has it done once from now on, and waits for nothing.
func (l *lane) begin() {
	if l.do == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.again = true
	l.start()
}

// start starts the goroutine where there is none; l.mu is held.
func (l *lane) start() {
	if !l.busy {
		l.busy, l.idle = true, make(chan struct{})
		go l.run(l.idle)
	}
}

func (l *lane) run(idle chan struct{}) {
	defer close(idle)
	for {
		l.mu.Lock()
		batch := l.waiting
		l.busy = l.again || len(batch) > 0
		l.waiting, l.again = nil, false
		busy := l.busy
		l.mu.Unlock()
		if !busy {
			return
		}
		err := l.do()
		for _, done := range batch {
			done <- err
		}
	}
}

// wait returns when nothing is being done, or behind limit.
func (l *lane) wait(limit time.Duration) {
	l.mu.Lock()
	idle := l.idle
	l.mu.Unlock()
	if idle == nil {
		return
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	}
}
