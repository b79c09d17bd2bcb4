package outlier

import (
	"testing"

	"postern/outlier/detector"
)

// Notes that come while others are being sent, with the queue full, push out
// some of those; only what was never sent is lost.
func TestFullQueueLosesOnlyWhatWasNotSent(t *testing.T) {
	for _, c := range []struct {
		name                 string
		sending, come        int
		left, lost, firstAge int // of what is left, the first came as number firstAge
	}{
		{"none came", 100, 0, maxQueued - 100, 0, 100},
		{"fewer came than were sent", 100, 3, maxQueued - 97, 0, 100},
		{"more came than were sent", 100, 130, maxQueued, 30, 130},
	} {
		var s share
		at := int64(0)
		add := func(n int) {
			for range n {
				s.note(&detector.Event{At: at}, false)
				at++
			}
		}
		add(maxQueued)
		pushed := s.pushed
		add(c.come)
		s.sent(c.sending, s.pushed-pushed)
		first := (&detector.Event{At: int64(c.firstAge)}).Append(nil)
		if len(s.queue) != c.left || s.lost != c.lost || string(s.queue[0]) != string(first) {
			t.Errorf("%s: %d notes left and %d lost, want %d and %d; first %x, want %x",
				c.name, len(s.queue), s.lost, c.left, c.lost, s.queue[0], first)
		}
	}
}
