package direct

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"postern/mx/provider"
	"postern/upstream/share"
)

// pace gives the turns of a group: so many in a while, evenly spread. Nil gives any
// number at once.
type pace struct {
	turns *rate.Limiter
	wait  time.Duration // for a turn, at most

	mu     sync.Mutex
	shares *share.Shares // of clients, in the turns that somebody waits for
}

// newPace is nil where the group takes any number.
func newPace(r provider.Rate, wait time.Duration) *pace {
	if r.N == 0 {
		return nil
	}
	every := r.Per / time.Duration(r.N)
	return &pace{
		// With a burst of N twice as many could go within one time.
		turns: rate.NewLimiter(rate.Every(every), 1), wait: wait,
		shares: share.New(int(wait / max(every, 1))),
	}
}

// turn waits for the turn of a client's message; errTurn where it does not come in time,
// or where the client waits for as many turns as it may beside others.
func (p *pace) turn(ctx context.Context, client string) error {
	if p == nil {
		return nil
	}
	r, d, err := p.reserve(client)
	if d == 0 || err != nil {
		return err
	}
	defer p.reached(client)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		r.Cancel()
		return ctx.Err()
	}
}

// reserve takes the next turn, which comes in d.
func (p *pace) reserve(client string) (r *rate.Reservation, d time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.shares.Wants(client, now)
	if !p.shares.May(client, 1, now) {
		return nil, 0, errTurn
	}
	r = p.turns.Reserve()
	switch d = r.Delay(); {
	case d > p.wait:
		r.Cancel()
		return nil, 0, errTurn
	case d > 0:
		p.shares.Took(client, 1)
	}
	return r, d, nil
}

// reached notes that a client waits for one turn less.
func (p *pace) reached(client string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shares.Left(client, 1)
}
