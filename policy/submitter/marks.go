package submitter

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// doubtFor is how long a host is doubted after mail without a line of its own.
	doubtFor = 24 * time.Hour
	// maxDoubted is how many hosts are remembered; where there are more, the client
	// of the next one is doubted as a whole.
	maxDoubted = 1024
)

// Marks remembers which hosts of clients have handed in mail without a Received line
// of their own. An MTA writes one into each message, or it is set up to leave them
// out (header_checks that ignore Received do): then the topmost line is the sender's,
// who can write there what he likes. Since nobody can take a line away that the MTA
// adds later, one message without it says more than a thousand with it. Marks is safe
// for concurrent use.
type Marks struct {
	mu      sync.Mutex
	doubted map[host]time.Time // until when
}

// host is one address of a client; with an invalid address all of it.
type host struct {
	client string
	addr   netip.Addr
}

// NewMarks returns Marks that doubt nobody.
func NewMarks() *Marks { return &Marks{doubted: map[host]time.Time{}} }

// Missed notes that a host of a client has handed in mail without its own Received line, and
// reports whether it was not doubted before. The number of hosts is bounded: where there are
// too many, all hosts of the client are doubted.
func (m *Marks) Missed(client string, addr netip.Addr, now time.Time) (first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	first = !m.isDoubted(client, addr, now)
	h := host{client, addr}
	if _, known := m.doubted[h]; !known && len(m.doubted) >= maxDoubted {
		m.sweep(now)
		if len(m.doubted) >= maxDoubted {
			h.addr = netip.Addr{} // there are no more of these than clients
		}
	}
	m.doubted[h] = now.Add(doubtFor)
	return first
}

// Doubted reports whether the Received lines of a host of a client are not to be believed
// at the time now.
func (m *Marks) Doubted(client string, addr netip.Addr, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.doubted) > 0 && m.isDoubted(client, addr, now)
}

func (m *Marks) isDoubted(client string, addr netip.Addr, now time.Time) bool {
	return now.Before(m.doubted[host{client, addr}]) || now.Before(m.doubted[host{client: client}])
}

func (m *Marks) sweep(now time.Time) {
	for h, until := range m.doubted {
		if !now.Before(until) {
			delete(m.doubted, h)
		}
	}
}
