package smtpd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/auth"
	"postern/mail"
	"postern/policy"
)

// Settings are what the engine goes by at one moment. They never change; a reload
// puts others in their place.
type Settings struct {
	Hostname string              // greeting
	Rules    *policy.Rules       // who can become a client here
	Auth     *auth.Authenticator // nil: no SASL users
	Message  MessageConfig
	Timeouts Timeouts
	Session  SessionConfig
}

// Options are what a Server is made of; all but RateGrace and DSN are needed.
type Options struct {
	// Settings returns the present ones. It is asked at each command.
	Settings func() *Settings
	// Begin takes what stands behind "MAIL FROM:".
	Begin func(c *Conn, path string) Begun
	// DSN reports whether the extension DSN (RFC 3461) may be offered to a peer as it
	// stands; auth: AUTH is offered to it. Nil: never.
	DSN func(p *mail.Peer, auth bool) bool
	// Suspended refuses a user whose password was right; nil lets it in.
	Suspended func(user string) (rule string, r *mail.Reply)
	// Observe takes the events of what happens outside of transactions.
	Observe func(*mail.Event)
	// Fault logs trouble, sparingly; attrs are those of slog.
	Fault func(cause string, err error, attrs ...any)
	Log   *slog.Logger
	// RateGrace is how long a body may take before [message] min_rate holds; 0: a
	// minute.
	RateGrace time.Duration
}

// Server runs the listeners and their sessions.
type Server struct {
	opt  Options
	open atomic.Int64

	mu        sync.Mutex
	sessions  map[*session]struct{}
	listeners map[net.Listener]struct{}
	stopping  bool
	done      sync.WaitGroup // sessions
}

// New makes a server that does not listen yet.
func New(o Options) *Server {
	if o.RateGrace == 0 {
		o.RateGrace = time.Minute
	}
	return &Server{opt: o, sessions: map[*session]struct{}{}, listeners: map[net.Listener]struct{}{}}
}

// Connections is how many are open now.
func (s *Server) Connections() int64 { return s.open.Load() }

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
