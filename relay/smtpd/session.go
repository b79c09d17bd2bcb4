package smtpd

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"postern/mail"
	"postern/relay/replies"
)

// session is one connection, from its greeting to its end. One goroutine runs
// it; only the fields under mu are touched by others.
type session struct {
	wire
	raw net.Conn // below TLS: for deadlines set by other goroutines
	srv *Server
	lis *Listener
	ctx context.Context // ends when the connection is cut off

	cancel    context.CancelFunc
	set       *settings // of the listener
	cfg       *Settings // of the present command; a transaction keeps its own
	peer      mail.Peer
	front     netip.Addr // of the peer before XCLIENT
	proxied   bool       // a PROXY header told the client's address
	trusted   bool       // the peer may use XCLIENT
	renamed   bool       // and has done so
	forwarded bool       // XFORWARD has come for the next MAIL
	// forwardedAddrs is how often it has told ADDR.
	forwardedAddrs int
	vetted         vetted     // of the client certificate
	external       bool       // AUTH EXTERNAL has been done
	dsn            bool       // the last EHLO was answered with DSN
	stamp          string     // of the password that the user was let in by; "" for none
	countedIP      netip.Addr // on which the cap per address counts this connection
	known          bool       // the caps count it as no stranger's
	// countedFor is the client for which the caps count it; "" for none.
	countedFor string
	tx         *open // nil outside of a transaction
	began      time.Time
	messages   int // transactions that MAIL has begun

	// spared is what strict forms would have been answered to EHLO, HELO or AUTH; nil:
	// they were strict. A client that is not lenient hears it at MAIL.
	spared *mail.Reply
	// excused: the last transaction was refused, so that the RSET behind it is no
	// idle command.
	excused bool
	// chunksFailed: a BDAT failed, and those pipelined behind it must too.
	chunksFailed bool
	unanswered   int         // recipients of that transaction, of whom LMTP tells each behind the last
	verdict      *mail.Reply // that ended the last transaction
	// orphans is how many commands may still come that the client had pipelined
	// behind a MAIL that was then refused; they are not errors of the client.
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
		s.reply(replies.Shutdown(s.cfg.Hostname))
	case isTimeout(err) && s.tx == nil && s.outworn():
		s.reply(replies.SessionOver())
	case isTimeout(err):
		s.reply(replies.Timeout(s.cfg.Hostname))
	}
	s.flush()
}

func (s *session) commands() error {
	for {
		s.cfg = s.srv.opt.Settings()
		line, err := s.line()
		s.cfg = s.srv.opt.Settings() // a reload may have come while we waited
		s.adopt()
		switch {
		case errors.Is(err, errLineTooLong):
			err = s.malformed(line, replies.CommandTooLong())
		case errors.Is(err, errBareLF):
			err = s.malformed(line, replies.CommandNewline())
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
		s.reply(replies.SessionOver())
		return s.lingerAndQuit()
	}
	return nil
}

// outworn reports whether this session is to be the last for its client: by its
// age, its messages, or because its listener or its front end is no longer what
// it was.
func (s *session) outworn() bool {
	c := &s.cfg.Session
	return s.messages >= c.MaxMessages || !time.Now().Before(s.began.Add(c.MaxAge)) || s.lis.gone.Load() || s.hearsay()
}

// deadline is by when the next command must have come.
func (s *session) deadline(now time.Time) time.Time {
	timeout := s.cfg.Timeouts.Command
	if s.peer.Helo == "" {
		timeout = s.cfg.Timeouts.Greeting
	}
	end := s.began.Add(s.cfg.Session.MaxAge)
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
// dawdles within a transaction, that is told of it.
func (s *session) await(now, deadline time.Time) error {
	for {
		at := deadline
		if s.tx != nil {
			if look := s.tx.Idle(now); !look.IsZero() && look.Before(at) {
				at = look
			}
		}
		if err := s.beginRead(now, at); err != nil {
			return err
		}
		err := s.fill()
		if err == nil || !isTimeout(err) {
			return err
		}
		// Else it was time to tell the transaction, or an earlier deadline that was
		// left in place.
		if now = time.Now(); !now.Before(deadline) {
			return err
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

func (s *session) reply(r *mail.Reply) { s.out = r.AppendTo(s.out) }
