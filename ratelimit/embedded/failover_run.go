package embedded

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"time"

	"postern/ratelimit"
)

const (
	probeEvery   = 500 * time.Millisecond
	refreshEvery = 10 * time.Second
	lookEvery    = time.Second
	// tellAfter is how long a store is away before anybody is told.
	tellAfter = time.Second
	// steadyAfter is how long it must be well to be trusted as before.
	steadyAfter = 10 * time.Second
	maxBackoff  = 10 * time.Second
	// undoWithin is how long a store remembers attempts.
	undoWithin = 55 * time.Second
	recordsAt  = 200 // in one call
	// lastWithin bounds the last step before the store is asked again; decisions
	// wait for it. Where it is not enough for a distant store, it doubles.
	lastWithin = 40 * time.Millisecond
)

// Run brings the shared store back once it answers, adds to it what it missed,
// and keeps this node's view of the other nodes, until ctx ends.
func (f *Failover) Run(ctx context.Context) {
	probe, refresh, look := time.NewTicker(probeEvery), time.NewTicker(refreshEvery), time.NewTicker(lookEvery)
	defer probe.Stop()
	defer refresh.Stop()
	defer look.Stop()
	doubts := 0
	s := newSettler(f)
	for {
		f.recover(ctx, s)
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			doubts = f.look(ctx, doubts)
		case <-refresh.C:
			_ = f.refresh(ctx) // faults show in the decisions
		case <-f.wake:
		case <-probe.C:
		}
	}
}

// look asks a store that counts as well whether it is: where no mail comes, no
// decision finds out, and mail that came would wait. It takes two calls that fail
// in a row, since one may be lost. It returns how many have.
func (f *Failover) look(ctx context.Context, doubts int) int {
	if f.down.Load() {
		return 0
	}
	err := f.shared.Ping(ctx)
	switch {
	case err == nil || ctx.Err() != nil:
		return 0
	case doubts == 0:
		return 1
	}
	f.failed(err)
	return 0
}

// recover asks a store that is away whether it is back, and settles what it is
// owed.
func (f *Failover) recover(ctx context.Context, s *settler) {
	f.mu.Lock()
	early := time.Now().Before(f.hold)
	f.mu.Unlock()
	if early || !f.down.Load() {
		return
	}
	err := f.refresh(ctx)
	if err == nil {
		err = s.settle(ctx)
	}
	if err == nil {
		err = f.reopen(ctx, s)
	}
	if err != nil {
		f.stillAway(ctx, err)
		return
	}
	f.mu.Lock()
	c := StoreChange{Away: time.Since(f.since), Added: s.added}
	told := f.told
	f.told, f.back, s.added = false, time.Now(), 0
	f.mu.Unlock()
	if told {
		f.notify(c)
	}
}

// reopen settles what was charged since the first pass while all decisions
// wait, and sends them to the shared store again.
func (f *Failover) reopen(ctx context.Context, s *settler) error {
	f.gate.Lock()
	defer f.gate.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lastWithin<<min(s.late, 2))
	defer cancel()
	if err := s.settle(ctx); err != nil {
		s.late++
		return err
	}
	s.late = 0
	f.alone.Store(false)
	f.down.Store(false)
	return nil
}

// tell notifies of an outage, once.
func (f *Failover) tell(err error) {
	f.mu.Lock()
	told := f.told
	f.told = true
	f.mu.Unlock()
	if !told {
		f.notify(StoreChange{Down: true, Err: err})
	}
}

func (f *Failover) stillAway(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	now := time.Now()
	f.hold = now.Add(probeEvery - 50*time.Millisecond)
	long := now.Sub(f.since) >= tellAfter
	f.mu.Unlock()
	if long {
		f.tell(err)
	}
}

// refresh asks whether the store can decide, agrees on the secret, and learns of
// nodes, temporary overrides and whether the store has lost its counts.
func (f *Failover) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 4*decideWithin)
	defer cancel()
	if err := f.shared.Ping(ctx); err != nil {
		return err
	}
	if err := f.secret.Agree(ctx, f.shared.Agree); err != nil {
		return err
	}
	n, err := f.shared.Nodes(ctx)
	if err != nil {
		return err
	}
	f.local.nodes.Store(int64(max(1, n)))
	f.marking.Lock()
	defer f.marking.Unlock()
	allowances, err := f.shared.Allowances(ctx)
	if err != nil {
		return err
	}
	f.local.setAllowances(withoutMarks(allowances))
	f.checkMark(allowances)
	return f.renewMark(ctx)
}

// settler brings to the shared store what it is owed. It is Run's alone.
type settler struct {
	f     *Failover
	node  uint64
	seq   uint64
	added int
	sent  int // by the last send
	late  int // how often the last step took too long
	// batch is on its way: it is repeated under its attempt until it arrives.
	batch   []owed
	attempt ratelimit.Attempt
}

func newSettler(f *Failover) *settler {
	var node [8]byte
	rand.Read(node[:]) // never fails since Go 1.24
	return &settler{f: f, node: binary.LittleEndian.Uint64(node[:])}
}

func (s *settler) settle(ctx context.Context) error {
	if err := s.undoAll(ctx); err != nil {
		return err
	}
	if err := s.refundAll(ctx); err != nil {
		return err
	}
	if err := s.send(ctx); err != nil { // of the last time
		return err
	}
	for {
		s.batch = s.f.local.owed(recordsAt)
		s.seq++
		s.attempt = ratelimit.Attempt{Node: s.node, Seq: s.seq}
		if err := s.send(ctx); err != nil || len(s.batch) == 0 && s.sent < recordsAt {
			return err
		}
	}
}

// send records s.batch, and only then forgets the charges here.
func (s *settler) send(ctx context.Context) error {
	s.sent = len(s.batch)
	if s.sent == 0 {
		return nil
	}
	now := s.f.local.clock.read()
	records := make([]ratelimit.Record, 0, len(s.batch))
	for i := range s.batch {
		if r := s.batch[i].record(now); r.Age < r.Length {
			records = append(records, r)
		}
	}
	asked, cancel := context.WithTimeout(ctx, 2*decideWithin)
	defer cancel()
	if len(records) > 0 {
		if err := s.f.shared.Record(asked, s.attempt, records); err != nil {
			return err
		}
	}
	for i := range s.batch {
		s.f.local.settled(&s.batch[i])
	}
	s.added += len(records)
	s.batch = nil
	return nil
}

// undoAll takes back what failed calls may have charged.
func (s *settler) undoAll(ctx context.Context) error {
	for {
		s.f.mu.Lock()
		if len(s.f.undos) == 0 {
			s.f.mu.Unlock()
			return nil
		}
		u := s.f.undos[0]
		s.f.mu.Unlock()
		if time.Since(u.at) < undoWithin {
			asked, cancel := context.WithTimeout(ctx, decideWithin)
			err := s.f.shared.Undo(asked, u.batch)
			cancel()
			if err != nil {
				return err
			}
		}
		s.f.mu.Lock()
		s.f.undos = s.f.undos[1:]
		s.f.mu.Unlock()
	}
}

func (s *settler) refundAll(ctx context.Context) error {
	for {
		s.f.mu.Lock()
		if len(s.f.refunds) == 0 {
			s.f.mu.Unlock()
			return nil
		}
		r := s.f.refunds[0]
		s.f.mu.Unlock()
		asked, cancel := context.WithTimeout(ctx, decideWithin)
		err := s.f.shared.Refund(asked, r.id, r.returns)
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		s.f.mu.Lock()
		s.f.refunds = s.f.refunds[1:]
		s.f.mu.Unlock()
	}
}
