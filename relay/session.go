package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"postern/mail"
)

// session is one connection, from its greeting to its end. One goroutine runs
// it; only the fields under mu are touched by others.
type session struct {
	wire
	raw  net.Conn // below TLS: for deadlines set by other goroutines
	srv  *Server
	lis  *listener
	snap *Snapshot // of the present command; a transaction keeps its own
	log  *slog.Logger
	ctx  context.Context // ends when the connection is cut off

	cancel    context.CancelFunc
	peer      mail.Peer
	trusted   bool       // the peer may use XCLIENT
	external  bool       // AUTH EXTERNAL has been done
	countedIP netip.Addr // on which the cap per address counts this connection
	tx        *transaction

	// chunksFailed: a BDAT failed, and those pipelined behind it must too.
	chunksFailed                        bool
	errors, idle, refused, authFailures int

	mu       sync.Mutex
	waiting  bool // for a command, outside of a transaction
	stopping bool
}

// errQuit ends a session whose last reply has been given.
var errQuit = errors.New("session ended")

// run serves the connection until its end and never returns an error: whatever
// goes wrong ends this connection alone.
func (s *session) run() {
	defer s.abort()
	s.reply(replyGreeting(s.snap.Hostname))
	err := s.commands()
	switch {
	case errors.Is(err, errQuit), errors.Is(err, io.EOF):
	case errors.Is(err, errStopping):
		s.reply(replyShutdown(s.snap.Hostname))
	case isTimeout(err):
		s.reply(replyTimeout(s.snap.Hostname))
	}
	s.flush()
}

func (s *session) commands() error {
	for {
		s.snap = s.srv.snapshot()
		line, err := s.readLine(s.beforeWait)
		s.endWait()
		switch {
		case errors.Is(err, errLineTooLong):
			err = s.fail(replyCommandTooLong())
		case errors.Is(err, errBareLF):
			err = s.fail(replyCommandNewline())
		case err == nil:
			err = s.command(line)
		}
		if err == nil && s.tx == nil && s.isStopping() {
			err = errStopping
		}
		if err != nil {
			return err
		}
	}
}

var errStopping = errors.New("relay is stopping")

// beforeWait runs ahead of each read that may wait for a command.
func (s *session) beforeWait() error {
	if err := s.flush(); err != nil {
		return err
	}
	timeout := s.snap.Timeouts.Command
	if s.peer.Helo == "" {
		timeout = s.snap.Timeouts.Greeting
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = s.tx == nil
	if s.stopping && s.waiting {
		return errStopping
	}
	return s.conn.SetReadDeadline(time.Now().Add(timeout))
}

func (s *session) endWait() {
	s.mu.Lock()
	s.waiting = false
	s.mu.Unlock()
}

func (s *session) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// stop asks the session to end after its present transaction; one that waits
// for a command is woken.
func (s *session) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	if s.waiting {
		s.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// cut ends the session whatever it is doing.
func (s *session) cut() {
	s.cancel()
	s.raw.SetDeadline(time.Unix(1, 0))
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func (s *session) reply(r *mail.Reply) { s.out = r.AppendTo(s.out) }

// fail answers a command that was wrong in itself and counts it.
func (s *session) fail(r *mail.Reply) error {
	s.errors++
	if s.errors > s.snap.Session.Errors {
		s.reply(replyTooManyErrors())
		return errQuit
	}
	s.reply(r)
	return nil
}

// idled answers a command that leads to no mail and counts it.
func (s *session) idled(r *mail.Reply) error {
	s.idle++
	if s.idle > s.snap.Session.IdleCommands {
		s.reply(replyTooManyIdle())
		return errQuit
	}
	s.reply(r)
	return nil
}

// command carries out one command line.
func (s *session) command(line []byte) error {
	if hasControl(line) {
		return s.fail(replyCommandBytes())
	}
	verb, arg, spaced := bytes.Cut(line, []byte{' '})
	name := string(bytes.ToUpper(verb))
	if s.tx != nil && s.tx.chunked != nil {
		if r := s.betweenChunks(name); r != nil {
			return s.fail(r)
		}
	}
	if s.lis.cfg.TLS == TLSRequired && !s.peer.TLS.On() && !allowedBeforeTLS[name] {
		return s.fail(replyTLSFirst())
	}
	switch name {
	case "HELO", "EHLO":
		return s.helo(name, string(arg))
	case "MAIL":
		return s.mail(string(arg))
	case "RCPT":
		return s.rcpt(string(arg))
	case "DATA":
		return s.bare(arg, spaced, "DATA", s.data)
	case "BDAT":
		return s.bdat(string(arg))
	case "RSET":
		return s.bare(arg, spaced, "RSET", s.rset)
	case "NOOP":
		return s.idled(replyOK())
	case "QUIT":
		return s.bare(arg, spaced, "QUIT", s.quit)
	case "STARTTLS":
		return s.bare(arg, spaced, "STARTTLS", s.startTLS)
	case "AUTH":
		return s.auth(string(arg))
	case "VRFY":
		return s.idled(replyVrfy())
	case "HELP":
		return s.idled(replyHelp())
	case "EXPN", "ETRN", "TURN", "ATRN", "SEND", "SOML", "SAML":
		return s.fail(replyNotImplemented())
	case "XCLIENT":
		return s.xclient(string(arg))
	}
	if isHTTP(name) && s.peer.Helo == "" {
		s.reply(replyNotSMTP())
		return errQuit
	}
	return s.fail(replyUnknownCommand())
}

// allowedBeforeTLS are the commands that RFC 3207 s. 4 leaves to a server that
// requires TLS.
var allowedBeforeTLS = map[string]bool{"EHLO": true, "HELO": true, "STARTTLS": true, "NOOP": true, "QUIT": true, "XCLIENT": true}

func isHTTP(verb string) bool {
	switch verb {
	case "GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "PRI":
		return true
	}
	return false
}

func hasControl(line []byte) bool {
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

// bare runs a command that takes no argument.
func (s *session) bare(arg []byte, spaced bool, name string, run func() error) error {
	if spaced && len(bytes.TrimSpace(arg)) > 0 {
		return s.fail(replySyntax(name))
	}
	return run()
}

func (s *session) rset() error {
	s.abort()
	s.chunksFailed = false
	return s.idled(replyOK())
}

func (s *session) quit() error {
	s.abort()
	s.reply(replyBye())
	return errQuit
}

// abort ends a transaction that the client leaves unfinished.
func (s *session) abort() {
	if s.tx != nil {
		s.tx.abort()
		s.tx = nil
	}
}

// startTLS upgrades the connection (RFC 3207). What the client sent behind the
// command in plain text is dropped, and a handshake that fails ends the
// connection.
func (s *session) startTLS() error {
	switch {
	case s.peer.TLS.On():
		return s.fail(replyTLSActive())
	case s.lis.tls == nil:
		return s.fail(replyTLSNotOffered())
	case s.tx != nil:
		return s.fail(replyInTransaction())
	case s.peer.Helo == "" || !s.peer.ESMTP:
		return s.fail(replyHeloFirst())
	}
	s.reply(replyStartTLS())
	if err := s.flush(); err != nil {
		return err
	}
	s.r, s.w = 0, 0
	if err := s.handshake(); err != nil {
		return errQuit
	}
	s.peer.Helo, s.peer.ESMTP, s.peer.User = "", false, ""
	return nil
}

// handshake makes the connection a TLS one and notes what was agreed on.
func (s *session) handshake() error {
	conn := tls.Server(s.conn, s.lis.tls.config())
	conn.SetDeadline(time.Now().Add(s.snap.Timeouts.Greeting))
	if err := conn.HandshakeContext(s.ctx); err != nil {
		s.log.Info("tls handshake", "client_ip", s.peer.Addr.Addr(), "err", quote(err.Error()))
		return err
	}
	conn.SetDeadline(time.Time{})
	s.conn = conn
	state := conn.ConnectionState()
	s.peer.TLS = mail.TLS{
		Version: tls.VersionName(state.Version),
		Cipher:  tls.CipherSuiteName(state.CipherSuite),
		Name:    state.ServerName,
	}
	s.peer.Certificates = certificateNames(&state)
	return nil
}
