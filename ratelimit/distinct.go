package ratelimit

import (
	"slices"
	"time"
)

// Windows of distinct recipients keep the hashes seen, in order of the hash,
// each with the time of its last charge: exact while there are at most
// distinctExact. When more are in the window, level goes up by one and only
// hashes that begin with level zero bits are kept, each standing for 2^level
// recipients; with 512 to 1024 of them the standard error is 3 to 4.4 %. The
// level falls to 0 when the window has emptied.
//
// The lowest bit of a hash in the log says that its charge was the first and
// only one, so that a refund may forget it.
const distinctExact = 1024

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

// sampled reports whether the window keeps this hash at its level.
func (w log) sampled(hash uint64) bool {
	return w.level() == 0 || hash>>(64-w.level()) == 0
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

// raiseLevel makes room once the window holds more than distinctExact.
func (w log) raiseLevel() (excess int) {
	if w.count() <= distinctExact || w.level() >= 40 {
		return 0
	}
	w.setLevel(w.level() + 1)
	return w.filter(func(d distinct) bool { return w.sampled(d.hash()) })
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
	w, at := sh.window(r, id&^shareMask|knownID<<24)
	if at < 0 {
		return
	}
	if i, found := w.search(hash); found {
		sh.unsee(r, w, at, i)
	}
}
