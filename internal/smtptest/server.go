package smtptest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// Path is the argument of MAIL or RCPT.
type Path struct {
	Address string   // what stood between < and >, as it came
	Params  []string // as they came, in order
}

// Param returns the value of a parameter; a parameter without "=" has "".
func (p Path) Param(name string) (value string, ok bool) { return param(p.Params, name) }

// Message is one mail that the server took.
type Message struct {
	Conn   int    // number of its connection, from 1
	N      int    // number among the messages of that connection, from 1
	EHLO   string // name in the last EHLO or HELO
	Remote netip.AddrPort
	Local  netip.AddrPort
	TLS    *tls.ConnectionState // nil in plain text
	User   string               // of AUTH
	From   Path
	To     []Path // the accepted ones
	Data   []byte // after un-dot-stuffing, or the chunks of BDAT
	Size   int64  // of Data, also where that was not kept
	Chunks int    // BDAT commands; 0: came by DATA
	// Replied is false where a Fault kept the final reply back: the mail is taken,
	// but the other side does not know.
	Replied bool
}

// Server is a running SMTP server.
type Server struct {
	opt  Options
	addr string
	ca   *CA
	tls  *tls.Config

	done    chan struct{}
	wg      sync.WaitGroup
	taken   atomic.Int64
	accepts atomic.Int64
	open    atomic.Int64

	mu       sync.Mutex
	ln       net.Listener // nil: refusing
	conns    map[net.Conn]bool
	faults   []*fault
	messages []*Message
	commands []string
	news     chan struct{} // closed and made anew with each message and each end of a connection
	closed   bool
}

type fault struct {
	Fault
	fits, struck int
}

// TB is the part of testing.TB that Start needs.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Start returns a running server that is closed at the end of the test.
func Start(t TB, opt Options) *Server {
	t.Helper()
	s, err := New(opt)
	if err != nil {
		t.Fatalf("start smtptest: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// New returns a running server. The caller closes it.
func New(opt Options) (*Server, error) {
	opt.setDefaults()
	s := &Server{opt: opt, done: make(chan struct{}), conns: map[net.Conn]bool{}, news: make(chan struct{})}
	if err := s.setTLS(); err != nil {
		return nil, err
	}
	s.SetFaults(opt.Faults...)
	if err := s.listen(opt.Addr); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) setTLS() error {
	s.tls = s.opt.TLS
	if _, ok := offers(s.opt.Offer, "STARTTLS"); s.tls != nil || !ok && !s.opt.ImplicitTLS {
		return nil
	}
	ca, err := NewCA()
	if err != nil {
		return err
	}
	cert, err := ca.Issue(Cert{Names: []string{"localhost", "upstream.test", "127.0.0.1", "::1"}})
	if err != nil {
		return err
	}
	s.ca, s.tls = ca, &tls.Config{Certificates: []tls.Certificate{cert}}
	return nil
}

func (s *Server) listen(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.ln, s.addr = ln, ln.Addr().String()
	s.mu.Unlock()
	s.wg.Go(func() { s.accept(ln) })
	return nil
}

// Addr is the address that the server listens on, as host:port.
func (s *Server) Addr() string { return s.addr }

// CA issued the server's certificate; nil where Options.TLS was given or TLS is
// not in use.
func (s *Server) CA() *CA { return s.ca }

// SetFaults replaces all faults and starts their counts anew.
func (s *Server) SetFaults(fs ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	for _, f := range fs {
		s.faults = append(s.faults, &fault{Fault: f})
	}
}

// Refuse stops listening, so that connections are refused, or listens again on
// the same port. Open sessions go on.
func (s *Server) Refuse(yes bool) error {
	s.mu.Lock()
	ln := s.ln
	if yes {
		s.ln = nil
	}
	s.mu.Unlock()
	switch {
	case yes && ln != nil:
		return ln.Close()
	case !yes && ln == nil:
		return s.listen(s.addr)
	}
	return nil
}

// DropAll closes every open connection.
func (s *Server) DropAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// Close ends every session and returns when their goroutines have ended.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
	}
	s.mu.Unlock()
	s.Refuse(true)
	s.DropAll()
	s.wg.Wait()
	return nil
}

// Messages returns what was taken so far, in order.
func (s *Server) Messages() []*Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Wait returns the first n messages as soon as they are there.
func (s *Server) Wait(ctx context.Context, n int) ([]*Message, error) {
	for {
		s.mu.Lock()
		got, news := slices.Clone(s.messages), s.news
		s.mu.Unlock()
		if len(got) >= n {
			return got[:n], nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return got, fmt.Errorf("%d of %d messages came: %w", len(got), n, ctx.Err())
		}
	}
}

// WaitOpen returns as soon as at most n connections are open.
func (s *Server) WaitOpen(ctx context.Context, n int) error {
	for {
		s.mu.Lock()
		news := s.news
		s.mu.Unlock()
		if s.Open() <= n {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("%d connections are open: %w", s.Open(), ctx.Err())
		}
	}
}

// Commands returns the command lines that came, each after the number of its
// connection and a space ("1 EHLO a.example"), the first 10,000. The arguments
// of AUTH are left out.
func (s *Server) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commands)
}

// Taken is the number of messages taken.
func (s *Server) Taken() int { return int(s.taken.Load()) }

// Accepted is the number of connections that were accepted.
func (s *Server) Accepted() int { return int(s.accepts.Load()) }

// Open is the number of connections that are open.
func (s *Server) Open() int { return int(s.open.Load()) }

func (s *Server) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		if !s.add(c) {
			c.Close()
			return
		}
		n := int(s.accepts.Add(1))
		s.open.Add(1)
		s.wg.Go(func() {
			defer s.remove(c)
			newSession(s, c, n).serve()
		})
	}
}

func (s *Server) add(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = true
	return true
}

func (s *Server) remove(c net.Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	c.Close()
	s.open.Add(-1)
	s.tell()
	s.mu.Unlock()
}

// fault returns what shall go wrong at this step; the zero value: nothing.
func (s *Server) fault(conn int, stage Stage, to string) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.Stage != stage || f.Conn != 0 && f.Conn != conn || f.To != "" && f.To != to {
			continue
		}
		if f.fits++; f.fits <= f.After || f.Times > 0 && f.struck >= f.Times {
			continue
		}
		f.struck++
		return f.Fault
	}
	return Fault{}
}

func (s *Server) command(conn int, line string) {
	if s.opt.Discard {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.commands) < 10_000 {
		s.commands = append(s.commands, fmt.Sprintf("%d %s", conn, line))
	}
}

func (s *Server) take(m *Message) {
	if s.opt.OnMessage != nil {
		s.opt.OnMessage(m)
	}
	s.taken.Add(1)
	if s.opt.Discard {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, m)
	s.tell()
}

// tell wakes who waits for a message or for a connection to end.
func (s *Server) tell() {
	close(s.news)
	s.news = make(chan struct{})
}
