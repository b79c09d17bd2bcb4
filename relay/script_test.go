package relay

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/syntax"
	"postern/mail"
	"postern/relay/smtpd"
)

// script is a connection whose client sends octets, whatever it hears, and then
// goes away.
type script struct {
	in    []byte
	piece int // octets of one read; 0: all
	out   bytes.Buffer
}

func (c *script) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := len(c.in)
	if c.piece > 0 {
		n = min(n, c.piece)
	}
	n = copy(p, c.in[:n])
	c.in = c.in[n:]
	return n, nil
}

func (c *script) Write(p []byte) (int, error) { return c.out.Write(p) }

func (c *script) Close() error                     { return nil }
func (c *script) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }
func (c *script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5000} }
func (c *script) SetDeadline(time.Time) error      { return nil }
func (c *script) SetReadDeadline(time.Time) error  { return nil }
func (c *script) SetWriteDeadline(time.Time) error { return nil }

// theatre plays scripts to one server with a strict upstream behind it.
type theatre struct {
	rig    *rig
	strict *strictUpstream
	counts outcomes
}

// outcomes counts events.
type outcomes struct {
	mu sync.Mutex
	by map[string]int
}

func (o *outcomes) Observe(e *mail.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.by == nil {
		o.by = map[string]int{}
	}
	o.by[e.Outcome]++
}

func newTheatre(t testing.TB, set ...string) *theatre {
	r := newRig(t)
	r.listener.TLS = smtpd.TLSOptional
	for _, line := range append(set, "auth.trusted 127.0.0.0/8", "listener.xclient_from 127.0.0.1/32", "message.max_size 100000", "internal_domains dest.example") {
		r.set("", line)
	}
	h := &theatre{rig: r, strict: startStrict(t)}
	r.log = slog.New(slog.DiscardHandler)
	r.tune = func(s *Server) { s.observers = []mail.Observer{&h.counts} }
	r.start()
	r.upConfig.Hosts = []string{h.strict.addr}
	before := r.server.snapshot()
	r.server.Reload(r.snapshot())
	t.Cleanup(func() { before.Routes["main"].Upstream.Close(context.Background()) })
	return h
}

// play runs one session to its end and returns what the client hears, and what
// the upstream took meanwhile.
func (h *theatre) play(in []byte, piece int) (heard string, took []string) {
	c := &script{in: in, piece: piece}
	h.strict.reset()
	h.rig.server.engine.ServeConn(h.rig.lis, c)
	return c.out.String(), h.strict.messages()
}

// strictUpstream takes mail and finds fault with everything that is not exactly
// as RFC 5321 has it. A recipient that begins with "no" is refused, with "later"
// deferred, with "drop" the connection is dropped.
type strictUpstream struct {
	t    testing.TB
	addr string
	wg   sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	took   []string
	told   int // recipients of all that was taken
	faults []string
}

func startStrict(t testing.TB) *strictUpstream {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &strictUpstream{t: t, addr: ln.Addr().String(), conns: map[net.Conn]bool{}}
	u.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			u.mu.Lock()
			u.conns[c] = true
			u.mu.Unlock()
			u.wg.Go(func() { u.serve(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		u.mu.Lock()
		for c := range u.conns {
			c.Close()
		}
		u.mu.Unlock()
		u.wg.Wait()
	})
	return u
}

func (u *strictUpstream) reset() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.took, u.told = nil, 0
}

func (u *strictUpstream) messages() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.faults) > 0 {
		u.t.Fatalf("upstream got what it must not get: %q", u.faults)
	}
	return u.took
}

func (u *strictUpstream) fault(format string, args ...any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.faults = append(u.faults, fmt.Sprintf(format, args...))
}

func (u *strictUpstream) serve(c net.Conn) {
	defer func() {
		u.mu.Lock()
		delete(u.conns, c)
		u.mu.Unlock()
		c.Close()
	}()
	s := &strictSession{u: u, in: bufio.NewReader(c), out: bufio.NewWriter(c)}
	s.say("220 strict.test ESMTP")
	for {
		if s.in.Buffered() == 0 {
			s.out.Flush()
		}
		line, err := s.in.ReadString('\n')
		if err != nil || !s.command(line) {
			s.out.Flush()
			return
		}
	}
}

type strictSession struct {
	u    *strictUpstream
	in   *bufio.Reader
	out  *bufio.Writer
	mail bool
	to   int
}

func (s *strictSession) say(line string) { s.out.WriteString(line + "\r\n") }

// command carries out one line; false ends the session.
func (s *strictSession) command(line string) bool {
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsAny(text, "\r\n\x00") {
		s.u.fault("command %q", line)
		return false
	}
	verb, arg, _ := strings.Cut(text, " ")
	switch verb {
	case "EHLO":
		s.say("250-strict.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN")
	case "MAIL":
		if s.mail {
			s.u.fault("MAIL within a transaction")
		}
		s.mail = true
		s.path(arg, "FROM:<")
		s.say("250 2.1.0 ok")
	case "RCPT":
		return s.rcpt(arg)
	case "DATA":
		if !s.mail || s.to == 0 {
			s.u.fault("DATA without recipients")
		}
		s.say("354 go on")
		s.out.Flush()
		return s.data()
	case "RSET", "NOOP":
		s.mail, s.to = s.mail && verb == "NOOP", 0
		s.say("250 2.0.0 ok")
	case "QUIT":
		s.say("221 2.0.0 bye")
		return false
	default:
		s.u.fault("command %q", line)
		return false
	}
	return true
}

// path finds fault with an address that is not in its one form.
func (s *strictSession) path(arg, before string) {
	path, ok := strings.CutPrefix(arg, before)
	end := strings.LastIndexByte(path, '>')
	if !ok || end < 0 {
		s.u.fault("path %q", arg)
		return
	}
	if path = path[:end]; path == "" && before == "FROM:<" {
		return
	}
	if a, err := syntax.LenientMailbox(path, true); err != nil || a.String() != path {
		s.u.fault("path %q: %v", arg, err)
	}
}

func (s *strictSession) rcpt(arg string) bool {
	s.path(arg, "TO:<")
	local := strings.TrimPrefix(arg, "TO:<")
	switch {
	case !s.mail:
		s.u.fault("RCPT without MAIL")
	case strings.HasPrefix(local, "no"):
		s.say("550 5.1.1 no such user")
	case strings.HasPrefix(local, "later"):
		s.say("450 4.2.1 later")
	case strings.HasPrefix(local, "drop"):
		return false
	default:
		s.to++
		s.say("250 2.1.5 ok")
	}
	return true
}

func (s *strictSession) data() bool {
	var text strings.Builder
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return false // nothing was taken
		}
		if line == ".\r\n" {
			break
		}
		clean, ok := strings.CutSuffix(line, "\r\n")
		if !ok || strings.ContainsAny(clean, "\r\x00") {
			s.u.fault("line %q", line)
			return false
		}
		text.WriteString(strings.TrimPrefix(line, "."))
	}
	s.u.mu.Lock()
	s.u.took, s.u.told = append(s.u.took, text.String()), s.u.told+s.to
	s.u.mu.Unlock()
	s.mail, s.to = false, 0
	s.say("250 2.0.0 taken as strict")
	return true
}
