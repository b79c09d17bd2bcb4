package store

import "postern/outlier/detector"

// maxHeard bounds the nodes whose numbers are kept. A node has a new name after each start;
// the one that was silent for longest is left out.
const maxHeard = 256

// heard holds, for each other node, the number of its last note that has been counted. The
// zero value has heard nobody.
type heard struct {
	nodes map[string]*numbers
	turn  uint64 // entries that have been counted
}

type numbers struct{ last, turn uint64 }

// of returns the numbers of a node.
func (h *heard) of(node string) *numbers {
	h.turn++
	n := h.nodes[node]
	if n == nil {
		if h.nodes == nil {
			h.nodes = map[string]*numbers{}
		}
		h.makeRoom()
		n = &numbers{}
		h.nodes[node] = n
	}
	n.turn = h.turn
	return n
}

func (h *heard) makeRoom() {
	if len(h.nodes) < maxHeard {
		return
	}
	silent, since := "", h.turn
	for node, n := range h.nodes {
		if n.turn < since {
			silent, since = node, n.turn
		}
	}
	delete(h.nodes, silent)
}

// takeNotes counts the notes of another node, of which the first has that number; those
// that have been counted before are passed over. Without a number (0) all count.
func (s *Link) takeNotes(entry []byte, node string, first uint64) {
	var ev detector.Event
	var err error
	numbers := s.heard.of(node)
	s.src.Lock.Lock()
	defer s.src.Lock.Unlock()
	for number := first; len(entry) > 0; number++ {
		if entry, err = ev.Read(entry); err != nil {
			return
		}
		if first > 0 {
			if number <= numbers.last {
				continue
			}
			numbers.last = number
		}
		ev.At = min(ev.At, s.src.Now().Unix()+maxAhead)
		s.src.Take(&ev)
	}
}
