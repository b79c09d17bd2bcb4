package scan

import (
	"context"
	"sync"
)

// places bounds how many messages a scanner is asked about at one time. One client
// takes at most three quarters of them, so that a client whose messages a scanner
// chews on for its whole time-out does not keep the mail of all others waiting.
type places struct {
	all   chan struct{}
	share int

	mu      sync.Mutex
	clients map[string]chan struct{} // by configured client
}

func newPlaces(n int) *places {
	return &places{all: make(chan struct{}, n), share: max(1, n*3/4), clients: map[string]chan struct{}{}}
}

// enter waits for a place until ctx ends; leave gives it back.
func (p *places) enter(ctx context.Context, client string) (leave func(), ok bool) {
	own := p.of(client)
	select {
	case own <- struct{}{}:
	case <-ctx.Done():
		return nil, false
	}
	select {
	case p.all <- struct{}{}:
		return func() { <-p.all; <-own }, true
	case <-ctx.Done():
		<-own
		return nil, false
	}
}

func (p *places) of(client string) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := p.clients[client]
	if own == nil {
		own = make(chan struct{}, p.share)
		p.clients[client] = own
	}
	return own
}
