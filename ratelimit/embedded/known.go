package embedded

import (
	"slices"
	"time"

	"postern/ratelimit"
)

// As the fallback of a shared store, a Store holds two kinds of counts of a
// window side by side: what was charged here, in the window's own shares, and
// what the shared store last said, in share known: one entry with this node's
// part of it, which counts from the moment it was heard of.
const (
	knownID   = 31
	lastShare = knownID - 1 // of the others
)

// owed is one charge that the shared store has not seen.
type owed struct {
	limit, key string
	id         windowID
	share      string
	tick       uint32
	at         int64
	n          int64
	distinct   uint64
	level      uint8
}

func (o *owed) record(now int64) ratelimit.Record {
	r := ratelimit.Record{
		Limit: o.limit, Key: o.key, Share: o.share, Unit: o.id.unit(), Length: o.id.length(),
		Age: max(0, time.Duration(now-o.at)), N: o.n, Distinct: o.distinct, Level: o.level,
	}
	if r.Unit == plainDistinct {
		r.Unit, r.Plain = ratelimit.DistinctRecipients, true
	}
	return r
}

// nodeCount is the nodes among which numbers are divided, one at least.
func (e *Store) nodeCount() int64 { return max(1, e.nodes.Load()) }

// learn notes what the shared store said of the budgets of b. A key that does
// not fit into memory is not noted. Unless it is sure, it notes nothing where
// the store knows so much less than a while ago that it may have lost its
// counts, and reports false.
func (e *Store) learn(b *ratelimit.Batch, result *ratelimit.Result, sure bool) bool {
	var room [8]located
	budgets, set := e.locate(b, result, room[:0])
	e.lock(set)
	defer e.unlock(set)
	now := e.clock.read()
	for i := range budgets {
		if !sure && e.fallen(&budgets[i], now) {
			return false
		}
	}
	for i := range budgets {
		if g := &budgets[i]; g.used() {
			e.learnBudget(b, result, i, g, now)
		}
	}
	return true
}

// fallen reports whether a window of the budget has less than half of what was
// known less than half its length ago. Windows with reserved room look
// different from each stream, and are not asked.
func (e *Store) fallen(g *located, now int64) bool {
	sh := e.shard(g.hash)
	i, ok := sh.lookup(uint32(g.hash), g.limitID, g.Key)
	if !ok {
		return false
	}
	r := sh.record(i)
	nodes := e.nodeCount()
	for j := range g.Windows {
		w := &g.Windows[j]
		l, at := sh.window(r, makeWindowID(w.Unit, w.Length, knownID))
		if at < 0 || w.Unit == ratelimit.DistinctRecipients || w.Reserve != nil || l.count() == 0 {
			continue
		}
		s := l.id().scale()
		last := l.entry(l.count() - 1).time()
		if s.age(s.now(now), last) < s.span/2 && g.result.Windows[j].Used*2 < l.used()*nodes-2*nodes {
			return true
		}
	}
	return false
}

// used reports whether anything was used of the budget.
func (g *located) used() bool {
	for i := range g.result.Windows {
		if g.result.Windows[i].Used > 0 {
			return true
		}
	}
	return false
}

func (e *Store) learnBudget(b *ratelimit.Batch, result *ratelimit.Result, i int, g *located, now int64) {
	sh, r, ok := e.known(g, now)
	if !ok {
		return
	}
	sh.changed = true
	for j := range g.Windows {
		w, res := &g.Windows[j], &g.result.Windows[j]
		id := makeWindowID(w.Unit, w.Length, knownID)
		switch {
		case w.Unit == ratelimit.DistinctRecipients:
			sh.learnDistinct(r, id, b, result, i, now)
		case res.Used > 0:
			nodes := e.nodeCount()
			l := sh.learnUsed(r, id, (res.Used+nodes-1)/nodes, now)
			l.setFill(uint8(min(255, res.Used*255/max(1, res.Max))))
		}
	}
}

// learnDistinct notes the recipients that this node charged.
func (sh *shard) learnDistinct(r record, id windowID, b *ratelimit.Batch, result *ratelimit.Result, budget int, now int64) {
	for i := range b.Requests {
		q := &b.Requests[i]
		for j, ref := range q.Refs {
			if ref == budget && result.Requests[i].Charges[j].Made && q.Distinct != 0 {
				sh.moveDistinct(r, id, q)
				sh.see(r, id, q.Distinct, now, now, false, 0)
			}
		}
	}
}

// learnUsed makes a window one entry of n as of now. Answers may overtake one
// another: a smaller number than a moment ago is an older one.
func (sh *shard) learnUsed(r record, id windowID, n, now int64) log {
	l, at := sh.window(r, id)
	if at < 0 {
		l, at = sh.open(r, id)
	}
	s := id.scale()
	switch c := l.count(); {
	case c == 0:
		l = sh.openEntry(r, at, 0, entrySize)
	case c > 1:
		l.setCount(1)
		sh.remove(r, at+windowHead+entrySize, (c-1)*entrySize)
	case n < l.entry(0).amount() && int64(s.age(s.now(now), l.entry(0).time()))*s.tick < int64(decideWithin):
		return l
	}
	l.entry(0).setTime(s.charge(now))
	l.entry(0).setAmount(n)
	return l
}

// known finds or makes the record of a budget whose shard is locked.
func (e *Store) known(g *located, now int64) (*shard, record, bool) {
	sh := e.shard(g.hash)
	i, ok := sh.lookup(uint32(g.hash), g.limitID, g.Key)
	if !ok {
		var err error
		if i, err = sh.create(uint32(g.hash), g.limitID, g.Key, now); err != nil {
			return nil, nil, false
		}
	}
	r := sh.record(i)
	sh.clean(r, now)
	r.setTouched(uint32(now / int64(time.Second)))
	return sh, r, true
}

// trackOwed makes the store remember which records have charges of its own,
// those of an earlier run first.
func (e *Store) trackOwed() {
	for i := range e.shards {
		sh := &e.shards[i]
		sh.mu.Lock()
		sh.tracking = true
		for j := range sh.next {
			if r := sh.record(j); r.live() {
				sh.owe(j, r)
			}
		}
		sh.mu.Unlock()
	}
}

// owe notes that a record has charges of its own.
func (sh *shard) owe(i uint32, r record) {
	if !sh.tracking || r.owing() {
		return
	}
	if len(sh.owing) > 1000 && len(sh.owing) > 2*int(sh.next) {
		sh.owing = slices.DeleteFunc(sh.owing, func(j uint32) bool {
			r := sh.record(j)
			keep := r.live() && r.owing()
			r.setOwing(false) // one of its places is enough
			return !keep
		})
		for _, j := range sh.owing {
			sh.record(j).setOwing(true)
		}
	}
	r.setOwing(true)
	sh.owing = append(sh.owing, i)
}

// owed lists about n charges that were made here; those of the records that it
// looked at are not listed again until there is a new one.
func (e *Store) owed(n int) (list []owed) {
	limits, shares := e.limitNames(), e.shareNames()
	for i := range e.shards {
		if len(list) >= n {
			break
		}
		list = e.shards[i].appendOwed(list, n, limits, shares, e.clock)
	}
	return list
}

func (sh *shard) appendOwed(list []owed, n int, limits map[uint16]string, shares map[uint8]string, clock *elapsed) []owed {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := clock.read()
	for len(sh.owing) > 0 && len(list) < n {
		last := len(sh.owing) - 1
		r := sh.record(sh.owing[last])
		sh.owing = sh.owing[:last]
		if !r.live() || !r.owing() {
			continue
		}
		r.setOwing(false)
		sh.clean(r, now)
		body := sh.body(r)
		for at := r.keyLen(); at < len(body); {
			l := log(body[at:])
			l = l[:l.size()]
			if l.id().share() != knownID {
				o := owed{limit: limits[r.limit()], key: string(sh.key(r)), id: l.id(), share: shares[l.id().share()]}
				list = l.appendOwed(list, o, now)
			}
			at += len(l)
		}
	}
	return list
}

func (w log) appendOwed(list []owed, o owed, now int64) []owed {
	s := o.id.scale()
	for i := range w.count() {
		if o.id.distinct() {
			o.level = w.level()
			o.tick, o.n, o.distinct = w.distinct(i).time(), 1, w.distinct(i).hash()
		} else {
			o.tick, o.n = w.entry(i).time(), w.entry(i).amount()
		}
		o.at = now - int64(s.age(s.now(now), o.tick))*s.tick
		list = append(list, o)
	}
	return list
}

func (e *Store) shareNames() map[uint8]string {
	byID := map[uint8]string{}
	for name, id := range e.names.Load().shares {
		byID[id] = name
	}
	return byID
}

// settled turns a charge that the shared store now has into one that is known.
func (e *Store) settled(o *owed) {
	limit, key := e.limitID(o.limit), []byte(o.key)
	hash := e.hash(limit, key)
	sh := e.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i, ok := sh.lookup(uint32(hash), limit, key)
	if !ok {
		return
	}
	r := sh.record(i)
	l, at := sh.window(r, o.id)
	if at < 0 {
		return
	}
	sh.changed = true
	knownWindow := o.id&^shareMask | knownID<<24
	if o.id.distinct() {
		if j, found := l.search(o.distinct); found && l.distinct(j).time() == o.tick {
			sh.unsee(r, l, at, j)
			sh.see(r, knownWindow, o.distinct, o.at, e.clock.read(), false, o.level)
		}
		return
	}
	if j := l.find(o.id.scale(), o.tick); j >= 0 {
		sh.takeOff(r, l, at, j, o.n)
		nodes := e.nodeCount()
		sh.put(r, knownWindow, o.at, (o.n+nodes-1)/nodes)
	}
}
