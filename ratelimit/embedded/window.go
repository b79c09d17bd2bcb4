package embedded

import (
	"encoding/binary"
	"time"

	"postern/ratelimit"
)

// A window's state is a log of charges in a record: a head, then entries in
// the order of time, each the time of a charge and its amount. Up to
// exactEntries charges stand by themselves; beyond, a charge joins the last
// entry if that lies in the same 64th of the window, and takes it along to its
// own time. So a charge is never forgotten early, at most one 64th late, and
// the log never has more than about exactEntries+65 entries.
//
//	head   id u32, near u32, count u16, fill u8, level u8
//	entry  time u32, amount u47, joined u1   (all but distinct recipients)
//	entry  hash u64, time u32                (distinct recipients, see distinct.go)
//
// Times are ticks of the window's own resolution, modulo 2^32. That is sound
// because a record in use is rid of all that is over its window, and one that
// was not in use for a whole window is cleared.
const (
	windowHead    = 12
	entrySize     = 10
	distinctSize  = 12
	exactEntries  = 64
	cellsInWindow = 64
)

var le = binary.LittleEndian

// windowID is unit (3 bits), share (5 bits), length (24 bits): in seconds, or
// with longLength in units of 64 seconds, rounded up.
type windowID uint32

const (
	shareMask  windowID = 31 << 24
	longLength windowID = 1 << 23
)

func makeWindowID(u ratelimit.Unit, length time.Duration, share uint8) windowID {
	seconds := windowID(length / time.Second)
	if seconds >= longLength {
		seconds = longLength | (seconds+63)/64
	}
	return windowID(u)<<29 | windowID(share)<<24 | seconds
}

func (id windowID) unit() ratelimit.Unit  { return ratelimit.Unit(id >> 29) }
func (id windowID) share() uint8          { return uint8(id >> 24 & 31) }
func (id windowID) length() time.Duration { return time.Duration(id.seconds()) * time.Second }

func (id windowID) seconds() int64 {
	if id&longLength != 0 {
		return int64(id&(longLength-1)) * 64
	}
	return int64(id & (longLength - 1))
}

// distinct reports whether the log is one of distinct recipients.
func (id windowID) distinct() bool {
	return id.unit() == ratelimit.DistinctRecipients || id.unit() == plainDistinct
}

func (id windowID) entry() int {
	if id.distinct() {
		return distinctSize
	}
	return entrySize
}

// scale is the resolution of windows of some length.
type scale struct {
	tick int64  // nanoseconds
	span uint32 // ticks in the window
	cell uint32 // ticks in a 64th of it
}

func (id windowID) scale() scale {
	seconds := id.seconds()
	s := scale{tick: int64(10 * time.Millisecond)}
	switch {
	case seconds <= 30*60:
		s.tick = int64(time.Microsecond)
	case seconds <= 20*24*3600:
		s.tick = int64(time.Millisecond)
	}
	s.span = uint32(seconds * int64(time.Second) / s.tick)
	s.cell = s.span / cellsInWindow
	return s
}

// now is the tick that has come, charge the tick that a charge is put to:
// rounding apart keeps every charge for its full window.
func (s scale) now(ns int64) uint32    { return uint32(ns / s.tick) }
func (s scale) charge(ns int64) uint32 { return uint32((ns + s.tick - 1) / s.tick) }

// age is how many ticks ago t was; 0 for a moment to come (rounding, or a
// goroutine that read the clock earlier and came later).
func (s scale) age(now, t uint32) uint32 {
	if age := now - t; age < 1<<32-1<<28 {
		return age
	}
	return 0
}

// log is one window within the bytes of a record.
type log []byte

func (w log) id() windowID      { return windowID(le.Uint32(w)) }
func (w log) near() uint32      { return le.Uint32(w[4:]) }
func (w log) setNear(t uint32)  { le.PutUint32(w[4:], t) }
func (w log) count() int        { return int(le.Uint16(w[8:])) }
func (w log) setCount(n int)    { le.PutUint16(w[8:], uint16(n)) }
func (w log) fill() uint8       { return w[10] }
func (w log) setFill(f uint8)   { w[10] = f }
func (w log) level() uint8      { return w[11] }
func (w log) setLevel(l uint8)  { w[11] = l }
func (w log) size() int         { return windowHead + w.count()*w.id().entry() }
func (w log) entry(i int) entry { return entry(w[windowHead+i*entrySize:]) }

type entry []byte

func (e entry) time() uint32     { return le.Uint32(e) }
func (e entry) setTime(t uint32) { le.PutUint32(e, t) }
func (e entry) amount() int64    { return int64(le.Uint64(e[2:])>>16) & maxAmount }

// joined: the entry holds charges of moments before its time.
func (e entry) joined() bool { return e[9]&0x80 != 0 }
func (e entry) setJoined()   { e[9] |= 0x80 }

const maxAmount = 1<<47 - 1

func (e entry) setAmount(n int64) {
	n = min(n, maxAmount) | int64(e[9]&0x80)<<40
	le.PutUint16(e[4:], uint16(n))
	le.PutUint32(e[6:], uint32(n>>16))
}

// used is the sum of a window that has been cleaned.
func (w log) used() int64 {
	if w.id().distinct() {
		return int64(w.count()) << w.level()
	}
	// One load for each entry: this runs for every window of every decision.
	var sum uint64
	for b := w[windowHead:w.size()]; len(b) >= entrySize; b = b[entrySize:] {
		sum += le.Uint64(b[2:]) >> 16 & maxAmount
	}
	return int64(sum)
}

// dead is how many entries at the head are over the window.
func (w log) dead(s scale, now int64) int {
	t, n := s.now(now), w.count()
	for i := range n {
		if s.age(t, w.entry(i).time()) < s.span {
			return i
		}
	}
	return n
}

// place says where a charge at t goes: into entry i (join) or before it.
func (w log) place(s scale, t uint32) (i int, join bool) {
	n := w.count()
	if n == 0 {
		return 0, false
	}
	last := w.entry(n - 1).time()
	if last == t || n >= exactEntries && last/s.cell == t/s.cell {
		return n - 1, true
	}
	return n, false
}

// find is the entry that holds a charge made at t, -1 when it is gone.
func (w log) find(s scale, t uint32) int {
	for i, n := 0, w.count(); i < n; i++ {
		last := w.entry(i).time()
		if int32(last-t) < 0 {
			continue
		}
		if last == t || w.entry(i).joined() && last/s.cell == t/s.cell {
			return i
		}
		break
	}
	return -1
}

// wait is the time until used has fallen to at most want, counted from now.
func (w log) wait(used, want, now int64) time.Duration {
	s := w.id().scale()
	for i, n := 0, w.count(); i < n && used > want; i++ {
		e := w.entry(i)
		if used -= e.amount(); used <= want {
			return s.until(e.time(), now)
		}
	}
	return w.id().length()
}

// until is the time until what was charged at t is over.
func (s scale) until(t uint32, now int64) time.Duration {
	end := int64(int32(t-s.now(now))) + int64(s.span)
	return max(0, time.Duration(end*s.tick-now%s.tick))
}
