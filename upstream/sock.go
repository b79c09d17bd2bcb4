package upstream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"time"
)

// sock is a TCP connection that can be asked what has come without waiting for
// it, also by TLS, which reads through it.
type sock struct {
	*net.TCPConn
	rc   syscall.RawConn
	look bool // Read returns errNothing in place of waiting
}

// newSock is for a connection that is open, the only kind that has a RawConn.
func newSock(c *net.TCPConn) *sock {
	rc, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	return &sock{TCPConn: c, rc: rc}
}

// Read implements io.Reader.
func (s *sock) Read(p []byte) (n int, err error) {
	if !s.look {
		return s.TCPConn.Read(p)
	}
	// Not by RawConn.Read, which fails once an earlier deadline has passed.
	control := s.rc.Control(func(fd uintptr) {
		for n, err = syscall.Read(int(fd), p); err == syscall.EINTR; {
			n, err = syscall.Read(int(fd), p)
		}
	})
	switch {
	case control != nil:
		return 0, control
	case err == syscall.EAGAIN:
		return 0, errNothing{}
	case err != nil:
		return 0, err
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// errNothing says that nothing has come. To TLS it is a passed deadline, after
// which it can be read on.
type errNothing struct{}

func (errNothing) Error() string   { return "nothing to read" }
func (errNothing) Timeout() bool   { return true }
func (errNothing) Temporary() bool { return true }

// unread says what has come on c and was not read: nil when that is nothing, be
// it in our buffer, in that of TLS or in the system's; errUnasked for octets;
// else how the host ended the connection. It does not wait.
func (c *conn) unread() error {
	if c.r.Buffered() > 0 {
		return errUnasked
	}
	if c.sock == nil {
		return nil // not TCP: in tests
	}
	c.sock.look = true
	_, err := c.r.Peek(1)
	c.sock.look = false
	switch {
	case err == nil:
		return errUnasked
	case errors.As(err, new(errNothing)):
		return nil
	}
	return err
}

// alive reports whether the host has not ended an idle c, as far as can be seen
// without a round trip.
func (c *conn) alive() bool {
	err := c.unread()
	return err == nil || errors.Is(err, errUnasked) && c.reset == resetSent
}

// silent is unread at the moment before group is written, or, with nil, after all
// that was asked has been answered. Octets that have come then answer nothing
// that was asked, and are counted.
func (c *conn) silent(group []byte) error {
	err := c.unread()
	if !errors.Is(err, errUnasked) {
		return err
	}
	// A host may say so at any time (RFC 5321 s. 3.8).
	if b, _ := c.r.Peek(min(3, c.r.Buffered())); string(b) == "421" {
		return errLeaving
	}
	if group == nil {
		return c.unasked("behind a refusal or verdict")
	}
	return c.unasked("before " + verb(group))
}

// verb is the command that group begins with; what is none is a step of AUTH,
// and nobody else's to know.
func verb(group []byte) string {
	for _, v := range []string{"MAIL", "RCPT", "RSET", "DATA", "BDAT", "EHLO", "HELO", "STARTTLS", "QUIT"} {
		if bytes.HasPrefix(group, []byte(v)) {
			return v
		}
	}
	return "AUTH"
}

var errLeaving = errors.New("host ends the session")

// unasked counts a reply that answers nothing that was asked; where says at
// which moment. Its text is not told: it may repeat what we sent.
func (c *conn) unasked(where string) error {
	c.leave = true
	if c.h.countSurplus(time.Now()) {
		c.h.u.opt.Log.Warn("upstream host gave a reply that nobody had asked for, its connection is closed",
			"upstream", c.h.u.name, "host", c.h.addr, "where", where)
	}
	return &unaskedError{where}
}

type unaskedError struct{ where string }

func (e *unaskedError) Error() string { return errUnasked.Error() + " " + e.where }
func (e *unaskedError) Unwrap() error { return errUnasked }
