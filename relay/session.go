package relay

import (
	"bytes"
	"context"
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
	set  *settings
	snap *Snapshot // of the present command; a transaction keeps its own
	log  *slog.Logger
	ctx  context.Context // ends when the connection is cut off

	cancel    context.CancelFunc
	peer      mail.Peer
	front     netip.Addr // of the peer before XCLIENT
	proxied   bool       // a PROXY header told the client's address
	trusted   bool       // the peer may use XCLIENT
	renamed   bool       // and has done so
	vetted    vetted     // of the client certificate
	external  bool       // AUTH EXTERNAL has been done
	stamp     string     // of the password that the user was let in by; "" for none
	countedIP netip.Addr // on which the cap per address counts this connection
	known     bool       // the caps count it as no stranger's
	tx        *transaction
	began     time.Time
	messages  int // transactions that MAIL has begun

	// excused: the last transaction was refused, so that the RSET behind it is no
	// idle command.
	excused bool
	// chunksFailed: a BDAT failed, and those pipelined behind it must too.
	chunksFailed bool
	// orphans is how many commands may still come that the client had pipelined
	// behind a MAIL that was then refused; they are no errors of the client.
	orphans                             int
	dataBegan                           bool // by the present command: 354 has been given
	errors, idle, refused, authFailures int
	strangerMails                       int // MAIL commands refused while it was no client

	mu       sync.Mutex
	waiting  bool // outside of a transaction, for the client's next octets
	stopping bool
	readBy   time.Time // the deadline that reads have; zero: one that has passed, or none
}

// errQuit ends a session whose last reply has been given.
var errQuit = errors.New("session ended")

// run serves the connection until its end and never returns an error: whatever
// goes wrong ends this connection alone.
func (s *session) run() {
	defer s.abort()
	err := s.greet()
	if err == nil {
		err = s.commands()
	}
	switch {
	case errors.Is(err, errQuit), errors.Is(err, io.EOF):
	case errors.Is(err, errStopping), isTimeout(err) && s.isStopping():
		s.reply(replyShutdown(s.snap.Hostname))
	case isTimeout(err) && s.tx == nil && s.outworn():
		s.reply(replySessionOver())
	case isTimeout(err):
		s.reply(replyTimeout(s.snap.Hostname))
	}
	s.flush()
}

func (s *session) commands() error {
	for {
		s.snap = s.srv.snapshot()
		line, err := s.line()
		s.snap = s.srv.snapshot() // a reload may have come while we waited
		s.adopt()
		switch {
		case errors.Is(err, errLineTooLong):
			err = s.malformed(line, replyCommandTooLong())
		case errors.Is(err, errBareLF):
			err = s.malformed(line, replyCommandNewline())
		case errors.Is(err, errLineEndless), errors.Is(err, errHiddenChunk):
			err = s.lingerAndQuit() // the line has had its reply
		case err == nil:
			err = s.command(line)
		}
		if err == nil && s.tx == nil {
			err = s.between()
		}
		if err != nil {
			return err
		}
	}
}

// between ends a session between transactions when its time has come.
func (s *session) between() error {
	switch {
	case s.isStopping():
		return errStopping
	case s.outworn():
		// What the client has pipelined behind is dropped: closing at once would
		// cost it the replies that it has not read yet.
		s.reply(replySessionOver())
		return s.lingerAndQuit()
	}
	return nil
}

// outworn reports whether this session is to be the last for its client: by its
// age, its messages, or because its listener or its front end is no longer what
// it was.
func (s *session) outworn() bool {
	c := &s.snap.Session
	return s.messages >= c.MaxMessages || !time.Now().Before(s.began.Add(c.MaxAge)) || s.lis.gone.Load() || s.hearsay()
}

// deadline is by when the next command must have come.
func (s *session) deadline(now time.Time) time.Time {
	timeout := s.snap.Timeouts.Command
	if s.peer.Helo == "" {
		timeout = s.snap.Timeouts.Greeting
	}
	end := s.began.Add(s.snap.Session.MaxAge)
	if s.tx != nil {
		end = s.tx.expires()
	}
	if at := now.Add(timeout); at.Before(end) {
		return at
	}
	return end
}

var errStopping = errors.New("relay is stopping")

// line reads the next line of the client: a command, or a response within AUTH.
// However slowly its octets come, they have one deadline together.
func (s *session) line() ([]byte, error) {
	var deadline time.Time
	line, err := s.readLine(func() error {
		now := time.Now()
		if err := s.flushAt(now); err != nil {
			return err
		}
		s.narrow()
		if deadline.IsZero() {
			deadline = s.deadline(now)
		}
		return s.await(now, deadline)
	})
	s.endWait()
	return line, err
}

// await reads more octets until deadline; now is the present. While the client
// dawdles within a transaction its upstream connection is given back.
func (s *session) await(now, deadline time.Time) error {
	for {
		at, park := deadline, false
		if s.tx != nil {
			s.tx.yield(now)
			at, park = s.tx.parkBefore(now, deadline)
		}
		if err := s.beginRead(now, at); err != nil {
			return err
		}
		err := s.fill()
		if err == nil || !isTimeout(err) {
			return err
		}
		now = time.Now()
		switch {
		case now.Before(at): // an earlier deadline was left in place
		case !park:
			return err
		case s.tx.heldTooLong(now):
			s.tx.park()
		}
	}
}

// beginWait sets the deadline of the next read, and under TLS of what that may
// have to write (a key update). It fails when the relay is stopping and this
// session has nothing to finish, or has been cut off.
func (s *session) beginWait(deadline time.Time) error { return s.beginRead(deadline, deadline) }

// beginRead is beginWait for a caller that reads again when it finds itself too
// early. A deadline that is set, not passed by now and no later than the one asked
// for stays: to set one costs as much as a short step of the dialog.
func (s *session) beginRead(now, deadline time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = s.tx == nil
	switch {
	case s.stopping && s.waiting || s.ctx.Err() != nil:
		return errStopping
	case s.peer.TLS.On():
		s.writeBy = time.Time{}
		return s.conn.SetDeadline(deadline)
	case now.Before(s.readBy) && !s.readBy.After(deadline):
		return nil
	}
	s.readBy = deadline
	return s.conn.SetReadDeadline(deadline)
}

// endWait is called after each line, most of which were there already: only this
// goroutine writes waiting, so that it may look without the lock.
func (s *session) endWait() {
	if s.waiting {
		s.mu.Lock()
		s.waiting = false
		s.mu.Unlock()
	}
}

func (s *session) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// stop asks the session to end after its present transaction; one that waits
// outside of a transaction is woken.
func (s *session) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	if s.waiting {
		s.wake()
	}
}

// cut ends the session whatever it is doing; what it waits for fails.
func (s *session) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel()
	s.wake()
}

// wake ends the present read; s.mu is held.
func (s *session) wake() {
	s.readBy = time.Time{}
	s.raw.SetReadDeadline(longAgo)
}

var longAgo = time.Unix(1, 0)

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// clientIP is the client's address for events.
func (s *session) clientIP() string { return mail.AddrText(s.peer.Addr.Addr()) }

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

// malformed answers a line that is no command. Behind a BDAT octets follow at
// once whose number cannot be told, so that nothing more is read as commands.
func (s *session) malformed(line []byte, r *mail.Reply) error {
	if startsChunk(line) || hidesChunk(line) {
		s.reply(r)
		return s.lingerAndQuit()
	}
	return s.fail(r)
}

// outOfPlace answers a command that needs a transaction where there is none.
func (s *session) outOfPlace() error {
	if s.orphans > 0 {
		s.orphans--
		s.reply(replyMailFirst())
		return nil
	}
	return s.fail(replyMailFirst())
}

// command carries out one command line.
func (s *session) command(line []byte) error {
	if hasControl(line) {
		return s.malformed(line, replyCommandBytes())
	}
	verb, arg, spaced := bytes.Cut(line, []byte{' '})
	name := verbName(verb)
	switch name {
	case "BDAT": // whatever the state, its octets must be read
		return s.bdat(string(arg))
	case "DATA":
		s.dataBegan = false
		err := s.dispatch(name, arg, spaced)
		if err == nil && !s.dataBegan && s.buffered() > 0 {
			// No command may stand behind DATA in a group (RFC 2920 s. 3.1), so
			// that this is a message whose sender did not wait for 354.
			return s.lingerAndQuit()
		}
		return err
	}
	return s.dispatch(name, arg, spaced)
}

// verbName is a verb in upper case, "" for one that is longer than any of ours.
func verbName(verb []byte) string {
	var upper [8]byte
	if len(verb) > len(upper) {
		return ""
	}
	for i, c := range verb {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		upper[i] = c
	}
	name := upper[:len(verb)]
	switch string(name) { // without an allocation
	case "MAIL":
		return "MAIL"
	case "RCPT":
		return "RCPT"
	case "DATA":
		return "DATA"
	case "BDAT":
		return "BDAT"
	}
	return string(name)
}

// dispatch carries out every command but BDAT.
func (s *session) dispatch(name string, arg []byte, spaced bool) error {
	if s.tx != nil && s.tx.chunked != nil {
		if r := s.betweenChunks(name); r != nil {
			return s.fail(r)
		}
	}
	if s.set.cfg.needsTLS() && !s.peer.TLS.On() && !allowedBeforeTLS[name] {
		if t := s.tx; t != nil { // begun before a reload
			return s.endTransaction(t.failed(t.stage, "listener", replyTLSFirst()))
		}
		return s.fail(replyTLSFirst())
	}
	if spaced && isBare(name) && len(bytes.TrimSpace(arg)) > 0 {
		return s.fail(replySyntax(name))
	}
	switch name {
	case "HELO", "EHLO":
		return s.helo(name, string(arg))
	case "MAIL":
		return s.mail(string(arg))
	case "RCPT":
		return s.rcpt(string(arg))
	case "DATA":
		return s.data()
	case "RSET":
		return s.rset()
	case "NOOP":
		return s.idled(replyOK())
	case "QUIT":
		return s.quit()
	case "STARTTLS":
		return s.startTLS()
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
	if isHTTP(name) {
		s.reply(replyNotSMTP())
		return errQuit
	}
	return s.fail(replyUnknownCommand())
}

// allowedBeforeTLS are the commands that RFC 3207 s. 4 leaves to a server that
// requires TLS.
var allowedBeforeTLS = map[string]bool{"EHLO": true, "HELO": true, "STARTTLS": true, "NOOP": true, "QUIT": true, "XCLIENT": true}

// isBare reports whether a command takes no argument.
func isBare(verb string) bool {
	switch verb {
	case "DATA", "RSET", "QUIT", "STARTTLS":
		return true
	}
	return false
}

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

func (s *session) rset() error {
	s.abort()
	s.chunksFailed = false
	if s.excused {
		s.excused = false
		s.reply(replyOK())
		return nil
	}
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
		s.excused = s.tx.allRefused()
		s.tx.abort()
		s.tx = nil
	}
}
