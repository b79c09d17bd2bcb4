package relay

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
	"sync"
	"sync/atomic"
	"time"

	"github.com/pires/go-proxyproto"

	"postern/mail"
)

// listener is one [listener.NAME] at work.
type listener struct {
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
	l := &Listener{listener{name: name, ln: ln, caps: connCaps{by: map[netip.Prefix]int{}}}}
	l.l.use(&settings{cfg, files})
	return l, nil
}

func (l *listener) use(set *settings) {
	l.set.Store(set)
	l.caps.set(set.cfg.MaxConnections, set.cfg.MaxConnectionsPerIP)
}

// Listener is an open port.
type Listener struct{ l listener }

// Change puts other settings in force. What an open connection is no longer
// allowed is refused from its next command on. The address stays. On an error everything is as before.
func (l *Listener) Change(cfg ListenerConfig) error {
	files, err := loadTLS(&cfg)
	if err != nil {
		return fmt.Errorf("listener.%s: %w", l.l.name, err)
	}
	l.l.use(&settings{cfg, files})
	return nil
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.l.ln.Addr() }

// Close closes a listener that is not to be served.
func (l *Listener) Close() error { return l.l.ln.Close() }

// Serve accepts connections until ctx ends or the server is shut down, and
// returns ErrStopped then.
func (s *Server) Serve(ctx context.Context, lis *Listener) error {
	l := &lis.l
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
	go l.watchFiles(ctx, s.log)
	return s.accept(ctx, l)
}

func (s *Server) forget(ln net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, ln)
}

// watchFiles looks at the certificate files until ctx ends.
func (l *listener) watchFiles(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(certificateCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if files := l.set.Load().tls; files != nil {
				files.refresh(log, l.name)
			}
		}
	}
}

func (s *Server) accept(ctx context.Context, l *listener) error {
	for {
		conn, err := l.ln.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return ErrStopped
		case err != nil: // out of file handles, say: what is open goes on
			s.fault("accept", err, "listener", l.name)
			select {
			case <-ctx.Done():
				return ErrStopped
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		known := s.isKnown(l, conn)
		if !l.caps.enter(known, s.snapshot().Rules.HaveNetworks(l.name)) {
			s.turnAway(l, conn, "max_connections", addrPort(conn.RemoteAddr()).Addr())
			continue
		}
		go s.serveConn(l, conn, known)
	}
}

// isKnown reports whether a connection comes from a client's networks, or from
// somebody who speaks for others: part of max_connections is kept for these.
func (s *Server) isKnown(l *listener, conn net.Conn) bool {
	peer := mail.Peer{Addr: addrPort(conn.RemoteAddr()), Listener: l.name}
	cfg, ip := &l.set.Load().cfg, peer.Addr.Addr()
	return contains(cfg.ProxyProtocolFrom, ip) || contains(cfg.XClientFrom, ip) || s.snapshot().Rules.InNetworks(&peer)
}

// turnAway closes a connection that is one too many. In plain text it can be
// told why; the few octets fit into an empty socket, so that this never waits.
func (s *Server) turnAway(l *listener, conn net.Conn, cap string, ip netip.Addr) {
	if cap == "max_connections" {
		s.fault("connection cap", fmt.Errorf("%s of listener %s reached", cap, l.name))
	}
	s.observe(refusedConnection(l, ip, cap, replyTooManyConnections()))
	if l.set.Load().cfg.TLS != TLSImplicit {
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		conn.Write(replyTooManyConnections().AppendTo(nil))
	}
	conn.Close()
}

// serveConn runs one connection that has been counted in.
func (s *Server) serveConn(l *listener, conn net.Conn, known bool) {
	defer conn.Close()
	c := s.newSession(l, conn)
	c.known = known
	defer func() { l.caps.leave(c.known) }()
	defer c.cancel()
	if !s.add(c) {
		if c.set.cfg.TLS != TLSImplicit {
			c.reply(replyShutdown(c.snap.Hostname))
			c.flush()
		}
		return
	}
	defer s.remove(c)
	defer s.recovered(c)
	if err := c.proxyHeader(); err != nil {
		s.fault("proxy protocol", err, "proxy", conn.RemoteAddr().String())
		return
	}
	c.trusted = contains(c.set.cfg.XClientFrom, c.peer.Addr.Addr())
	// A proxy's health check, which has no address, is no stranger's.
	if !c.recount(c.trusted || !c.peer.Addr.IsValid() || c.snap.Rules.InNetworks(&c.peer)) {
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
	if c.set.cfg.TLS == TLSImplicit && c.handshake() != nil {
		return
	}
	c.run()
	if t, ok := c.conn.(*tls.Conn); ok {
		t.SetWriteDeadline(time.Now().Add(time.Second))
		t.CloseWrite()
	}
}

func (s *Server) newSession(l *listener, conn net.Conn) *session {
	snap := s.snapshot()
	c := &session{
		wire: newWire(conn, snap.Timeouts.Write), raw: conn, srv: s, lis: l, set: l.set.Load(), snap: snap, log: s.log,
		began: time.Now(),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.peer.Listener = l.name
	c.peer.Addr, c.peer.Local = addrPort(conn.RemoteAddr()), addrPort(conn.LocalAddr())
	return c
}

// recovered keeps a fault of ours in one session from ending the others.
func (s *Server) recovered(c *session) {
	if p := recover(); p != nil {
		s.log.Error("session failed", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
}

// proxyHeader reads the PROXY header that a configured proxy must send; from
// others none is looked for, so that one of theirs is just a wrong command.
func (s *session) proxyHeader() error {
	if !contains(s.set.cfg.ProxyProtocolFrom, s.peer.Addr.Addr()) {
		return nil
	}
	if err := s.beginWait(time.Now().Add(s.snap.Timeouts.Greeting)); err != nil {
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

// connCaps counts the connections of one listener, in all and by address.
type connCaps struct {
	total, each int
	mu          sync.Mutex
	open        int
	strangers   int // those of open that come from no client's network
	by          map[netip.Prefix]int
}

func (c *connCaps) set(total, each int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total, c.each = total, each
}

// enter counts a connection in. Where clients have networks strangers may not
// take all: a tenth, at least one, is kept for those who are known.
func (c *connCaps) enter(known, networks bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open >= c.total || !known && c.strangers >= c.forStrangers(networks) {
		return false
	}
	c.open++
	if !known {
		c.strangers++
	}
	return true
}

func (c *connCaps) forStrangers(networks bool) int {
	if !networks || c.total == 1 {
		return c.total
	}
	return c.total - max(c.total/10, 1)
}

// change counts an open connection, once known, as that of a stranger, or the
// other way; false when there are too many strangers.
func (c *connCaps) change(known, networks bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case known:
		c.strangers--
	case c.strangers >= c.forStrangers(networks):
		return false
	default:
		c.strangers++
	}
	return true
}

func (c *connCaps) leave(known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if !known {
		c.strangers--
	}
}

func (c *connCaps) enterIP(ip netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := mail.Site(ip)
	if c.by[p] >= c.each {
		return false
	}
	c.by[p]++
	return true
}

func (c *connCaps) leaveIP(ip netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := mail.Site(ip)
	if c.by[p]--; c.by[p] <= 0 {
		delete(c.by, p)
	}
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
