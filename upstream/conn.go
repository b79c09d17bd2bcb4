package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"postern/mail"
	"postern/upstream/wire"
)

// conn is one connection to a host. One goroutine at a time uses it.
type conn struct {
	h      *host
	route  route
	client string       // whose transaction has it
	raw    net.Conn     // TCP
	net    net.Conn     // raw, or TLS on sock
	sock   *wire.Socket // reads raw
	r      *wire.Reader
	peek   func() error // looks for one octet in r, made once for all looks
	out    []byte       // the command group that is being put together

	caps     wire.Offers
	greeting string // its text
	offer    string // the lines of the reply to EHLO behind the first
	tls      string // version, "" in plain text
	verified bool   // the certificate was
	fellBack bool   // it is in plain text since TLS failed
	source   netip.Addr

	born     time.Time
	idle     time.Time // since when
	readBy   time.Time // the deadlines that raw has
	writeBy  time.Time
	granted  time.Duration // to a command and the first octets of its reply together; 0: they have come
	off      func() bool   // ends the watch of a context; nil: there is none
	heard    time.Time     // when MAIL was last answered
	messages int           // handed over
	pooled   bool          // it has been idle in the pool before this use
	chunks   bool          // BDAT has been carried out on c
	leave    bool          // no other transaction after this one
	broken   bool          // never to be used again
	reset    resetState
}

// resetState says whether a transaction must be cleared before the next MAIL.
type resetState int

const (
	resetNone resetState = iota
	resetDue             // RSET goes out with the next MAIL
	resetSent            // RSET is out, its reply not yet read
)

func newConn(h *host, rt route, c net.Conn, source netip.Addr) *conn {
	n := &conn{h: h, route: rt, raw: c, net: c, source: source, born: time.Now()}
	reader := io.Reader(c)
	if tcp, ok := c.(*net.TCPConn); ok {
		if n.sock = wire.NewSocket(tcp); n.sock != nil {
			reader = n.sock
		}
	}
	n.r = wire.NewReader(reader)
	n.peek = func() error {
		_, err := n.r.Peek(1)
		return err
	}
	return n
}

var past = time.Unix(1, 0)

// watch makes the end of ctx end all I/O of c, until unwatch.
func (c *conn) watch(ctx context.Context) { c.off = context.AfterFunc(ctx, c.interrupt) }

// unwatch ends the watch; when the context has ended meanwhile, the connection
// is broken.
func (c *conn) unwatch() {
	if c.off != nil && !c.off() {
		c.broken = true
	}
	c.off, c.granted = nil, 0
}

// interrupt ends the I/O that is under way.
func (c *conn) interrupt() { c.raw.SetDeadline(past) }

// lateness is how much later than asked a deadline may be, so that one serves
// the several steps of a quick transaction: to set one costs more than a step
// that waits for nothing.
const lateness = 50 * time.Millisecond

// direction is what a deadline is for.
type direction int

const (
	reads direction = 1 << iota
	writes
)

// arm gives the I/O that follows d of time; the end of ctx interrupts it before
// that. TLS does both to do either.
func (c *conn) arm(ctx context.Context, d time.Duration, dir direction) error {
	at, late := time.Now().Add(d), min(lateness, d/16)
	if c.raw != c.net {
		dir = reads | writes
	}
	if dir&reads != 0 && !serves(c.readBy, at, late) {
		c.readBy = at.Add(late)
		c.raw.SetReadDeadline(c.readBy)
	}
	if dir&writes != 0 && !serves(c.writeBy, at, late) {
		c.writeBy = at.Add(late)
		c.raw.SetWriteDeadline(c.writeBy)
	}
	// The end of ctx may have been overwritten just now.
	return ctx.Err()
}

// serves reports whether a deadline that is set will do where at is wanted.
func serves(set, at time.Time, late time.Duration) bool {
	return !set.Before(at) && set.Sub(at) <= late
}

// flush writes the command group in one write. What the host has said before
// that cannot answer it, and would be taken for the answer.
func (c *conn) flush(ctx context.Context, d time.Duration) error {
	if err := c.arm(ctx, d, reads|writes); err != nil {
		return err
	}
	if err := c.silent(c.out); err != nil {
		return err
	}
	c.granted = d
	_, err := c.net.Write(c.out)
	c.out = c.out[:0]
	return err
}

// reply reads one reply within d, which begins with the command if that had d too.
func (c *conn) reply(ctx context.Context, d time.Duration) (mail.Reply, error) {
	return c.replyBy(ctx, d, c.r.Reply)
}

// verdict reads the reply to a message within d.
func (c *conn) verdict(ctx context.Context, d time.Duration) (mail.Reply, error) {
	return c.replyBy(ctx, d, c.r.Verdict)
}

func (c *conn) replyBy(ctx context.Context, d time.Duration, read func() (mail.Reply, error)) (mail.Reply, error) {
	if c.r.Buffered() == 0 && c.granted != d {
		if err := c.arm(ctx, d, reads); err != nil {
			return mail.Reply{}, err
		}
	}
	c.granted = 0
	r, err := read()
	c.leave = c.leave || c.r.Untidy()
	return r, err
}

// do is one command and its reply.
func (c *conn) do(ctx context.Context, d time.Duration, line string) (mail.Reply, error) {
	c.out = append(append(c.out[:0], line...), "\r\n"...)
	if err := c.flush(ctx, d); err != nil {
		return mail.Reply{}, err
	}
	return c.reply(ctx, d)
}

// usable reports whether c may carry one more transaction; c.h.mu is held.
func (c *conn) usable(cfg *Config, now time.Time) bool {
	return !c.broken && !c.leave && now.Sub(c.born) < cfg.MaxLifetime && c.h.mayCarry(c.messages, now)
}

// fresh reports whether an idle c is still good, without a round trip. In the
// first moments it is not even looked at: that is done before MAIL is written.
func (c *conn) fresh(cfg *Config, now time.Time) bool {
	idle := now.Sub(c.idle)
	return idle < cfg.IdleTimeout && now.Sub(c.born) < cfg.MaxLifetime && (idle < justUsed || c.alive())
}

const justUsed = 50 * time.Millisecond

// quit takes leave without waiting for an answer.
func (c *conn) quit() {
	if !c.broken {
		c.raw.SetDeadline(time.Now().Add(time.Second))
		if c.reset == resetSent || c.silent([]byte("QUIT")) == nil {
			c.net.Write([]byte("QUIT\r\n"))
		}
	}
	c.raw.Close()
}

// timedOut reports whether err is that of a passed deadline.
func timedOut(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
