// Package sketch remembers pairs of names in bounded memory, by keyed hashes: of each
// pair sixteen bits, and the pairs used last stay.
package sketch

import (
	"encoding/binary"
	"slices"
)

// Sketch remembers the pairs of client and recipient that have been seen.
// Each pair leaves 16 bits in one of the buckets; the eight of a bucket are
// kept in the order of their last use, so that the oldest go first. It mistakes
// a new pair for a known one about once in 8,000 times.
type Sketch struct {
	buckets []bucket
	lost    int64    // pairs that had to go for others
	dirty   []uint64 // one bit for each chunk of buckets changed since it was saved
}

type bucket [8]uint16

const chunkBuckets = 4096 // 64 KiB

// New makes a sketch with room for at least n pairs.
func New(n int) *Sketch {
	chunks := (n + 8*chunkBuckets - 1) / (8 * chunkBuckets)
	return &Sketch{buckets: make([]bucket, chunks*chunkBuckets), dirty: make([]uint64, (chunks+63)/64)}
}

// place is where the pair belongs, and what stands for it there; never 0.
func (k *Sketch) place(client, rcpt uint64) (at int, mark uint16) {
	h := Mix(client^0x8EBC6AF09C88C6E3, rcpt^0x589965CC75374CC3)
	mark = uint16(h)
	if mark == 0 {
		mark = 1
	}
	return int((h >> 16) % uint64(len(k.buckets))), mark
}

// Has reports whether the pair is known, and makes it the last to be forgotten.
func (k *Sketch) Has(client, rcpt uint64) bool {
	at, mark := k.place(client, rcpt)
	return k.buckets[at].use(mark)
}

// use makes a mark the last to be forgotten, and reports whether it is there.
func (b *bucket) use(mark uint16) bool {
	for i, m := range b {
		if m == mark {
			copy(b[1:i+1], b[:i])
			b[0] = mark
			return true
		}
	}
	return false
}

// Add makes the pair known.
func (k *Sketch) Add(client, rcpt uint64) {
	at, mark := k.place(client, rcpt)
	b := &k.buckets[at]
	if b.use(mark) {
		return
	}
	if b[len(b)-1] != 0 {
		k.lost++
	}
	copy(b[1:], b[:])
	b[0] = mark
	k.Again(at / chunkBuckets)
}

// Forgotten is how many pairs had to be forgotten to make room for others.
func (k *Sketch) Forgotten() int64 { return k.lost }

// Size names the size of the sketch: parts of another are not of this one.
func (k *Sketch) Size() int { return len(k.buckets) }

// Chunks is the number of the parts of 64 KiB in which the sketch is stored.
func (k *Sketch) Chunks() int { return len(k.buckets) / chunkBuckets }

// Changed gives a part, 0 to Chunks() - 1, that has changed since Changed gave it out
// last; ok is false where it has not.
func (k *Sketch) Changed(n int) (b []byte, ok bool) {
	if k.dirty[n/64]&(1<<(n%64)) == 0 {
		return nil, false
	}
	k.dirty[n/64] &^= 1 << (n % 64)
	return k.chunk(n), true
}

// Again has Changed give a part out once more.
func (k *Sketch) Again(n int) { k.dirty[n/64] |= 1 << (n % 64) }

// chunk is a part of the sketch as octets.
func (k *Sketch) chunk(n int) []byte {
	b := make([]byte, 0, chunkBuckets*16)
	for _, bucket := range k.buckets[n*chunkBuckets : (n+1)*chunkBuckets] {
		for _, m := range bucket {
			b = append(b, byte(m), byte(m>>8))
		}
	}
	return b
}

// Merge adds the pairs of a part of another sketch behind those of this one.
func (k *Sketch) Merge(n int, b []byte) {
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

// append puts a mark into the first free place, if it is not there already, and reports
// whether it is there now.
func (b *bucket) append(mark uint16) bool {
	for i, m := range b {
		if m == mark {
			return true
		}
		if m == 0 {
			b[i] = mark
			return true
		}
	}
	return false
}

// Fill takes the places of a sketch of the same size, as Marks.Append writes them.
func (k *Sketch) Fill(raw []byte) {
	for i := range k.buckets {
		for j := range k.buckets[i] {
			k.buckets[i][j] = binary.LittleEndian.Uint16(raw[16*i+2*j:])
		}
	}
}

// Marks are the places of a sketch.
type Marks []bucket

// Copy gives the places as they are now.
func (k *Sketch) Copy() Marks { return slices.Clone(k.buckets) }

// Append writes the places behind b, sixteen octets for each of len(m) buckets.
func (m Marks) Append(b []byte) []byte {
	for i := range m {
		for _, mark := range m[i] {
			b = binary.LittleEndian.AppendUint16(b, mark)
		}
	}
	return b
}

// Blank reports whether no pair is known.
func (k *Sketch) Blank() bool {
	for i := range k.buckets {
		if k.buckets[i][0] != 0 {
			return false
		}
	}
	return true
}

// Take adds the pairs of a part of another sketch of the same size as far as there is
// room: none that is known has to go. It says how many there are, and how many found no
// room.
func (k *Sketch) Take(o *Sketch, chunk int) (n, without int) {
	for at := chunk * chunkBuckets; at < (chunk+1)*chunkBuckets; at++ {
		for _, mark := range o.buckets[at] {
			if mark == 0 {
				break
			}
			n++
			if !k.buckets[at].append(mark) {
				without++
			}
		}
	}
	if n > without {
		k.Again(chunk)
	}
	return n, without
}

// Near has what Add needs of a pair be fetched from memory, of which it gives a part.
func (k *Sketch) Near(client, rcpt uint64) uint16 {
	at, _ := k.place(client, rcpt)
	return k.buckets[at][0]
}
