package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"postern/mail"
)

// conn is one connection to a host. One goroutine at a time uses it.
type conn struct {
	h     *host
	route route
	raw   net.Conn // TCP
	net   net.Conn // raw, or TLS on it
	r     replyReader
	out   []byte // the command group that is being put together

	caps     caps
	tls      string // version, "" in plain text
	verified bool   // the certificate was
	source   netip.Addr

	born     time.Time
	idle     time.Time // since when
	readBy   time.Time // the deadlines that raw has
	writeBy  time.Time
	granted  time.Duration // to a command and the first octets of its reply together; 0: they have come
	off      func() bool   // ends the watch of a context; nil: there is none
	probe    probe         // tells what the host does while c is idle
	heard    time.Time     // when MAIL was last answered
	messages int           // handed over
	pooled   bool          // it has been idle in the pool before this use
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
	return &conn{
		h: h, route: rt, raw: c, net: c, source: source, born: time.Now(), probe: newProbe(c),
		r: replyReader{Reader: bufio.NewReaderSize(c, maxReplyLine)},
	}
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

// flush writes the command group in one write.
func (c *conn) flush(ctx context.Context, d time.Duration) error {
	if c.r.Buffered() > 0 {
		return fmt.Errorf("%w: a reply that nobody asked for", errGarbage)
	}
	if err := c.arm(ctx, d, reads|writes); err != nil {
		return err
	}
	c.granted = d
	_, err := c.net.Write(c.out)
	c.out = c.out[:0]
	return err
}

// reply reads one reply within d, which begins with the command if that had d too.
func (c *conn) reply(ctx context.Context, d time.Duration) (mail.Reply, error) {
	if c.r.Buffered() == 0 && c.granted != d {
		if err := c.arm(ctx, d, reads); err != nil {
			return mail.Reply{}, err
		}
	}
	c.granted = 0
	return c.r.read()
}

// do is one command and its reply.
func (c *conn) do(ctx context.Context, d time.Duration, line string) (mail.Reply, error) {
	c.out = append(append(c.out[:0], line...), "\r\n"...)
	if err := c.flush(ctx, d); err != nil {
		return mail.Reply{}, err
	}
	return c.reply(ctx, d)
}

// usable reports whether c may carry one more transaction.
func (c *conn) usable(cfg *Config, now time.Time) bool {
	return !c.broken && c.r.Buffered() == 0 && c.messages < cfg.MessagesPerConnection && now.Sub(c.born) < cfg.MaxLifetime
}

// fresh reports whether an idle c is still good, without a round trip. In the
// first moments it is not even looked at: should the host have closed it, the
// first command finds out, and is repeated on a new connection.
func (c *conn) fresh(cfg *Config, now time.Time) bool {
	idle := now.Sub(c.idle)
	return idle < cfg.IdleTimeout && now.Sub(c.born) < cfg.MaxLifetime &&
		(idle < justUsed || c.probe.quiet(c.reset == resetSent))
}

const justUsed = 50 * time.Millisecond

// quit takes leave without waiting for an answer.
func (c *conn) quit() {
	if !c.broken {
		c.raw.SetDeadline(time.Now().Add(time.Second))
		c.net.Write([]byte("QUIT\r\n"))
	}
	c.raw.Close()
}

// timedOut reports whether err is that of a passed deadline.
func timedOut(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
