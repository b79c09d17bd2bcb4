package smtpd

import (
	"context"

	"postern/mail"
)

// Conn is what a transaction sees of the connection that it came by.
type Conn struct{ s *session }

// Peer is who is at the other end, as far as has been found out. It is the
// engine's: Recheck may take a user or a certificate from it.
func (c *Conn) Peer() *mail.Peer { return &c.s.peer }

// Recheck takes from the peer what it no longer has (a user whose password was
// changed, a certificate whose time is over) and says why nothing may be sent on
// this connection under the present settings; nil when it may.
func (c *Conn) Recheck() (rule string, r *mail.Reply) {
	c.s.recheck(c.s.srv.opt.Settings())
	return c.s.misplaced()
}

// DSN reports whether the last EHLO was answered with DSN (RFC 3461).
func (c *Conn) DSN() bool { return c.s.dsn }

// Context ends when the connection is cut off.
func (c *Conn) Context() context.Context { return c.s.ctx }

// Stopping reports whether the server ends this session itself.
func (c *Conn) Stopping() bool { return c.s.isStopping() }
