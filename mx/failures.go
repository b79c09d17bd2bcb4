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
	until map[failed]time.Time
}

// failed is an address that failed: for mail to one recipient domain, or "" for all.
type failed struct {
	address netip.Addr
	domain  string
}

func (f *failures) has(a netip.Addr, domain string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return now.Before(f.until[failed{a, ""}]) || now.Before(f.until[failed{a, domain}])
}

func (f *failures) add(a failed, now time.Time) {
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
		f.until = map[failed]time.Time{}
	}
}

func (f *failures) remove(a netip.Addr, domain string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.until, failed{a, ""})
	delete(f.until, failed{a, domain})
}

// Failed notes that no session could be had at an address, whoever the mail is for.
func (f *Finder) Failed(a netip.Addr) { f.failures.add(failed{a.Unmap(), ""}, f.now()) }

// FailedFor notes that no session could be had at an address as mail to one domain needs
// it. Only that domain is concerned, since its owner asks for a certificate and may name
// hosts of others.
func (f *Finder) FailedFor(domain string, a netip.Addr) {
	f.failures.add(failed{a.Unmap(), domain}, f.now())
}

// Worked notes that mail to a domain had a session at an address.
func (f *Finder) Worked(domain string, a netip.Addr) { f.failures.remove(a.Unmap(), domain) }
