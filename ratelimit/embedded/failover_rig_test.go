package embedded

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"postern/ratelimit"
	"postern/ratelimit/storetest"
)

// faulty is a shared store that can be away. It undoes what it is asked to, as
// a store must that can lose replies.
type faulty struct {
	*Store
	mu       sync.Mutex
	fault    fault
	calls    int
	deadline time.Duration // of the last Take
	done     map[ratelimit.Attempt]*decided
	nodes    int
	secret   string
}

type fault int

const (
	healthy   fault = iota
	away            // the call does not arrive
	lostReply       // it does, and nobody hears of it
	hanging         // nothing comes back until the caller gives up
)

var errAway = errors.New("store is away")

func (s *faulty) set(f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

func (s *faulty) call(ctx context.Context, f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	switch s.fault {
	case away:
		return errAway
	case lostReply:
		_ = f()
		return errAway
	case hanging:
		<-ctx.Done()
		return ctx.Err()
	}
	return f()
}

func (s *faulty) Take(ctx context.Context, b *ratelimit.Batch) (said ratelimit.Result, err error) {
	err = s.call(ctx, func() error {
		at, _ := ctx.Deadline()
		s.deadline = time.Until(at)
		if said, err = s.Store.Take(ctx, b); err != nil {
			return err
		}
		if !b.Peek {
			s.done[b.ID] = &decided{cloneBatch(b), said}
		}
		return nil
	})
	return said, err
}

// decided is a batch and what was said to it; empty for another attempt.
type decided struct {
	batch *ratelimit.Batch
	said  ratelimit.Result
}

func (s *faulty) Refund(ctx context.Context, id ratelimit.Attempt, returns []ratelimit.Return) error {
	return s.call(ctx, func() error {
		if s.done[id] != nil {
			return nil
		}
		s.done[id] = &decided{}
		return s.Store.Refund(ctx, id, returns)
	})
}

func (s *faulty) Undo(ctx context.Context, b *ratelimit.Batch) error {
	return s.call(ctx, func() error {
		made := s.done[b.ID]
		if made == nil {
			return nil
		}
		delete(s.done, b.ID)
		for i, q := range made.batch.Requests {
			for j, c := range made.said.Requests[i].Charges {
				if !c.Made {
					continue
				}
				r := ratelimit.Return{Budget: made.batch.Budgets[q.Refs[j]], At: c.At, Recipients: q.Recipients, Bytes: q.Bytes, Distinct: q.Distinct}
				if c.Message {
					r.Messages = 1
				}
				_ = s.Store.Refund(ctx, b.ID, []ratelimit.Return{r})
			}
		}
		return nil
	})
}

func (s *faulty) Record(ctx context.Context, id ratelimit.Attempt, records []ratelimit.Record) error {
	return s.call(ctx, func() error {
		if s.done[id] != nil {
			return nil
		}
		s.done[id] = &decided{}
		return s.Store.Record(ctx, id, records)
	})
}

// Agree keeps the first secret.
func (s *faulty) Agree(ctx context.Context, own, bad string) (secret string, err error) {
	err = s.call(ctx, func() error {
		if s.secret == bad {
			s.secret = own
		}
		secret = s.secret
		return nil
	})
	return secret, err
}

func (s *faulty) Ping(ctx context.Context) error { return s.call(ctx, func() error { return nil }) }

func (s *faulty) Nodes(ctx context.Context) (n int, err error) {
	err = s.call(ctx, func() error { n = s.nodes; return nil })
	return n, err
}

// failoverRig is a node with a shared store that can be away.
type failoverRig struct {
	storetest.Bed
	f       *Failover
	shared  *faulty
	settler *settler
	changes []StoreChange
}

func newFailoverRig(nodes int) *failoverRig {
	clock := storetest.NewClock()
	rig := &failoverRig{shared: &faulty{
		Store: New(Config{Memory: 16 << 20}, clock.Now), done: map[ratelimit.Attempt]*decided{}, nodes: nodes,
	}}
	rig.f = NewFailover(rig.shared, New(Config{Memory: 16 << 20}, clock.Now), func(c StoreChange) {
		rig.changes = append(rig.changes, c)
	})
	rig.f.local.nodes.Store(int64(nodes))
	rig.settler = newSettler(rig.f)
	rig.recover()
	rig.Bed = storetest.Bed{Store: rig.f, Clock: clock}
	return rig
}

// recover does what Run does once the store answers.
func (rig *failoverRig) recover() {
	rig.f.mu.Lock()
	rig.f.hold = time.Time{}
	rig.f.mu.Unlock()
	rig.f.recover(context.Background(), rig.settler)
}

// pass makes the outage as old as d.
func (rig *failoverRig) pass(d time.Duration) {
	rig.f.mu.Lock()
	defer rig.f.mu.Unlock()
	rig.f.since = rig.f.since.Add(-d)
}

func (rig *failoverRig) used(t *testing.T, b ratelimit.Budget) int64 {
	t.Helper()
	return storetest.Bed{Store: rig.shared.Store}.Peek(t, b)[0].Used
}
