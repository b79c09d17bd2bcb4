package upstream

import (
	"bytes"
	"errors"
	"time"
)

// errUnasked: a reply that answers nothing that was asked. What the next
// replies would answer is not known either, so that the connection is over.
var errUnasked = errors.New("a reply that nobody asked for")

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
	nothing, err := c.sock.TryRead(c.peek)
	switch {
	case err == nil:
		return errUnasked
	case nothing:
		return nil
	}
	return err
}

// behind is unread for the moment at which a reply has just been read: what came
// with it lies in our buffer already, so that the system is not asked. TLS may
// hold a record back.
func (c *conn) behind() error {
	if c.tls != "" || c.r.Buffered() > 0 {
		return c.unread()
	}
	return nil
}

// alive reports whether the host has not ended an idle c, as far as can be seen
// without a round trip.
func (c *conn) alive() bool {
	err := c.unread()
	return err == nil || errors.Is(err, errUnasked) && c.reset == resetSent
}

// silent is unread at the moment before group is written. Octets that have come
// then answer nothing that was asked, and are counted.
func (c *conn) silent(group []byte) error {
	if err := c.unread(); err != nil {
		return c.judge(err, "before "+verb(group))
	}
	return nil
}

// judge takes what unread or behind said; octets are counted as a reply that
// nobody asked for, come where it says.
func (c *conn) judge(unread error, where string) error {
	if !errors.Is(unread, errUnasked) {
		return unread
	}
	// A host may say so at any time (RFC 5321 s. 3.8).
	if b, _ := c.r.Peek(min(3, c.r.Buffered())); string(b) == "421" {
		return errLeaving
	}
	return c.unasked(where)
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
