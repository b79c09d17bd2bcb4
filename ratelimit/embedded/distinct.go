package embedded

import (
	"slices"
	"time"

	"postern/ratelimit"
)

// Windows of distinct recipients keep the hashes seen, in order of the hash,
// each with the time of its last charge: exact while there are at most
// distinctExact. When more are in the window, level goes up by one and only
// those are kept whose draw begins with level zero bits, each standing for
// 2^level recipients; with 512 to 1024 of them the standard error is 3 to 4.4 %.
// The level falls to 0 when the window has emptied.
//
// A draw goes by the hash, which is keyed, and by the period in which the charge
// was made, the length of the window long: so nobody can choose recipients that
// are not kept. Whose charges cross a border of periods may learn from the
// answers who was kept in the last one; that is worth nothing in the next, for
// the draws are new, and who is written to again is drawn again. So even
// then no more than twice the number fits into any window, and no more than the
// number into a period.
//
// Earlier releases kept hashes without a secret. What they left stands in logs
// of its own (plainDistinct): it counts until its window has passed, and nothing
// is added. A recipient that is charged again moves to the other log, unless the
// old one is a sample: its sender may have chosen it, and then all of it stays.
//
// The lowest bit of a hash in the log says that its charge was the first and
// only one, so that a refund may forget it.
const (
	distinctExact = 1024
	maxLevel      = 32
)

// plainDistinct is the unit of the logs that earlier releases have left.
const plainDistinct = ratelimit.DistinctRecipients + 1

func (w log) distinct(i int) distinct { return distinct(w[windowHead+i*distinctSize:]) }

type distinct []byte

func (d distinct) hash() uint64     { return le.Uint64(d) &^ 1 }
func (d distinct) fresh() bool      { return d[0]&1 != 0 }
func (d distinct) time() uint32     { return le.Uint32(d[8:]) }
func (d distinct) setTime(t uint32) { le.PutUint32(d[8:], t) }

func (d distinct) set(hash uint64, fresh bool, t uint32) {
	hash &^= 1
	if fresh {
		hash |= 1
	}
	le.PutUint64(d, hash)
	d.setTime(t)
}

// draw decides who of a period is kept: the first bits are zero.
func draw(hash uint64, period int64) uint64 {
	x := hash&^1 ^ uint64(period)*0x9E3779B97F4A7C15
	for range 2 { // splitmix64
		x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
		x = (x ^ x>>27) * 0x94D049BB133111EB
		x ^= x >> 31
	}
	return x
}

// sampled reports whether the window keeps this hash at its level; from is the
// level at which it has been kept elsewhere.
func (w log) sampled(hash uint64, period int64, from uint8) bool {
	return w.level() <= from || draw(hash, period)<<from>>(64-(w.level()-from)) == 0
}

// period is the number of the window's length in which a charge was made.
func (s scale) period(t uint32, now int64) int64 {
	tick := now / s.tick
	if age := uint32(tick) - t; age < 1<<32-1<<28 {
		return (tick - int64(age)) / int64(s.span)
	}
	return (tick + int64(t-uint32(tick))) / int64(s.span)
}

// search finds a hash, or where it would stand.
func (w log) search(hash uint64) (i int, found bool) {
	low, high := 0, w.count()
	for low < high {
		if mid := (low + high) / 2; w.distinct(mid).hash() < hash&^1 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, low < w.count() && w.distinct(low).hash() == hash&^1
}

// filter keeps the entries that keep says, and returns how many octets the log
// is now too long by.
func (w log) filter(keep func(distinct) bool) (excess int) {
	n := w.count()
	kept := 0
	for i := range n {
		if d := w.distinct(i); keep(d) {
			copy(w.distinct(kept)[:distinctSize], d[:distinctSize])
			kept++
		}
	}
	w.setCount(kept)
	if kept == 0 {
		w.setLevel(0)
	}
	return (n - kept) * distinctSize
}

func (w log) cleanDistinct(s scale, now int64) (excess int) {
	t := s.now(now)
	return w.filter(func(d distinct) bool { return s.age(t, d.time()) < s.span })
}

// raiseLevel keeps about half, each standing for twice as many.
func (w log) raiseLevel(now int64) (excess int) {
	s, from := w.id().scale(), w.level()
	w.setLevel(from + 1)
	return w.filter(func(d distinct) bool { return w.sampled(d.hash(), s.period(d.time(), now), from) })
}

// see charges a distinct recipient at ns, which may lie in the past; fresh says
// that a refund may take it away again, from at which level it has been kept
// elsewhere.
func (sh *shard) see(r record, id windowID, hash uint64, ns, now int64, fresh bool, from uint8) {
	w, at := sh.window(r, id)
	if at < 0 {
		w, at = sh.open(r, id)
	}
	for w.level() < min(from, maxLevel) {
		w = sh.raise(r, at, w, now)
		if w.count() == 0 {
			w.setLevel(min(from, maxLevel))
		}
	}
	s := id.scale()
	tick := s.charge(ns)
	i, found := w.search(hash)
	if found && int32(tick-w.distinct(i).time()) < 0 {
		return
	}
	kept := w.sampled(hash, s.period(tick, now), from)
	switch {
	case found && kept:
		w.distinct(i).set(hash, false, tick)
	case found:
		sh.unsee(r, w, at, i)
	case kept:
		w = sh.openEntry(r, at, i, distinctSize)
		w.distinct(i).set(hash, fresh, tick)
		for w.count() > distinctExact && w.level() < maxLevel {
			w = sh.raise(r, at, w, now)
		}
	}
}

// raise raises the level of the window at an offset.
func (sh *shard) raise(r record, at int, w log, now int64) log {
	if excess := w.raiseLevel(now); excess > 0 {
		sh.remove(r, at+w.size(), excess)
	}
	return log(sh.body(r)[at:])[:w.size()]
}

// seenAs reports whether a log holds the recipient of q under any of its
// hashes.
func (w log) seenAs(q *ratelimit.Request) bool {
	if w.id().unit() == plainDistinct {
		return w.holds(q.Plain)
	}
	return w.holds(q.Distinct) || w.holds(q.Former)
}

func (w log) holds(hash uint64) bool {
	if hash == 0 {
		return false
	}
	_, found := w.search(hash)
	return found
}

// moveDistinct takes the recipient of q out of the logs of a window where it
// stands under another hash than it is about to be charged under, and reports
// whether there was one.
func (sh *shard) moveDistinct(r record, id windowID, q *ratelimit.Request) (moved bool) {
	if q.Former != 0 {
		moved = sh.leave(r, id, q.Former) || sh.leave(r, id&^shareMask|knownID<<24, q.Former)
	}
	if q.Plain == 0 {
		return moved
	}
	for _, share := range []uint8{0, knownID} {
		plain := makeWindowID(plainDistinct, id.length(), share)
		if w, at := sh.window(r, plain); at >= 0 && w.level() == 0 && sh.leave(r, plain, q.Plain) {
			moved = true
		}
	}
	return moved
}

// leave drops a distinct recipient of a window, and reports whether it was
// there.
func (sh *shard) leave(r record, id windowID, hash uint64) bool {
	w, at := sh.window(r, id)
	if at < 0 {
		return false
	}
	i, found := w.search(hash)
	if found {
		sh.unsee(r, w, at, i)
	}
	return found
}

// waitDistinct is the time until used has fallen to at most want.
func waitDistinct(logs []log, used, want, now int64, length time.Duration) time.Duration {
	type end struct {
		wait   time.Duration
		weight int64
	}
	var ends []end
	for _, w := range logs {
		s := w.id().scale()
		for i := range w.count() {
			ends = append(ends, end{s.until(w.distinct(i).time(), now), 1 << w.level()})
		}
	}
	slices.SortFunc(ends, func(a, b end) int { return int(a.wait - b.wait) })
	for _, e := range ends {
		if used -= e.weight; used <= want {
			return e.wait
		}
	}
	return length
}

// forgetKnown drops a distinct recipient from what is known, now that the
// window id has it.
func (sh *shard) forgetKnown(r record, id windowID, hash uint64) {
	sh.leave(r, id&^shareMask|knownID<<24, hash)
}
