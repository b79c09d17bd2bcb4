package upstream

import (
	"context"
	"crypto/tls"
	"slices"
	"sync"
	"time"

	"postern/upstream/share"
)

// host is one of an upstream's hosts with its connections: those in use, those
// in the making, and the idle ones, of all routes together at most
// MaxConnections.
type host struct {
	u    *Upstream
	cfg  *Config
	name string // or address
	addr string // as in the configuration, for logs and events
	port uint16
	tls  *tls.Config

	mu       sync.Mutex
	open     int     // slots taken: in use, in the making or idle
	idle     []*conn // the longest idle first
	waiting  []*waiter
	shares   *share.Shares
	all      map[*conn]bool
	reaper   *time.Timer // nil while nothing is idle
	draining bool        // nothing is kept any more
	closed   bool        // nothing is given out any more
	empty    chan struct{}

	failed      time.Time // the last failure; zero: none since the last success
	dsn         offer     // in the last reply to EHLO
	noBDAT      bdatRefusal
	learned     learned
	lockedUntil time.Time
	lockedBy    error

	health     health
	probeEvery time.Duration
	probing    sync.WaitGroup     // the probe under way
	life       context.Context    // of probes
	end        context.CancelFunc // ends life
}

// waiter is a transaction without a connection. It gets one of its own route,
// or nil and with it the right to open one.
type waiter struct {
	want
	got chan *conn // of capacity 1; closed when the host is closed
}

// want is what a transaction asks of the pool.
type want struct {
	route  route
	fresh  bool   // a new connection, none that is kept
	client string // whose mail it is
}

// acquire takes an idle connection of the route, or a free slot: then c is nil.
// The slot is given back by put, or by free for the client that wanted it.
func (h *host) acquire(ctx context.Context, what want) (c *conn, err error) {
	c, w, dead, err := h.claim(what)
	for _, d := range dead {
		d.quit()
	}
	if w == nil || err != nil {
		return c, err
	}
	timer := time.NewTimer(h.cfg.WaitTimeout)
	defer timer.Stop()
	select {
	case c, ok := <-w.got:
		if !ok {
			return nil, ErrClosed
		}
		return c, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	h.desert(w)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return nil, ErrBusy
}

// claim does what acquire can do at once; dead are connections to close.
func (h *host) claim(what want) (c *conn, w *waiter, dead []*conn, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, nil, nil, ErrClosed
	}
	now := time.Now()
	h.shares.Wants(what.client, now)
	may := h.shares.May(what.client, 1, now)
	for i := len(h.idle) - 1; i >= 0 && may && !what.fresh; i-- {
		c := h.idle[i]
		if c.route != what.route {
			continue
		}
		h.idle = slices.Delete(h.idle, i, i+1)
		if c.fresh(h.cfg, now) {
			h.shares.Took(what.client, 1)
			return c, nil, dead, nil
		}
		delete(h.all, c)
		h.open--
		dead = append(dead, c)
	}
	switch {
	case may && h.open < h.cfg.MaxConnections && h.first(now) < 0:
		h.open++
		h.shares.Took(what.client, 1)
		return nil, nil, dead, nil
	case may && len(h.idle) > 0:
		d := h.idle[0]
		h.idle = slices.Delete(h.idle, 0, 1)
		delete(h.all, d)
		h.shares.Took(what.client, 1)
		return nil, nil, append(dead, d), nil
	}
	w = &waiter{what, make(chan *conn, 1)}
	h.waiting = append(h.waiting, w)
	return nil, w, dead, nil
}

// first is the place in the queue of who may have the next connection; -1: nobody.
func (h *host) first(now time.Time) int {
	return slices.IndexFunc(h.waiting, func(w *waiter) bool { return h.shares.May(w.client, 1, now) })
}

// desert ends a wait; what was granted in the same moment goes back.
func (h *host) desert(w *waiter) {
	h.mu.Lock()
	if i := slices.Index(h.waiting, w); i >= 0 {
		h.waiting = slices.Delete(h.waiting, i, i+1)
	}
	h.mu.Unlock()
	select {
	case c, ok := <-w.got:
		if ok && c != nil {
			c.client = w.client
			h.put(c)
		} else if ok {
			h.free(w.client)
		}
	default:
	}
}

// added notes a connection that was made in a slot.
func (h *host) added(c *conn) error {
	tell := func() {}
	defer func() { tell() }()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	h.all[c] = true
	h.failed = time.Time{}
	tell = h.succeed(time.Now())
	return nil
}

// put gives a connection back after a transaction.
func (h *host) put(c *conn) {
	c.unwatch()
	if h.keep(c) {
		return
	}
	c.quit()
	h.freed()
}

// keep hands c to who waits for one of its route, or lets it be idle. Where the
// first in the queue wants another route or a new connection, c is to be closed in its favour.
func (h *host) keep(c *conn) bool {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shares.Left(c.client, 1)
	next := h.first(now)
	if c.heard.After(h.health.success) {
		h.health.success = c.heard
	}
	if h.draining || !c.usable(h.cfg, now) || next >= 0 && (h.waiting[next].fresh || h.waiting[next].route != c.route) {
		delete(h.all, c)
		return false
	}
	c.idle, c.pooled = now, true
	if next >= 0 {
		h.grant(next, c)
		return true
	}
	h.idle = append(h.idle, c)
	h.schedule()
	return true
}

// dismiss takes leave of a connection that is not wanted.
func (h *host) dismiss(c *conn) {
	h.mu.Lock()
	delete(h.all, c)
	h.mu.Unlock()
	c.quit()
	h.free(c.client)
}

// drop closes a connection whose state is not known.
func (h *host) drop(c *conn) {
	c.broken = true
	h.put(c)
}

// free gives back a slot that client had without a connection.
func (h *host) free(client string) {
	h.mu.Lock()
	h.shares.Left(client, 1)
	h.mu.Unlock()
	h.freed()
}

// freed gives back a slot that nobody has any more.
func (h *host) freed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if next := h.first(time.Now()); next >= 0 {
		h.grant(next, nil)
		return
	}
	h.open--
	h.checkEmpty()
}

// grant gives c, or the right to open a connection, to one of the queue.
func (h *host) grant(next int, c *conn) {
	w := h.waiting[next]
	h.waiting = slices.Delete(h.waiting, next, next+1)
	h.shares.Took(w.client, 1)
	w.got <- c
}

func (h *host) checkEmpty() {
	if h.draining && h.open == 0 && h.empty != nil {
		close(h.empty)
		h.empty = nil
	}
}

// schedule sets the reaper for the connection that will be too old first. One
// timer serves all; nothing waits on an idle connection.
func (h *host) schedule() {
	if h.reaper == nil && len(h.idle) > 0 {
		d := h.cfg.IdleTimeout - time.Since(h.idle[0].idle)
		h.reaper = time.AfterFunc(max(d, time.Millisecond), h.reap)
	}
}

// reap closes the connections that were idle for too long.
func (h *host) reap() {
	now := time.Now()
	h.mu.Lock()
	n := 0
	for n < len(h.idle) && now.Sub(h.idle[n].idle) >= h.cfg.IdleTimeout {
		delete(h.all, h.idle[n])
		n++
	}
	old := slices.Clone(h.idle[:n])
	h.idle = slices.Delete(h.idle, 0, n)
	h.reaper = nil
	h.schedule()
	h.mu.Unlock()
	for _, c := range old {
		c.quit()
		h.freed()
	}
}

// CloseIdle closes the connections that no transaction uses.
func (u *Upstream) CloseIdle() {
	for _, h := range u.hosts {
		h.mu.Lock()
		old := h.idle
		h.idle = nil
		for _, c := range old {
			delete(h.all, c)
		}
		h.mu.Unlock()
		for _, c := range old {
			c.quit()
			h.freed()
		}
	}
}

// drain closes what is idle and keeps nothing from now on. The channel is
// closed when no slot is taken.
func (h *host) drain() <-chan struct{} {
	h.mu.Lock()
	h.draining = true
	if h.reaper != nil {
		h.reaper.Stop()
		h.reaper = nil
	}
	old := h.idle
	h.idle = nil
	for _, c := range old {
		delete(h.all, c)
	}
	if h.empty == nil {
		h.empty = make(chan struct{})
	}
	done := h.empty
	h.checkEmpty()
	h.mu.Unlock()
	for _, c := range old {
		c.quit()
		h.freed()
	}
	return done
}

// close ends everything, also what is in use.
func (h *host) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, w := range h.waiting {
		close(w.got)
	}
	h.waiting = nil
	for c := range h.all {
		c.raw.Close()
	}
}

// stalled notes that the host let a transaction wait in vain, so that the others
// are asked first for a while.
func (h *host) stalled() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = time.Now()
}

func (h *host) failing(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.failed.IsZero() && now.Sub(h.failed) < h.cfg.RetryAfter
}
