package mx

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// failedFor is how long an address that failed is tried last, so that not every
	// client waits for it.
	failedFor   = 5 * time.Minute
	maxFailures = 10_000
)

// failures remembers addresses that failed. The zero value is ready.
type failures struct {
	mu    sync.Mutex
	until map[netip.Addr]time.Time
}

func (f *failures) has(a netip.Addr, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	until, ok := f.until[a]
	return ok && now.Before(until)
}

func (f *failures) add(a netip.Addr, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.until == nil || len(f.until) >= maxFailures {
		f.makeRoom(now)
	}
	f.until[a] = now.Add(failedFor)
}

// makeRoom forgets what is over, and all where that is not enough.
func (f *failures) makeRoom(now time.Time) {
	for a, until := range f.until {
		if !now.Before(until) {
			delete(f.until, a)
		}
	}
	if f.until == nil || len(f.until) >= maxFailures {
		f.until = map[netip.Addr]time.Time{}
	}
}

func (f *failures) remove(a netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.until, a)
}

// Failed notes that no session could be had at an address.
func (f *Finder) Failed(a netip.Addr) { f.failures.add(a.Unmap(), f.now()) }

// Worked notes that a session was had there.
func (f *Finder) Worked(a netip.Addr) { f.failures.remove(a.Unmap()) }
