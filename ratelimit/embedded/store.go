package embedded

import (
	"context"
	"hash/maphash"
	"maps"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/statefile"
	"postern/ratelimit"
)

// Store is the store in process. It needs no goroutine to be right; Run
// writes its snapshots.
//
// An active key takes recordSize octets and about 16 of index, as long as key
// and logs fit (three windows, little used, and a key of 70 octets); a busy one
// takes up to 1.3 KiB for each window more. When memory is full, keys that are
// far below their limits are forgotten first, and one that has used half of a
// limit never is: when only such are left, Take fails with ErrFull.
type Store struct {
	clock      *elapsed
	seed       maphash.Seed
	names      atomic.Pointer[names]
	allowances atomic.Pointer[allowances]
	nodes      atomic.Int64 // last seen by Failover; 0: never
	mu         sync.Mutex   // to change names or temporary overrides
	dirty      chan struct{}
	file       *statefile.File // that the snapshot was last in
	shards     [shardCount]shard
}

const shardCount = 64 // a set of shards is a uint64

// names are the numbers by which records know limits and shares.
type names struct {
	limits map[string]uint16
	shares map[string]uint8 // "" is 0
}

// New makes an empty store. now nil is time.Now; a clock without
// monotonic reading may be set back without harm, but when it is set forward
// time has passed.
func New(cfg Config, now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	e := &Store{clock: newElapsed(now), seed: maphash.MakeSeed(), dirty: make(chan struct{}, 1)}
	e.names.Store(&names{limits: map[string]uint16{}, shares: map[string]uint8{"": 0}})
	e.allowances.Store(newAllowances(nil))
	memory := &chunkMemory{}
	memory.freeWith(e)
	// Four fifths for records and their index, the rest for busy keys.
	perShard := int(cfg.Memory) / shardCount
	for i := range e.shards {
		e.shards[i].store = memory
		e.shards[i].maxChunks = max(1, perShard*4/5/(chunkSize+inChunk*16))
		e.shards[i].maxExt = perShard / 5
	}
	return e
}

// Take decides b under the locks of all shards that it touches, so nothing
// comes between.
func (e *Store) Take(_ context.Context, b *ratelimit.Batch) (ratelimit.Result, error) {
	var room [8]located
	result := ratelimit.NewResult(b)
	budgets, set := e.locate(b, &result, room[:0])
	e.lock(set)
	defer e.unlock(set)
	// Read under the lock, so that charges are in the order of time.
	now := e.clock.read()
	t := take{e, b, result, budgets, now, e.allowances.Load()}
	defer t.unpin()
	return result, t.run()
}

// locate appends every budget, with what is decided about it and its hash, to
// all, and returns the set of their shards.
func (e *Store) locate(b *ratelimit.Batch, r *ratelimit.Result, all []located) (_ []located, set uint64) {
	for i := range b.Budgets {
		g := located{Budget: &b.Budgets[i], result: &r.Budgets[i], limitID: e.limitID(b.Budgets[i].Limit)}
		g.hash = e.hash(g.limitID, g.Key)
		set |= 1 << (g.hash >> 58)
		all = append(all, g)
	}
	return all, set
}

func (e *Store) hash(limit uint16, key []byte) uint64 {
	return maphash.Bytes(e.seed, key) ^ (uint64(limit)+1)*0x9E3779B97F4A7C15
}

func (e *Store) shard(hash uint64) *shard { return &e.shards[hash>>58] }

func (e *Store) lock(set uint64) {
	for ; set != 0; set &= set - 1 {
		e.shards[bits.TrailingZeros64(set)].mu.Lock()
	}
}

func (e *Store) unlock(set uint64) {
	for ; set != 0; set &= set - 1 {
		e.shards[bits.TrailingZeros64(set)].mu.Unlock()
	}
}

func (e *Store) limitID(name string) uint16 {
	if id, ok := e.names.Load().limits[name]; ok {
		return id
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.names.Load()
	if id, ok := old.limits[name]; ok {
		return id
	}
	n := &names{limits: maps.Clone(old.limits), shares: old.shares}
	n.limits[name] = uint16(len(n.limits))
	e.names.Store(n)
	return n.limits[name]
}

// shareID numbers up to 30 shares; further ones count as share "", which
// leaves them less room than they have and never more.
func (e *Store) shareID(name string) uint8 {
	if id, ok := e.names.Load().shares[name]; ok {
		return id
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.names.Load()
	if id, ok := old.shares[name]; ok || len(old.shares) > lastShare {
		return id
	}
	n := &names{limits: old.limits, shares: maps.Clone(old.shares)}
	n.shares[name] = uint8(len(n.shares))
	e.names.Store(n)
	return n.shares[name]
}

// Refund gives charges back.
func (e *Store) Refund(_ context.Context, _ ratelimit.Attempt, returns []ratelimit.Return) error {
	for i := range returns {
		r := &returns[i]
		hash := e.hash(e.limitID(r.Budget.Limit), r.Budget.Key)
		sh := e.shard(hash)
		sh.mu.Lock()
		e.refund(sh, uint32(hash), r)
		sh.mu.Unlock()
	}
	return nil
}

func (e *Store) refund(sh *shard, hash uint32, r *ratelimit.Return) {
	i, ok := sh.lookup(hash, e.limitID(r.Budget.Limit), r.Budget.Key)
	if !ok {
		return
	}
	now := e.clock.read()
	rec := sh.record(i)
	sh.clean(rec, now)
	sh.changed = true
	for j := range r.Budget.Windows {
		w := &r.Budget.Windows[j]
		id := makeWindowID(w.Unit, w.Length, e.windowShare(w, r.Budget.Share))
		switch w.Unit {
		case ratelimit.Messages:
			sh.giveBack(rec, id, r.At, now, r.Messages)
		case ratelimit.Recipients:
			sh.giveBack(rec, id, r.At, now, r.Recipients)
		case ratelimit.Bytes:
			sh.giveBack(rec, id, r.At, now, r.Bytes)
		case ratelimit.DistinctRecipients:
			sh.forget(rec, id, r.At, r.Distinct)
		}
	}
}

// giveBack takes n off the entry that was charged at ns.
func (sh *shard) giveBack(r record, id windowID, ns, now, n int64) {
	if n <= 0 || now-ns >= int64(id.length()) {
		return
	}
	w, at := sh.window(r, id)
	if at < 0 {
		return
	}
	s := id.scale()
	i := w.find(s, s.charge(ns))
	if i < 0 {
		return
	}
	sh.takeOff(r, w, at, i, n)
}

// takeOff takes n off entry i of the window at an offset.
func (sh *shard) takeOff(r record, w log, at, i int, n int64) {
	left := max(0, w.entry(i).amount()-n)
	w.entry(i).setAmount(left)
	if left == 0 {
		w.setCount(w.count() - 1)
		sh.remove(r, at+windowHead+i*entrySize, entrySize)
	}
}

// forget drops a distinct recipient whose only charge was made at ns.
func (sh *shard) forget(r record, id windowID, ns int64, hash uint64) {
	w, at := sh.window(r, id)
	if hash == 0 || at < 0 {
		return
	}
	i, found := w.search(hash)
	if !found || !w.distinct(i).fresh() || w.distinct(i).time() != id.scale().charge(ns) {
		return
	}
	sh.unsee(r, w, at, i)
}

// unsee drops a distinct recipient of the window at an offset.
func (sh *shard) unsee(r record, w log, at, i int) {
	w.setCount(w.count() - 1)
	sh.remove(r, at+windowHead+i*distinctSize, distinctSize)
}

// Undo does nothing: a Take in process that failed has charged nothing.
func (e *Store) Undo(context.Context, *ratelimit.Batch) error { return nil }

// Record adds charges made elsewhere.
func (e *Store) Record(_ context.Context, _ ratelimit.Attempt, records []ratelimit.Record) error {
	for i := range records {
		if err := e.record(&records[i]); err != nil {
			return err
		}
	}
	return nil
}

func (e *Store) record(r *ratelimit.Record) error {
	if r.N <= 0 || r.Age < 0 || r.Age >= r.Length {
		return nil
	}
	limit, key := e.limitID(r.Limit), []byte(r.Key)
	hash := e.hash(limit, key)
	sh := e.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := e.clock.read()
	i, ok := sh.lookup(uint32(hash), limit, key)
	if !ok {
		var err error
		if i, err = sh.create(uint32(hash), limit, key, now); err != nil {
			return err
		}
	}
	rec := sh.record(i)
	sh.clean(rec, now)
	sh.changed = true
	sh.owe(i, rec)
	rec.setTouched(uint32(now / int64(time.Second)))
	id := makeWindowID(r.Unit, r.Length, e.shareID(r.Share))
	if r.Unit == ratelimit.DistinctRecipients {
		if r.Plain {
			id = makeWindowID(plainDistinct, r.Length, 0)
		}
		sh.see(rec, id, r.Distinct, now-int64(r.Age), now, false, r.Level)
	} else {
		sh.put(rec, id, now-int64(r.Age), r.N)
	}
	return nil
}

// Scan lists the budgets, one shard after the other.
func (e *Store) Scan(ctx context.Context, limit string, f func(limit, key string) bool) error {
	type found struct {
		limit uint16
		key   string
	}
	for i := range e.shards {
		var all []found
		sh := &e.shards[i]
		sh.mu.Lock()
		now := e.clock.read()
		for j := range sh.next {
			if r := sh.record(j); r.live() && sh.clean(r, now) {
				all = append(all, found{r.limit(), string(sh.key(r))})
			}
		}
		sh.mu.Unlock()
		byID := e.limitNames()
		for _, one := range all {
			name := byID[one.limit]
			if (limit == "" || limit == name) && !f(name, one.key) {
				return nil
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func (e *Store) limitNames() map[uint16]string {
	byID := map[uint16]string{}
	for name, id := range e.names.Load().limits {
		byID[id] = name
	}
	return byID
}

// Reset forgets the counts of a budget.
func (e *Store) Reset(_ context.Context, limit, key string) error {
	id, ok := e.names.Load().limits[limit]
	if !ok {
		return nil
	}
	hash := e.hash(id, []byte(key))
	sh := e.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i, ok := sh.lookup(uint32(hash), id, []byte(key)); ok {
		sh.drop(i)
	}
	e.changed()
	return nil
}

// changed asks Run for a snapshot now.
func (e *Store) changed() {
	select {
	case e.dirty <- struct{}{}:
	default:
	}
}

// Nodes is 1.
func (e *Store) Nodes(context.Context) (int, error) { return 1, nil }

// Waits is false: no other process is asked.
func (e *Store) Waits() bool { return false }

// Agree answers own: no other process shares the store.
func (e *Store) Agree(_ context.Context, own, _ string) (string, error) { return own, nil }

// Ping never fails.
func (e *Store) Ping(context.Context) error { return nil }
