package direct

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"postern/mail"
	"postern/mx/provider"
	"postern/upstream"
	"postern/upstream/share"
)

// laneKey names a lane.
type laneKey struct {
	group  string
	source netip.Addr
}

// lane is the way from one of our addresses to all hosts of a group of receivers. It
// holds what the group wants: so many transactions at one time, and so many in a
// while. Nil is the way to hosts that are in no group.
type lane struct {
	group *provider.Group
	pace  *pace // nil: any
	// hosts are those that may have connections; guarded by pool.mu.
	hosts map[*host]bool
	// claiming is held from the claim of a host until what is too much then is closed.
	claiming sync.Mutex

	mu      sync.Mutex
	inUse   int
	holders map[*mail.Envelope]int // transactions of each message
	shares  *share.Shares          // of clients
	waiting []waiter
	refused uint64 // that found no room in time
}

// errTurn: the group takes no further connection, or no message so soon.
var errTurn = fmt.Errorf("%w: the provider has as many as it is given", upstream.ErrBusy)

// errOwnTurn: the other connections are those of the same message.
var errOwnTurn = errors.New("other domains of this message have all connections to the receiver's group")

// newLane makes one where a message waits at most for so long, for its turn.
func newLane(g *provider.Group, wait time.Duration) *lane {
	return &lane{
		group: g, pace: newPace(g.Rate, wait),
		hosts: map[*host]bool{}, holders: map[*mail.Envelope]int{}, shares: share.New(g.Connections),
	}
}

// enter waits for room for a transaction of a message, wait at most, and for its turn;
// leave gives the room back.
func (l *lane) enter(ctx context.Context, env *mail.Envelope, wait time.Duration) error {
	if l == nil {
		return nil
	}
	if err := l.room(ctx, env, wait); err != nil {
		return err
	}
	err := l.pace.turn(ctx, env.Client)
	if err == nil {
		return nil
	}
	l.leave(env)
	if errors.Is(err, errTurn) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.refused++
	}
	return err
}

// waiter waits for rooms.
type waiter struct {
	n      int
	client string
	turn   chan struct{} // closed when it has them
}

// room waits for one of the connections. A message that has one already does not wait
// for another: two of them could wait for one another.
func (l *lane) room(ctx context.Context, env *mail.Envelope, wait time.Duration) error {
	return l.rooms(ctx, env, 1, wait)
}

// rooms is room for n connections at once: all or none.
func (l *lane) rooms(ctx context.Context, env *mail.Envelope, n int, wait time.Duration) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	own, now := l.holders[env] > 0, time.Now()
	l.shares.Wants(env.Client, now)
	switch {
	case l.fits(n) && l.shares.May(env.Client, n, now) && (own || l.first(now) < 0):
		l.inUse += n
		l.shares.Took(env.Client, n)
		l.holders[env] += n
		l.mu.Unlock()
		return nil
	case own || l.group.Connections < n:
		l.mu.Unlock()
		return errOwnTurn
	}
	mine := waiter{n, env.Client, make(chan struct{})}
	l.waiting = append(l.waiting, mine)
	l.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-mine.turn:
	case <-timer.C:
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.waiting, mine); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
		l.grant() // to who waited behind for less
		if err := ctx.Err(); err != nil {
			return err
		}
		l.refused++
		return errTurn
	}
	l.holders[env] += n
	return nil
}

// fits reports whether there are n connections more; l.mu is held.
func (l *lane) fits(n int) bool { return l.group.Connections == 0 || l.inUse+n <= l.group.Connections }

// grant gives what is free to who waits, in their order, but for clients that have their
// share; l.mu is held.
func (l *lane) grant() {
	now := time.Now()
	for i := l.first(now); i >= 0 && l.fits(l.waiting[i].n); i = l.first(now) {
		l.inUse += l.waiting[i].n
		l.shares.Took(l.waiting[i].client, l.waiting[i].n)
		close(l.waiting[i].turn)
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
}

// first is the place in the queue of who is next; -1: nobody may have more.
func (l *lane) first(now time.Time) int {
	return slices.IndexFunc(l.waiting, func(w waiter) bool { return l.shares.May(w.client, w.n, now) })
}

// leave gives the room of a transaction to who waits the longest, or back.
func (l *lane) leave(env *mail.Envelope) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holders[env]--; l.holders[env] <= 0 {
		delete(l.holders, env)
	}
	l.inUse--
	l.shares.Left(env.Client, 1)
	l.grant()
}

// wanted reports whether others wait for room.
func (l *lane) wanted() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting) > 0
}

// surplus are the hosts whose idle connections have to go, so that there are no more
// with the group than it is given. Each transaction under way has a connection or
// makes one. pool.mu is held.
func (l *lane) surplus() (old []*host) {
	if l == nil || l.group.Connections == 0 {
		return nil
	}
	all := 0
	var idle []*host
	for h := range l.hosts {
		n := h.up.Connections()
		if n == 0 && h.inUse == 0 {
			delete(l.hosts, h)
			continue
		}
		all += max(n, h.inUse)
		if n > h.inUse {
			idle = append(idle, h)
		}
	}
	for _, h := range idle {
		if all <= l.group.Connections {
			break
		}
		all -= h.up.Connections() - h.inUse
		old = append(old, h)
	}
	return old
}

// uses is what is made of all lanes, and of the hosts that are in no group.
func (p *pool) uses() (all []Lane) {
	p.mu.Lock()
	at := make(map[laneKey]int, len(p.lanes))
	use := func(k laneKey) *Lane {
		i, ok := at[k]
		if !ok {
			i = len(all)
			at[k], all = i, append(all, Lane{Provider: k.group, Source: k.source})
		}
		return &all[i]
	}
	for k, l := range p.lanes {
		u := use(k)
		l.mu.Lock()
		u.InUse, u.Waiting, u.Refused = l.inUse, len(l.waiting), l.refused
		l.mu.Unlock()
	}
	hosts := make(map[*upstream.Upstream]laneKey, len(p.hosts))
	for k, h := range p.hosts {
		key := laneKey{cmp.Or(k.group, provider.Other), k.source}
		hosts[h.up] = key
		if u := use(key); k.group == "" {
			u.InUse += h.inUse
		}
	}
	p.mu.Unlock()
	for up, k := range hosts { // there may be thousands, and mail needs the lock
		use(k).Open += up.Connections()
	}
	return all
}
