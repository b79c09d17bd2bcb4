package relay

import "time"

// hold is the use of a connection of the upstream's.
type hold struct {
	on bool
	// since is when the first wait for the client began in which nothing was asked
	// of it; zero before.
	since time.Time
}

func (h *hold) release() { h.on = false }

// yieldAfter is how long a client may dawdle while others wait for the upstream
// connection that it holds.
const yieldAfter = 250 * time.Millisecond

// Idle gives the upstream connection back while the client dawdles: after [timeouts]
// park, and sooner where others wait for one.
func (t *transaction) Idle(now time.Time) (again time.Time) {
	h := &t.hold
	if h.since.IsZero() {
		h.since = now
	}
	if !h.on || t.over {
		return time.Time{}
	}
	idle := now.Sub(h.since)
	if idle >= t.snap.Timeouts.Park || idle >= yieldAfter && t.up.Wanted() {
		t.park()
		return time.Time{}
	}
	again = h.since.Add(t.snap.Timeouts.Park)
	if look := now.Add(yieldAfter); look.Before(again) {
		return look
	}
	return again
}

func (t *transaction) park() {
	t.hold.release()
	if err := t.up.Park(); err != nil {
		t.lose(err)
	}
}
