package outlier

import "math/bits"

// index says by hash where in a roster an entry may be. All slots lie in one
// array, so that a search mostly takes one line of memory: with many senders
// those are what a message costs. A slot holds the upper 40 bits of the hash
// and the number of the place plus one; 0 is free.
type index []uint64

const placeBits = 24 // 16 million places

// newIndex makes an index with room for so many places and a third more, so
// that a search ends soon.
func newIndex(places int) index { return make(index, places+places/3+1) }

// slotOf is what stands for a place.
func slotOf(hash uint64, place uint32) uint64 {
	return hash>>placeBits<<placeBits | uint64(place+1)
}

// home is where the search for a hash, or for a slot, begins. It goes on with
// next until it comes to a free slot.
func (x index) home(hash uint64) int {
	i, _ := bits.Mul64(hash>>placeBits<<placeBits, uint64(len(x)))
	return int(i)
}

func (x index) next(i int) int {
	if i+1 == len(x) {
		return 0
	}
	return i + 1
}

func (x index) add(slot uint64) {
	i := x.home(slot)
	for x[i] != 0 {
		i = x.next(i)
	}
	x[i] = slot
}

// remove frees a slot, which must be there, and moves up those behind it whose
// search would end at the gap.
func (x index) remove(slot uint64) {
	gap := x.home(slot)
	for x[gap] != slot {
		gap = x.next(gap)
	}
	for i := x.next(gap); x[i] != 0; i = x.next(i) {
		if x.steps(x.home(x[i]), i) >= x.steps(gap, i) {
			x[gap] = x[i]
			gap = i
		}
	}
	x[gap] = 0
}

// steps is how often next leads from one slot to another.
func (x index) steps(from, to int) int {
	if to < from {
		to += len(x)
	}
	return to - from
}
