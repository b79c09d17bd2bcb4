package outlier

import (
	"math/rand/v2"
	"testing"
)

// TestIndexFindsWhatIsThere: of hashes that crowd at both ends of the index each
// is found until it is removed, whatever came and went before.
func TestIndexFindsWhatIsThere(t *testing.T) {
	const places = 60
	rnd := rand.New(rand.NewPCG(1, 2))
	x := newIndex(places)
	hashes := map[uint32]uint64{} // by place
	for step := range 20_000 {
		place := rnd.Uint32N(places)
		if h, ok := hashes[place]; ok {
			x.remove(slotOf(h, place))
			delete(hashes, place)
		} else {
			h := rnd.Uint64() >> 3
			if step%2 == 0 {
				h = ^h
			}
			x.add(slotOf(h, place))
			hashes[place] = h
		}
		used := 0
		for _, slot := range x {
			if slot != 0 {
				used++
			}
		}
		if used != len(hashes) {
			t.Fatalf("step %d: %d slots for %d places", step, used, len(hashes))
		}
		for place, h := range hashes {
			if !x.has(slotOf(h, place)) {
				t.Fatalf("step %d: place %d is not found", step, place)
			}
		}
	}
}

func (x index) has(slot uint64) bool {
	for i := x.home(slot); x[i] != 0; i = x.next(i) {
		if x[i] == slot {
			return true
		}
	}
	return false
}

// TestRosterTellsHashesApart: two names whose hashes differ only in the bits that
// the index does not hold have a meter each, also when one of them goes.
func TestRosterTellsHashesApart(t *testing.T) {
	r := newRoster(seed{1, 2}, 1000)
	a, _ := r.get(ofSender, "a@x.example", 0, 1_700_000_000)
	b, _ := r.get(ofSender, "b@x.example", 0, 1_700_000_000)
	r.index.remove(slotOf(b.hash, 1))
	b.hash = a.hash ^ 1
	r.index.add(slotOf(b.hash, 1))
	if r.search(a.hash) != a || r.search(b.hash) != b {
		t.Fatal("one name has the meter of the other")
	}
	r.forget(0)
	if r.search(b.hash) != b || r.search(b.hash^1) != nil || r.len() != 1 {
		t.Error("after one is forgotten, the other is not found")
	}
}
