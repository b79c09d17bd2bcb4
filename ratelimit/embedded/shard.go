package embedded

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"time"

	"postern/ratelimit"
)

// shard is one part of the store under one lock: records, and an open hash
// table of their indexes.
type shard struct {
	mu     sync.Mutex
	store  *chunkMemory
	chunks [][]byte
	next   uint32 // index of the first record never used
	free   uint32 // 1 + index of a free record, chained by ext; 0: none

	table []uint64 // hash<<32 | 1+index; 0: empty; linear probing
	count int

	exts     [][]byte
	extFree  []uint32
	extBytes int

	maxChunks, maxExt int
	hand              uint32 // next record that sweep looks at

	changed bool // since the last snapshot

	// Of the fallback of a shared store: the records with charges that it has not
	// seen. An index may stand here in vain.
	tracking bool
	owing    []uint32
}

// lookup finds a record; ok false when there is none.
func (sh *shard) lookup(hash uint32, limit uint16, key []byte) (i uint32, ok bool) {
	if len(sh.table) == 0 {
		return 0, false
	}
	mask := uint32(len(sh.table) - 1)
	for at := hash & mask; sh.table[at] != 0; at = (at + 1) & mask {
		slot := sh.table[at]
		if uint32(slot>>32) != hash {
			continue
		}
		i := uint32(slot) - 1
		if r := sh.record(i); r.limit() == limit && bytes.Equal(sh.key(r), key) {
			return i, true
		}
	}
	return 0, false
}

// create makes a record without windows. It fails with ErrFull.
func (sh *shard) create(hash uint32, limit uint16, key []byte, now int64) (uint32, error) {
	sh.sweep(2, now)
	i, err := sh.allocate(now)
	if err != nil {
		return 0, err
	}
	r := sh.record(i)
	clear(r)
	r.setLive(true)
	r.setHash(hash)
	r.setLimit(limit)
	r.setTouched(uint32(now / int64(time.Second)))
	sh.insert(r, 0, len(key))
	copy(sh.body(r), key)
	r.setKeyLen(len(key))
	sh.link(hash, i)
	return i, nil
}

func (sh *shard) allocate(now int64) (uint32, error) {
	if sh.free == 0 && int(sh.next) == len(sh.chunks)*inChunk {
		if err := sh.grow(); err != nil && !sh.evict(now) {
			return 0, ratelimit.ErrFull
		}
	}
	if sh.free != 0 {
		i := sh.free - 1
		sh.free = sh.record(i).ext()
		return i, nil
	}
	sh.next++
	return sh.next - 1, nil
}

func (sh *shard) grow() error {
	if len(sh.chunks) >= sh.maxChunks {
		return ratelimit.ErrFull
	}
	c, err := sh.store.newChunk(chunkSize)
	if err == nil {
		sh.chunks = append(sh.chunks, c)
	}
	return err
}

// drop forgets a record.
func (sh *shard) drop(i uint32) {
	r := sh.record(i)
	sh.unlink(r.hash(), i)
	if e := r.ext(); e != 0 {
		sh.dropExt(e)
	}
	r.setLive(false)
	r.setExt(sh.free)
	sh.free = i + 1
}

func (sh *shard) link(hash uint32, i uint32) {
	if sh.count >= len(sh.table)*3/4 {
		sh.rehash()
	}
	sh.place(uint64(hash)<<32 | uint64(i+1))
	sh.count++
}

func (sh *shard) place(slot uint64) {
	mask := uint32(len(sh.table) - 1)
	at := uint32(slot>>32) & mask
	for sh.table[at] != 0 {
		at = (at + 1) & mask
	}
	sh.table[at] = slot
}

func (sh *shard) rehash() {
	old := sh.table
	sh.table = make([]uint64, max(16, 2*len(old)))
	for _, slot := range old {
		if slot != 0 {
			sh.place(slot)
		}
	}
}

// unlink takes a record out of the table and closes the gap.
func (sh *shard) unlink(hash uint32, i uint32) {
	mask := uint32(len(sh.table) - 1)
	at := hash & mask
	for sh.table[at] != uint64(hash)<<32|uint64(i+1) {
		at = (at + 1) & mask
	}
	sh.count--
	for hole, next := at, (at+1)&mask; ; next = (next + 1) & mask {
		slot := sh.table[next]
		if slot == 0 {
			sh.table[hole] = 0
			return
		}
		// A slot may move back unless the hole lies before its own place.
		if home := uint32(slot>>32) & mask; (next-home)&mask >= (next-hole)&mask {
			sh.table[hole] = slot
			hole = next
		}
	}
}

// sweep looks at the next n records in turn and drops those without charges.
func (sh *shard) sweep(n int, now int64) {
	for range min(n, int(sh.next)) {
		if sh.hand >= sh.next {
			sh.hand = 0
		}
		if r := sh.record(sh.hand); r.live() && !r.pinned() {
			if !sh.clean(r, now) {
				sh.drop(sh.hand)
			} else {
				sh.shrink(r)
			}
		}
		sh.hand++
	}
}

// evictable is the share of a limit, in 255ths, from which on a record is never
// forgotten: a busy key must not start afresh.
const evictable = 128

// evict forgets the record of least use among a few drawn at random: the one
// whose fullest live window is the least full, or of these the oldest. It
// reports whether it found one under half of its limits.
func (sh *shard) evict(now int64) bool {
	i, ok := sh.leastUsed(now, func(record) bool { return true })
	if ok {
		sh.drop(i)
	}
	return ok
}

// evictExt forgets records with large bodies until these take no more than
// they may; false when all that it finds are near their limits.
func (sh *shard) evictExt(now int64) bool {
	for sh.extBytes > sh.maxExt {
		i, ok := sh.leastUsed(now, func(r record) bool { return r.ext() != 0 })
		if !ok {
			return false
		}
		sh.drop(i)
	}
	return true
}

// leastUsed is the record with the least use among a few, of several the one
// that was charged the longest ago.
func (sh *shard) leastUsed(now int64, fits func(record) bool) (best uint32, ok bool) {
	least, seen := uint64(evictable)<<32, 0
	for tried := 0; tried < 256 && (seen < 16 || !ok); tried++ {
		i := rand.Uint32N(max(1, sh.next))
		if i >= sh.next {
			return 0, false
		}
		r := sh.record(i)
		if !r.live() || r.pinned() || !fits(r) {
			continue
		}
		seen++
		if use := uint64(sh.fill(r, now))<<32 | uint64(r.touched()); use < least {
			best, least, ok = i, use, true
		}
	}
	return best, ok
}

// fill is the use of the fullest window as it was at its last charge, 0 to 255,
// of those that are not over.
func (sh *shard) fill(r record, now int64) int {
	idle := now/int64(time.Second) - int64(r.touched())
	body := sh.body(r)
	most := 0
	for at := r.keyLen(); at < len(body); {
		w := log(body[at:])
		if idle <= w.id().seconds() {
			most = max(most, int(w.fill()))
		}
		at += w.size()
	}
	return most
}
