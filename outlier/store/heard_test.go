package store

import (
	"fmt"
	"testing"

	"postern/outlier/detector"
)

// TestNumberedNotesCountOnce, whichever of them come together again, and in which order.
func TestNumberedNotesCountOnce(t *testing.T) {
	src, _ := source()
	var taken []int64
	src.Take = func(ev *detector.Event) { taken = append(taken, ev.At) }
	link := NewLink(src, &Shared{Prefix: "test"})
	entry := func(first, n int) (b []byte) {
		for i := range n {
			b = (&detector.Event{At: int64(first + i), Client: "shop", Sender: "a@x.example"}).Append(b)
		}
		return b
	}
	for _, c := range []struct {
		name     string
		node     string
		first, n int
		want     int
	}{
		{"the first ones", "a", 1, 3, 3},
		{"the same again", "a", 1, 3, 0},
		{"the same, and more with them", "a", 1, 5, 2},
		{"a copy that was under way for long", "a", 2, 2, 0},
		{"later ones, after some that found no room", "a", 9, 2, 2},
		{"those of another node", "b", 1, 2, 2},
	} {
		taken = nil
		link.takeNotes(entry(c.first, c.n), c.node, uint64(c.first))
		if len(taken) != c.want {
			t.Errorf("%s: %d are counted, want %d", c.name, len(taken), c.want)
		}
	}
	taken = nil
	for range 2 {
		link.takeNotes(entry(1, 2), "old", 0)
	}
	if len(taken) != 4 {
		t.Errorf("of an earlier release, without numbers: %d are counted", len(taken))
	}
}

// TestNodesThatAreHeardAreFew: whoever speaks stays known, however many others come.
func TestNodesThatAreHeardAreFew(t *testing.T) {
	var h heard
	h.of("loud").last = 7
	for i := range 10 * maxHeard {
		h.of(fmt.Sprint("new", i)).last = 1
		if h.of("loud").last != 7 {
			t.Fatalf("a node that speaks is forgotten after %d others", i)
		}
	}
	if len(h.nodes) > maxHeard {
		t.Errorf("%d nodes are kept", len(h.nodes))
	}
}
