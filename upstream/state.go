package upstream

import (
	"errors"
	"slices"
	"time"
)

// HostState is what is known of one host of an upstream.
//
// A try is the making of a session up to where MAIL may come: address, TCP,
// greeting 220, EHLO 250, TLS as the policy asks, AUTH 235. A try that gets
// there is a success, and so is an answer to MAIL other than 421 on a kept
// connection, whatever the verdict. A try that ends anywhere else is a failure: a
// name without an address, a greeting of 421 or 554, a certificate that does not
// verify, credentials refused. No failure is that the stream's own source address
// cannot be used, that the client has gone, or that all connections are in use. A
// connection that is lost, stalls or ends by 421 in a transaction says nothing
// yet: the next try does.
//
// A host is down when its last try has failed and no other connection with it
// stands: one that takes no more connections than it has is up.
type HostState struct {
	Host string // "name:port", as in events
	// Up is true as well for a host that nobody has tried yet.
	Up bool
	// Since is when Up became what it is; zero: the host was never down.
	Since time.Time
	// LastError says why the last failed try failed, on one line; "": none has.
	// It stays when the host is up again, and quotes no password.
	LastError   string
	LastFailure time.Time // when that was; zero: never
	LastSuccess time.Time // zero: none yet
	// Surplus counts the connections that were ended because of a reply that
	// nobody had asked for, or that stood in another one's place.
	Surplus uint64
	// PerConnection is how many messages the host has shown to take on one
	// connection; 0: nothing is known of that.
	PerConnection int
	// DSN: it offered DSN (RFC 3461) in its last reply to EHLO.
	DSN bool
	// InUse counts the connections that transactions have or make, and Idle those that
	// are kept for the next ones; Max is how many both may be.
	InUse, Idle, Max int
}

// health is what a host keeps of its tries, under its mu.
type health struct {
	down             bool
	since            time.Time
	failure, success time.Time
	cause            string
	surplus          uint64
	told             time.Time // when surplus was logged

	probe *time.Timer   // of a host that is down; nil: none is due
	route route         // of the try that failed, and so of the probe
	wait  time.Duration // before the next probe, where it is not probeEvery
}

// Hosts returns the state of each host in order of preference; none for an
// upstream that captures.
func (u *Upstream) Hosts() []HostState {
	all := make([]HostState, len(u.hosts))
	for i, h := range u.hosts {
		all[i] = h.state()
	}
	return all
}

func (h *host) state() HostState {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, per := &h.health, 0
	if time.Now().Before(h.learned.until) {
		per = h.learned.messages
	}
	return HostState{
		Host: h.addr, Up: !s.down, Since: s.since, LastError: s.cause,
		LastFailure: s.failure, LastSuccess: s.success, Surplus: s.surplus, PerConnection: per,
		DSN: h.dsn.said.Load() == offered, InUse: h.open - len(h.idle), Idle: len(h.idle), Max: h.cfg.MaxConnections,
	}
}

// succeed notes a success; h.mu is held. The caller tells the change, if it was
// one, once h.mu is not held.
func (h *host) succeed(now time.Time) (tell func()) {
	s := &h.health
	s.success = now
	if !s.down {
		return func() {}
	}
	away := now.Sub(s.since).Round(time.Millisecond)
	s.down, s.since, s.wait = false, now, 0
	if s.probe != nil {
		s.probe.Stop()
		s.probe = nil
	}
	return func() {
		h.u.opt.Log.Warn("upstream host is up again", "upstream", h.u.name, "host", h.addr, "away", away.String())
	}
}

// failedTry notes a failure of a try on the route.
func (h *host) failedTry(rt route, err error) {
	dead, changed := h.noteFailure(rt, err, time.Now())
	for _, c := range dead {
		c.raw.Close()
		h.freed()
	}
	if changed {
		h.u.opt.Log.Error("upstream host is down", "upstream", h.u.name, "host", h.addr, "err", err)
	}
}

// noteFailure reports whether the host has just gone down, and takes the idle
// connections that it has closed out of the pool.
func (h *host) noteFailure(rt route, err error, now time.Time) (dead []*conn, changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.idle = slices.DeleteFunc(h.idle, func(c *conn) bool {
		if c.fresh(h.cfg, now) {
			return false
		}
		delete(h.all, c)
		dead = append(dead, c)
		return true
	})
	s := &h.health
	h.failed = now
	s.failure, s.cause, s.route = now, err.Error(), rt
	if !s.down && len(h.all) == 0 {
		s.down, s.since, changed = true, now, true
	}
	if s.down {
		h.scheduleProbe(errors.Is(err, errLogin))
	}
	return dead, changed
}

// countSurplus counts a reply that nobody had asked for. It is told at most once
// a minute.
func (h *host) countSurplus(now time.Time) (tell bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.health.surplus++
	if now.Sub(h.health.told) < time.Minute {
		return false
	}
	h.health.told = now
	return true
}

// Times between probes of a host that is down.
const (
	probeEvery = 30 * time.Second
	// maxProbeWait is where doubling ends after refused credentials: a password
	// that is wrong over and over gets an account locked.
	maxProbeWait = 5 * time.Minute
)

// scheduleProbe sets the time of the next probe, unless one is due; h.mu is held.
func (h *host) scheduleProbe(credentials bool) {
	s := &h.health
	if s.probe != nil || h.draining || h.closed || h.u.opt.Strangers {
		return
	}
	s.wait = max(s.wait, h.probeEvery)
	s.probe = time.AfterFunc(s.wait, h.tryAgain)
	if credentials {
		s.wait = min(2*s.wait, max(maxProbeWait, h.probeEvery))
	} else {
		s.wait = 0
	}
}

// tryAgain makes a session with a host that is down, up to where MAIL could
// come, and takes leave.
func (h *host) tryAgain() {
	rt, ok := h.beginProbe()
	if !ok {
		return
	}
	defer h.probing.Done()
	c, err := h.u.connect(h.life, h, rt)
	if err == nil {
		err = h.added(c)
	}
	switch {
	case err == nil:
		h.dismiss(c)
		return
	case c != nil:
		c.raw.Close()
	}
	h.free("")
	switch {
	case h.life.Err() != nil:
	case errors.Is(err, ErrSource) || errors.Is(err, errLocked):
		h.mu.Lock()
		h.scheduleProbe(errors.Is(err, errLocked))
		h.mu.Unlock()
	default:
		h.failedTry(rt, err)
	}
}

// beginProbe takes a slot for a probe. Where all are taken the probe waits:
// those who have them find out about the host.
func (h *host) beginProbe() (rt route, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.health.probe = nil
	if !h.health.down || h.draining || h.closed {
		return rt, false
	}
	if h.open >= h.cfg.MaxConnections {
		h.scheduleProbe(false)
		return rt, false
	}
	h.open++
	h.shares.Wants("", time.Now())
	h.shares.Took("", 1)
	h.probing.Add(1)
	return h.health.route, true
}

// stopProbes ends the probe that is under way; no other begins once the host is
// draining.
func (h *host) stopProbes() {
	h.mu.Lock()
	if h.health.probe != nil {
		h.health.probe.Stop()
		h.health.probe = nil
	}
	h.mu.Unlock()
	h.end()
	h.probing.Wait()
}
