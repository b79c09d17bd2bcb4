package outlier

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/redistest"
	"postern/outlier/detector"
)

// nodesClock is one clock for several nodes, which only goes on.
type nodesClock struct{ at atomic.Int64 }

func newNodesClock() *nodesClock {
	c := &nodesClock{}
	c.at.Store(1_800_000_000)
	return c
}

func (c *nodesClock) now() time.Time      { return time.Unix(c.at.Load(), 0) }
func (c *nodesClock) add(d time.Duration) { c.at.Add(int64(d / time.Second)) }

// sendFrom is a message of a user from an address.
func (n *sharedNode) sendFrom(user, ip string) {
	ev := event("shop", user, user+"@x.example")
	ev.ClientIP = ip
	to(ev, "peer@y.example", false)
	n.Observe(ev)
}

// evidence is what the last message of a user says of where it is.
func (n *sharedNode) evidence() float32 {
	n.Watch.mu.Lock()
	defer n.Watch.mu.Unlock()
	return n.places.sign.Evidence
}

// knows waits until a node knows so many octets of a user's networks.
func (n *sharedNode) knows(t *testing.T, user string, octets int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s to be known, in %d octets", user, octets), func() bool {
		n.Watch.mu.Lock()
		defer n.Watch.mu.Unlock()
		v, _ := n.places.memory.Tell("shop " + user)
		return len(v) >= octets
	})
}

// octets of a user with so many networks and EHLO names, as they are told.
func octets(uses int) int { return 11 + 17*uses }

// TestUserWhoChangesTheNodeIsNotNew, whichever node he has sent by, also by one that
// joins later; and a thief is new on all.
func TestUserWhoChangesTheNodeIsNotNew(t *testing.T) {
	s, clock := redistest.Start(t), newNodesClock()
	a, b := startNodeAt(t, clock.now, s.Addr), startNodeAt(t, clock.now, s.Addr)
	for range 10 {
		a.sendFrom("anna", "192.0.2.7")
		b.sendFrom("bob", "198.51.100.7")
		clock.add(24 * time.Hour)
	}
	a.knows(t, "bob", octets(1))
	b.knows(t, "anna", octets(1))
	c := startNodeAt(t, clock.now, s.Addr)
	for _, n := range []*sharedNode{b, c} {
		if n.sendFrom("anna", "192.0.2.9"); n.evidence() != 0 {
			t.Error("anna is new where she has not sent before")
		}
	}
	for i, n := range []*sharedNode{a, b, c} {
		n.sendFrom("anna", fmt.Sprintf("203.0.%d.7", i))
		if n.evidence() != 1 {
			t.Errorf("node %d finds nothing in a thief", i)
		}
		for _, o := range []*sharedNode{a, b, c} {
			o.knows(t, "anna", octets(2+i))
		}
	}
	eventually(t, "the alarm of three networks on three nodes", func() bool {
		a.Watch.mu.Lock()
		defer a.Watch.mu.Unlock()
		st := a.states[detector.Who{Scope: User, Name: "anna"}]
		return st != nil && st.Level == Alerted && st.Rule == RuleNetworks
	})
	ttl := s.Client().TTL(t.Context(), "test:outlier:w:shop anna").Val()
	if ttl < 179*24*time.Hour || ttl > 180*24*time.Hour {
		t.Errorf("what is stored of her expires in %v", ttl)
	}
}

// TestNetworksAreMergedAfterRedisWasAway: each node goes by what it knows itself, and
// what was stored is not overwritten by one that knows less.
func TestNetworksAreMergedAfterRedisWasAway(t *testing.T) {
	s, clock := redistest.Start(t, "appendonly yes"), newNodesClock()
	a, b := startNodeAt(t, clock.now, s.Addr), startNodeAt(t, clock.now, s.Addr)
	for range 10 {
		a.sendFrom("anna", "192.0.2.7")
		clock.add(24 * time.Hour)
	}
	b.knows(t, "anna", octets(1))
	s.Kill()
	a.sendFrom("anna", "203.0.113.7")
	b.sendFrom("anna", "198.51.100.7")
	if a.evidence() != 1 || b.evidence() != 1 {
		t.Error("a node by itself finds nothing")
	}
	s.Restart()
	for _, n := range []*sharedNode{a, b, startNodeAt(t, clock.now, s.Addr)} {
		n.knows(t, "anna", octets(3))
	}
}
