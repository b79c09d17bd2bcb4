package auth

import (
	"context"
	"net/netip"
	"sync"
)

// How many attempts may wait for their hash, beside those being hashed: in all,
// and from one address, so that one guesser cannot keep everybody else out.
const (
	maxWaiting        = 256
	maxWaitingPerAddr = 64
)

// gate lets a few attempts hash at a time and bounds how many wait.
type gate struct {
	slots   chan struct{}
	mu      sync.Mutex
	inside  map[netip.Prefix]int // waiting or hashing
	waiting int                  // sum of inside
}

func newGate(concurrency int) *gate {
	return &gate{slots: make(chan struct{}, concurrency), inside: map[netip.Prefix]int{}}
}

// enter waits for a place. The caller calls leave when it has hashed.
func (g *gate) enter(ctx context.Context, addr netip.Prefix) (leave func(), err error) {
	if !g.admit(addr) {
		return nil, errBusy
	}
	select {
	case g.slots <- struct{}{}:
		return func() { <-g.slots; g.forget(addr) }, nil
	case <-ctx.Done():
		g.forget(addr)
		return nil, ctx.Err()
	}
}

func (g *gate) admit(addr netip.Prefix) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting >= maxWaiting+cap(g.slots) || g.inside[addr] >= maxWaitingPerAddr+cap(g.slots) {
		return false
	}
	g.waiting++
	g.inside[addr]++
	return true
}

func (g *gate) forget(addr netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting--
	if g.inside[addr]--; g.inside[addr] == 0 {
		delete(g.inside, addr)
	}
}
