package outlier

// known is a sketch of the pairs of client and recipient that have been seen.
// Each pair leaves 16 bits in one of the buckets; the eight of a bucket are
// kept in the order of their last use, so that the oldest go first. It mistakes
// a new pair for a known one about once in 8,000 times.
type known struct {
	buckets []bucket
	dirty   []uint64 // one bit for each chunk of buckets changed since it was saved
}

type bucket [8]uint16

const chunkBuckets = 4096 // 64 KiB

// newKnown makes a sketch with room for at least n pairs.
func newKnown(n int) *known {
	chunks := (n + 8*chunkBuckets - 1) / (8 * chunkBuckets)
	return &known{buckets: make([]bucket, chunks*chunkBuckets), dirty: make([]uint64, (chunks+63)/64)}
}

// place is where the pair belongs, and what stands for it there; never 0.
func (k *known) place(client, rcpt uint64) (at int, mark uint16) {
	h := mix(client^0x8EBC6AF09C88C6E3, rcpt^0x589965CC75374CC3)
	mark = uint16(h)
	if mark == 0 {
		mark = 1
	}
	return int((h >> 16) % uint64(len(k.buckets))), mark
}

// has reports whether the pair is known, and makes it the last to be forgotten.
func (k *known) has(client, rcpt uint64) bool {
	at, mark := k.place(client, rcpt)
	b := &k.buckets[at]
	for i, m := range b {
		if m == mark {
			copy(b[1:i+1], b[:i])
			b[0] = mark
			return true
		}
	}
	return false
}

// add makes the pair known.
func (k *known) add(client, rcpt uint64) {
	if k.has(client, rcpt) {
		return
	}
	at, mark := k.place(client, rcpt)
	b := &k.buckets[at]
	copy(b[1:], b[:])
	b[0] = mark
	chunk := at / chunkBuckets
	k.dirty[chunk/64] |= 1 << (chunk % 64)
}

// chunk is a part of the sketch as octets.
func (k *known) chunk(n int) []byte {
	b := make([]byte, 0, chunkBuckets*16)
	for _, bucket := range k.buckets[n*chunkBuckets : (n+1)*chunkBuckets] {
		for _, m := range bucket {
			b = append(b, byte(m), byte(m>>8))
		}
	}
	return b
}

// merge adds the pairs of a part of another sketch behind those of this one.
func (k *known) merge(n int, b []byte) {
	if len(b) != chunkBuckets*16 {
		return
	}
	for i := range chunkBuckets {
		bucket := &k.buckets[n*chunkBuckets+i]
		for j := range bucket {
			bucket.append(uint16(b[16*i+2*j]) | uint16(b[16*i+2*j+1])<<8)
		}
	}
}

// append puts a mark into the first free place, if it is not there already.
func (b *bucket) append(mark uint16) {
	for i, m := range b {
		if m == mark {
			return
		}
		if m == 0 {
			b[i] = mark
			return
		}
	}
}
