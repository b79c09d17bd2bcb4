package smtpd

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"
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

// watchful is a transaction that wants to be told of each quarter of a second.
type watchful struct{ Transaction }

func (watchful) Idle(now time.Time) time.Time { return now.Add(250 * time.Millisecond) }

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
		const command = 5 * time.Minute
		for range 10 {
			s.tx = &open{Transaction: watchful{}}
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
