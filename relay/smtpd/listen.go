package smtpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/pires/go-proxyproto"

	"postern/mail"
	"postern/relay/replies"
)

// Listener is one [listener.NAME] at work: an open port.
type Listener struct {
	name string
	ln   net.Listener
	set  atomic.Pointer[settings]
	gone atomic.Bool // no longer served: its sessions end between transactions
	caps connCaps
}

// settings of a listener; a connection looks at the present ones at each command.
type settings struct {
	cfg ListenerConfig
	tls *tlsFiles // nil: no TLS
}

// certificateCheck is how often certificate files are looked at.
const certificateCheck = 5 * time.Second

// Listen opens the port of a listener and reads its certificate files.
func Listen(name string, cfg ListenerConfig) (*Listener, error) {
	files, err := loadTLS(&cfg)
	if err != nil {
		return nil, fmt.Errorf("listener.%s: %w", name, err)
	}
	ln, err := net.Listen("tcp", cfg.Address.String())
	if err != nil {
		return nil, fmt.Errorf("listener.%s: %w", name, err)
	}
	l := &Listener{name: name, ln: ln, caps: connCaps{by: map[netip.Prefix]int{}, of: map[string]int{}}}
	l.use(&settings{cfg, files})
	return l, nil
}

func (l *Listener) use(set *settings) {
	l.set.Store(set)
	l.caps.set(set.cfg.MaxConnections, set.cfg.MaxConnectionsPerIP)
}

// Change puts other settings in force. What an open connection is no longer
// allowed is refused from its next command on. The address stays. On an error everything is as before.
func (l *Listener) Change(cfg ListenerConfig) error {
	files, err := loadTLS(&cfg)
	if err != nil {
		return fmt.Errorf("listener.%s: %w", l.name, err)
	}
	l.use(&settings{cfg, files})
	return nil
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// Close closes a listener that is not to be served.
func (l *Listener) Close() error { return l.ln.Close() }

// Serve accepts connections until ctx ends or the server is shut down, and
// returns ErrStopped then.
func (s *Server) Serve(ctx context.Context, l *Listener) error {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		l.ln.Close()
		return ErrStopped
	}
	s.listeners[l.ln] = struct{}{}
	s.mu.Unlock()
	defer s.forget(l.ln)
	defer l.gone.Store(true)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { l.ln.Close() })
	go l.watchFiles(ctx, s.opt.Log)
	return s.accept(ctx, l)
}

func (s *Server) forget(ln net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, ln)
}

// watchFiles looks at the certificate files until ctx ends.
func (l *Listener) watchFiles(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(certificateCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.Refresh(log)
		}
	}
}

// Refresh reads the certificate files again where one of them has changed, as
// Serve does every five seconds.
func (l *Listener) Refresh(log *slog.Logger) {
	if files := l.set.Load().tls; files != nil {
		files.refresh(log, l.name)
	}
}

func (s *Server) accept(ctx context.Context, l *Listener) error {
	for {
		conn, err := l.ln.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return ErrStopped
		case err != nil: // out of file handles, say: what is open goes on
			s.opt.Fault("accept", err, "listener", l.name)
			select {
			case <-ctx.Done():
				return ErrStopped
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		if known, ok := s.enter(l, conn); ok {
			go s.serveConn(l, conn, known)
		}
	}
}

// ServeConn serves a connection that was accepted elsewhere, to its end, as one
// of l.
func (s *Server) ServeConn(l *Listener, conn net.Conn) {
	if known, ok := s.enter(l, conn); ok {
		s.serveConn(l, conn, known)
	}
}

// enter counts a connection in, or turns it away.
func (s *Server) enter(l *Listener, conn net.Conn) (known, ok bool) {
	known = s.isKnown(l, conn)
	ok = l.caps.enter(known, s.opt.Settings().Rules.HaveNetworks(l.name))
	if !ok {
		s.turnAway(l, conn, "max_connections", addrPort(conn.RemoteAddr()).Addr())
	}
	return known, ok
}

// isKnown reports whether a connection comes from a client's networks, or from
// somebody who speaks for others: part of max_connections is kept for these.
func (s *Server) isKnown(l *Listener, conn net.Conn) bool {
	peer := mail.Peer{Addr: addrPort(conn.RemoteAddr()), Listener: l.name}
	cfg, ip := &l.set.Load().cfg, peer.Addr.Addr()
	return contains(cfg.ProxyProtocolFrom, ip) || contains(cfg.XClientFrom, ip) || s.opt.Settings().Rules.InNetworks(&peer)
}

// turnAway closes a connection that is one too many. In plain text it can be
// told why; the few octets fit into an empty socket, so that this never waits.
func (s *Server) turnAway(l *Listener, conn net.Conn, cap string, ip netip.Addr) {
	if cap == "max_connections" {
		s.opt.Fault("connection cap", fmt.Errorf("%s of listener %s reached", cap, l.name))
	}
	s.opt.Observe(refusedConnection(l, ip, cap, replies.TooManyConnections()))
	if l.set.Load().cfg.TLS != TLSImplicit {
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		conn.Write(replies.TooManyConnections().AppendTo(nil))
	}
	conn.Close()
}

// serveConn runs one connection that has been counted in.
func (s *Server) serveConn(l *Listener, conn net.Conn, known bool) {
	defer conn.Close()
	c := s.newSession(l, conn)
	c.known = known
	defer func() { l.caps.leave(c.known) }()
	defer c.cancel()
	if !s.add(c) {
		if c.set.cfg.TLS != TLSImplicit {
			c.reply(replies.Shutdown(c.cfg.Hostname))
			c.flush()
		}
		return
	}
	defer s.remove(c)
	defer s.recovered()
	if err := c.proxyHeader(); err != nil {
		s.opt.Fault("proxy protocol", err, "proxy", conn.RemoteAddr().String())
		return
	}
	c.trusted = contains(c.set.cfg.XClientFrom, c.peer.Addr.Addr())
	// A proxy's health check, which has no address, is not a
	// stranger's.
	if !c.recount(c.trusted || !c.peer.Addr.IsValid() || c.cfg.Rules.InNetworks(&c.peer)) {
		s.turnAway(l, conn, "max_connections", c.peer.Addr.Addr())
		return
	}
	if !l.caps.enterIP(c.peer.Addr.Addr()) {
		s.turnAway(l, conn, "max_connections_per_ip", c.peer.Addr.Addr())
		return
	}
	c.countedIP = c.peer.Addr.Addr()
	c.front = c.countedIP
	defer func() { l.caps.leaveIP(c.countedIP) }()
	defer func() { l.caps.leaveClient(c.countedFor) }()
	if !c.trusted && !c.moveClient() {
		s.turnAway(l, conn, "max_connections", c.countedIP)
		return
	}
	if c.set.cfg.TLS == TLSImplicit && c.handshake() != nil {
		return
	}
	c.run()
	if t, ok := c.conn.(*tls.Conn); ok {
		t.SetWriteDeadline(time.Now().Add(time.Second))
		t.CloseWrite()
	}
}

func (s *Server) newSession(l *Listener, conn net.Conn) *session {
	cfg := s.opt.Settings()
	c := &session{
		wire: newWire(conn, cfg.Timeouts.Write), raw: conn, srv: s, lis: l, set: l.set.Load(), cfg: cfg, began: time.Now(),
	}
	c.mayEndInLF = c.lenientNow
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.peer.Listener, c.peer.LMTP = l.name, c.set.cfg.Protocol == ProtocolLMTP
	c.peer.Addr, c.peer.Local = addrPort(conn.RemoteAddr()), addrPort(conn.LocalAddr())
	return c
}

// recovered keeps a fault of ours in one session from ending the others.
func (s *Server) recovered() {
	if p := recover(); p != nil {
		s.opt.Log.Error("session failed", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
}

// proxyHeader reads the PROXY header that a configured proxy must send; from
// others none is looked for, so that one of theirs is just a wrong command.
func (s *session) proxyHeader() error {
	if !contains(s.set.cfg.ProxyProtocolFrom, s.peer.Addr.Addr()) {
		return nil
	}
	if err := s.beginWait(time.Now().Add(s.cfg.Timeouts.Greeting)); err != nil {
		return err
	}
	defer s.endWait()
	r := bufio.NewReaderSize(s.conn, commandBuffer)
	h, err := proxyproto.Read(r)
	if err != nil {
		return fmt.Errorf("read PROXY header: %w", err)
	}
	s.proxied = true
	rest, _ := r.Peek(r.Buffered())
	if len(rest) > 0 {
		s.conn = &prefixConn{Conn: s.conn, prefix: append([]byte(nil), rest...)}
	}
	// A health check of the proxy itself, a client whose address it cannot tell
	// (version 1, UNKNOWN) and one of a Unix socket have none. They must not be
	// taken for what the proxy's own address is: no address at all is in nobody's
	// network.
	s.peer.Addr = netip.AddrPort{}
	if from := addrPort(h.SourceAddr); !h.Command.IsLocal() && from.IsValid() && !from.Addr().IsUnspecified() {
		s.peer.Addr, s.peer.Local = from, addrPort(h.DestinationAddr)
	}
	return nil
}

// prefixConn gives back octets that were read with the PROXY header.
type prefixConn struct {
	net.Conn
	prefix []byte
}

func (c *prefixConn) Read(p []byte) (int, error) {
	if len(c.prefix) > 0 {
		n := copy(p, c.prefix)
		c.prefix = c.prefix[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func contains(ps []netip.Prefix, ip netip.Addr) bool {
	for _, p := range ps {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
