package reputation

import (
	"hash/maphash"
	"math"
)

// pairSet remembers pairs of client and recipient in two generations of a
// Bloom filter: of a million pairs it takes about one in a hundred new ones for
// known, and when one generation is full the other is forgotten.
type pairSet struct {
	Seeds    [2]uint64
	Now, Old []uint64
	Count    int // bits set in Now
}

const (
	pairWords  = 1 << 17 // 1 MiB a generation
	pairBits   = pairWords * 64
	pairHashes = 5
)

func newPairSet() *pairSet {
	return &pairSet{Seeds: [2]uint64{randomSeed(), randomSeed()}, Now: make([]uint64, pairWords), Old: make([]uint64, pairWords)}
}

// add remembers a pair, and reports whether it was known.
func (p *pairSet) add(client, recipient string) bool {
	h1, h2 := fnv(p.Seeds, client, recipient)
	h2 |= 1
	now, old := true, true
	for i := range uint64(pairHashes) {
		bit := (h1 + i*h2) % pairBits
		w, m := bit/64, uint64(1)<<(bit%64)
		old = old && p.Old[w]&m != 0
		if p.Now[w]&m == 0 {
			now = false
			p.Now[w] |= m
			p.Count++
		}
	}
	if p.Count > pairBits/2 {
		p.Old, p.Now, p.Count = p.Now, p.Old, 0
		clear(p.Now)
	}
	return now || old
}

// fnv hashes by FNV-1a from two seeds at once, so that a saved set can be used
// again, and mixes the end.
func fnv(seeds [2]uint64, a, b string) (uint64, uint64) {
	h1, h2 := seeds[0]^14695981039346656037, seeds[1]^14695981039346656037
	for i := range len(a) {
		h1, h2 = fnvStep(h1, a[i]), fnvStep(h2, a[i])
	}
	h1, h2 = fnvStep(h1, 0xff), fnvStep(h2, 0xff)
	for i := range len(b) {
		h1, h2 = fnvStep(h1, b[i]), fnvStep(h2, b[i])
	}
	return fnvEnd(h1), fnvEnd(h2)
}

func fnvStep(h uint64, c byte) uint64 { return (h ^ uint64(c)) * 1099511628211 }

func fnvEnd(h uint64) uint64 {
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}

// randomSeed is one that peers cannot know.
func randomSeed() uint64 { return new(maphash.Hash).Sum64() }

// decay is what is left after days.
func decay(days int64) float64 { return math.Exp2(-float64(max(days, 0)) / halfLife) }
