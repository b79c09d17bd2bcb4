package auth

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"time"
)

// WrongPasswords counts them for each address and user. Local counts in this process; a shared store
// counts for all nodes. Both go by the settings suspend_after and suspend_for.
type WrongPasswords interface {
	// Failed counts one wrong password from an address for a user. An invalid
	// addr counts for the user only. user is a digest of the name, in hex.
	Failed(ctx context.Context, addr netip.Prefix, user string) (Count, error)
	// Suspended returns how long addr stays suspended, 0 when it is not.
	Suspended(ctx context.Context, addr netip.Prefix) (time.Duration, error)
}

// Count is what stands against an address and a user after a wrong password.
type Count struct {
	Addr, User int           // wrong passwords in the last period, this one included
	Suspended  time.Duration // of the address from now on; 0: not
}

// counts asks the shared store and, where it fails, this process's own counts,
// which are kept all the time for that.
type counts struct {
	shared WrongPasswords // nil: none
	local  *Local
}

func (c counts) failed(ctx context.Context, addr netip.Prefix, user string) (Count, error) {
	own, _ := c.local.Failed(ctx, addr, user)
	if c.shared == nil {
		return own, nil
	}
	all, err := c.shared.Failed(ctx, addr, user)
	if err != nil {
		return own, err
	}
	return all, nil
}

func (c counts) suspended(ctx context.Context, addr netip.Prefix) (time.Duration, error) {
	own, _ := c.local.Suspended(ctx, addr)
	if c.shared == nil || own > 0 {
		return own, nil
	}
	return c.shared.Suspended(ctx, addr)
}

// Local counts wrong passwords in memory: the last ones of the 16,384 addresses
// and as many users that failed last. It is safe for concurrent use.
type Local struct {
	cfg   Config
	now   func() time.Time
	mu    sync.Mutex
	addrs table[netip.Prefix]
	users table[string]
}

// remembers is how many addresses and users a Local knows.
const remembers = 16_384

// maxDelayed is how many wrong passwords of a user are worth counting: the wait
// is at its longest long before.
const maxDelayed = 20

// NewLocal returns an empty Local that goes by cfg.
func NewLocal(cfg Config, now func() time.Time) *Local {
	return &Local{cfg: cfg, now: now, addrs: newTable[netip.Prefix](), users: newTable[string]()}
}

// Failed is WrongPasswords.Failed; it never fails.
func (l *Local) Failed(_ context.Context, addr netip.Prefix, user string) (Count, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	var c Count
	c.User = l.users.at(user).add(now, l.cfg.SuspendAfter.Period, maxDelayed)
	if !addr.IsValid() {
		return c, nil
	}
	t := l.addrs.at(addr)
	c.Addr = t.add(now, l.cfg.SuspendAfter.Period, l.cfg.SuspendAfter.N)
	if c.Addr >= l.cfg.SuspendAfter.N {
		t.until, t.times = now.Add(l.cfg.SuspendFor), nil
	}
	c.Suspended = max(0, t.until.Sub(now))
	return c, nil
}

// Suspended is WrongPasswords.Suspended; it never fails.
func (l *Local) Suspended(_ context.Context, addr netip.Prefix) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.addrs.entries[addr]; e != nil {
		return max(0, e.Value.(*entry[netip.Prefix]).until.Sub(l.now())), nil
	}
	return 0, nil
}

// tally is what is known about one address or user.
type tally struct {
	times []time.Time // of the last wrong passwords, oldest first
	until time.Time   // end of the suspension
}

// add notes a wrong password and returns how many there were in the last
// period, at most limit.
func (t *tally) add(now time.Time, period time.Duration, limit int) int {
	keep := t.times
	for len(keep) > 0 && (len(keep) >= limit || now.Sub(keep[0]) >= period) {
		keep = keep[1:]
	}
	// A new slice of the exact size: append alone would drag old times along.
	t.times = append(append(make([]time.Time, 0, len(keep)+1), keep...), now)
	return len(t.times)
}

// table holds the tallies that changed last.
type table[K comparable] struct {
	entries map[K]*list.Element
	recent  *list.List // front: changed last
}

type entry[K comparable] struct {
	key K
	tally
}

func newTable[K comparable]() table[K] {
	return table[K]{make(map[K]*list.Element), list.New()}
}

// at returns the tally of key, making room for it by forgetting the one that
// has not changed for longest.
func (t *table[K]) at(key K) *tally {
	if e := t.entries[key]; e != nil {
		t.recent.MoveToFront(e)
		return &e.Value.(*entry[K]).tally
	}
	if t.recent.Len() >= remembers {
		oldest := t.recent.Back()
		delete(t.entries, oldest.Value.(*entry[K]).key)
		t.recent.Remove(oldest)
	}
	e := &entry[K]{key: key}
	t.entries[key] = t.recent.PushFront(e)
	return &e.tally
}
