package relay

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"postern/dkimsign"
	"postern/internal/auth"
	"postern/mail"
	"postern/policy"
	"postern/ratelimit"
	"postern/upstream"
)

// Snapshot is the rules of one moment. It never changes; a reload puts another
// in its place, and a transaction ends under the one that it began with.
type Snapshot struct {
	Hostname   string       // greeting, Received
	Postmaster mail.Address // where mail to <postmaster> goes; null: refused
	Rules      *policy.Rules
	Signers    *dkimsign.Signers
	Auth       *auth.Authenticator // nil: no SASL users
	Routes     map[string]*Route   // by stream
	Message    MessageConfig
	Timeouts   Timeouts
	Session    SessionConfig
}

// Route is how the mail of one stream leaves.
type Route struct {
	Name      string // of the upstream in the configuration
	Upstream  *upstream.Upstream
	Via       upstream.Route
	SourceKey string // what limits per source_ip count on
}

// Server runs the listeners and their sessions.
type Server struct {
	snap      atomic.Pointer[Snapshot]
	limiter   *ratelimit.Limiter
	hooks     Hooks
	observers []mail.Observer
	spool     *spooler
	log       *slog.Logger
	faults    faultLog
	open      atomic.Int64
	rateGrace time.Duration // before [message] min_rate holds

	mu        sync.Mutex
	sessions  map[*session]struct{}
	listeners map[net.Listener]struct{}
	stopping  bool
	done      sync.WaitGroup // sessions
}

// Options are what a Server is made of.
type Options struct {
	Snapshot  *Snapshot
	Limiter   *ratelimit.Limiter
	Hooks     Hooks
	Observers []mail.Observer
	SpoolDir  string // for bodies over [message] memory; must exist
	Log       *slog.Logger
}

// New makes a server that does not listen yet.
func New(o Options) *Server {
	s := &Server{
		limiter: o.Limiter, hooks: o.Hooks, observers: o.Observers, spool: newSpooler(o.SpoolDir), log: o.Log,
		sessions: map[*session]struct{}{}, listeners: map[net.Listener]struct{}{},
	}
	s.faults.log = o.Log
	s.rateGrace = time.Minute
	s.snap.Store(o.Snapshot)
	return s
}

// Reload puts other rules in place. Transactions that have begun end under the
// old ones.
func (s *Server) Reload(n *Snapshot) { s.snap.Store(n) }

func (s *Server) snapshot() *Snapshot { return s.snap.Load() }

// Connections is how many are open now.
func (s *Server) Connections() int64 { return s.open.Load() }

func (s *Server) observe(ev *mail.Event) {
	for _, o := range s.observers {
		o.Observe(ev)
	}
}

// fault logs trouble of ours or behind us, at most one line per cause and ten
// seconds.
func (s *Server) fault(cause string, err error, attrs ...any) { s.faults.report(cause, err, attrs...) }

// ErrStopped is returned by Serve after Shutdown.
var ErrStopped = errors.New("server has been shut down")

// Shutdown stops accepting, tells idle clients 421, lets transactions finish
// until ctx ends, and then closes what is left. It returns the number of
// connections that it had to cut off.
func (s *Server) Shutdown(ctx context.Context) int {
	s.mu.Lock()
	s.stopping = true
	for l := range s.listeners {
		l.Close()
	}
	for c := range s.sessions {
		c.stop()
	}
	s.mu.Unlock()
	finished := make(chan struct{})
	go func() {
		s.done.Wait()
		close(finished)
	}()
	select {
	case <-finished:
		return 0
	case <-ctx.Done():
	}
	cut := s.cutOff()
	last := time.NewTimer(lastWords)
	defer last.Stop()
	select {
	case <-finished:
	case <-last.C:
		s.closeAll()
		<-finished
	}
	return cut
}

// lastWords is how long sessions that are cut off have to give their last
// reply.
const lastWords = time.Second

func (s *Server) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.sessions {
		c.raw.Close()
	}
}

func (s *Server) cutOff() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.sessions {
		c.cut()
	}
	return len(s.sessions)
}

// add registers a session; false when the server is stopping.
func (s *Server) add(c *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.sessions[c] = struct{}{}
	s.done.Add(1)
	s.open.Add(1)
	return true
}

func (s *Server) remove(c *session) {
	s.mu.Lock()
	delete(s.sessions, c)
	s.mu.Unlock()
	s.open.Add(-1)
	s.done.Done()
}
