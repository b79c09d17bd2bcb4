package relay

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"postern/upstream"
)

// deadlineCounter counts how often a deadline is set.
type deadlineCounter struct {
	net.Conn
	set int
}

func (c *deadlineCounter) SetReadDeadline(at time.Time) error {
	c.set++
	return c.Conn.SetReadDeadline(at)
}

// A message needs short deadlines while it holds an upstream connection and a
// long one behind it. A quick dialog sets one, and a client that then falls
// silent still has the whole of the long one.
func TestAwaitKeepsAnEarlierDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		conn := &deadlineCounter{Conn: server}
		s := &session{wire: newWire(conn, time.Minute), raw: server}
		s.ctx, s.cancel = context.WithCancel(t.Context())
		defer s.cancel()
		snap := &Snapshot{}
		snap.Timeouts.Park = time.Minute
		const command = 5 * time.Minute
		for range 10 {
			s.tx = &transaction{s: s, snap: snap, up: &upstream.Transaction{}, holds: true, heldSince: time.Now()}
			for range 2 {
				go client.Write([]byte("x"))
				if err := s.await(time.Now(), time.Now().Add(command)); err != nil {
					t.Fatal(err)
				}
				s.tx = nil
			}
			s.r, s.w = 0, 0
		}
		if conn.set != 1 {
			t.Errorf("%d deadlines set by a quick dialog, want 1", conn.set)
		}
		began := time.Now()
		err := s.await(began, began.Add(command))
		if !isTimeout(err) || time.Since(began) != command {
			t.Errorf("a silent client: %v after %v, want a timeout after %v", err, time.Since(began), command)
		}
		if conn.set != 2 {
			t.Errorf("%d deadlines set in all, want 2", conn.set)
		}
	})
}

// A session that is cut off calls what its transaction has left there, once.
func TestAfterCut(t *testing.T) {
	start := func() *session {
		client, server := net.Pipe()
		t.Cleanup(func() { client.Close() })
		s := &session{wire: newWire(server, time.Minute), raw: server}
		s.ctx, s.cancel = context.WithCancel(t.Context())
		s.undo = s.undoCut
		return s
	}
	calls := 0
	f := func() { calls++ }

	s := start()
	undo := s.afterCut(f)
	s.cut()
	s.cut()
	if calls != 1 || undo() {
		t.Errorf("cut off twice: %d calls, want 1; undo must be too late", calls)
	}

	s, calls = start(), 0
	undo = s.afterCut(f)
	if !undo() || undo() {
		t.Error("undo before the cut: want true, then false")
	}
	s.cut()
	if calls != 0 {
		t.Error("called although undone")
	}

	s, calls = start(), 0
	s.cut()
	if undo := s.afterCut(f); calls != 1 || undo() {
		t.Errorf("cut off before: %d calls, want 1 at once; undo must be too late", calls)
	}
}

// Contexts that package context makes of a term end with the session, and do not
// take the place of the connection's own function.
func TestTermLeavesItsPlaceToTheConnection(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	s := &session{wire: newWire(server, time.Minute), raw: server}
	s.ctx, s.cancel = context.WithCancel(t.Context())
	term := &term{deadline{s.ctx, time.Now().Add(time.Hour)}, s}
	child, cancel := context.WithCancel(term)
	defer cancel()
	defer context.AfterFunc(term, func() {})()
	if s.onCut != nil {
		t.Error("a child has taken the place")
	}
	s.cut()
	if child.Err() == nil {
		t.Error("a child goes on after its session")
	}
}
