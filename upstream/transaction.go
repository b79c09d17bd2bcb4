package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"postern/mail"
)

// maxGroup is how many commands are sent before their replies are read. Their
// replies fit into the buffers on the way, so that neither side waits for the
// other (RFC 2920 s. 3.1).
const maxGroup = 100

var (
	errNobody = errors.New("no recipient was accepted")
	errEnded  = errors.New("transaction is closed")
)

// Transaction is one mail transaction. One goroutine at a time uses it. After a
// fault it has no connection, and every call returns that fault.
type Transaction struct {
	u        *Upstream
	route    route
	env      *mail.Envelope
	c        *conn // nil before the first recipient, when parked and after the end
	parked   bool
	accepted []mail.Recipient
	size     int64       // octets of the content, once known
	refused  *mail.Reply // the reply to MAIL, or a 421: it holds for all that follows
	err      error

	host     string
	source   netip.Addr
	tls      string
	fellBack bool
	conn     net.Conn // for Session
	first    bool
}

// Host is the host that the transaction talks to, such as "name:port"; "" before
// that and for a captured mail.
func (t *Transaction) Host() string { return t.host }

// SourceIP is our address on the connection with Host; the zero Addr where Host is "".
func (t *Transaction) SourceIP() netip.Addr { return t.source }

// TLS is the version in use, such as "TLSv1.3"; "" in plain text.
func (t *Transaction) TLS() string { return t.tls }

// FellBack reports whether the connection is in plain text because TLS with the host
// failed.
func (t *Transaction) FellBack() bool { return t.fellBack }

// Session is the state of TLS, nil in plain text; first says that no other transaction was
// on the connection before.
func (t *Transaction) Session() (state *tls.ConnectionState, first bool) {
	if c, ok := t.conn.(*tls.Conn); ok {
		s := c.ConnectionState()
		state = &s
	}
	return state, t.first
}

// Recipients asks the upstream for its verdict on each of rs and appends one
// reply for each to out. The first call takes a connection and sends MAIL with
// all RCPT in one write where the host pipelines. When MAIL is refused, or the
// host ends the session by 421, that is the reply for every recipient.
//
// The error is a fault: no host could be reached, or the connection was lost
// or stalled. Nobody then knows a verdict, and the transaction is over.
func (t *Transaction) Recipients(ctx context.Context, rs []mail.Recipient, out []mail.Reply) ([]mail.Reply, error) {
	switch {
	case t.err != nil:
		return out, t.err
	case t.u.capture != nil:
		t.accepted = append(t.accepted, rs...)
		return fill(out, &replyCapturedTo, len(rs)), nil
	case t.refused != nil:
		return fill(out, t.refused, len(rs)), nil
	}
	if t.parked {
		if err := t.reopen(ctx, false); err != nil {
			return out, err
		}
	}
	return t.ask(ctx, rs, out, false)
}

func fill(out []mail.Reply, r *mail.Reply, n int) []mail.Reply {
	for range n {
		out = append(out, *r)
	}
	return out
}

// ask sends the envelope as far as it is not yet sent. When a kept connection
// turns out to be closed, or any connection to be out of step before all of rs
// are answered, or one that has carried mail is told 4yz to MAIL, a new one is
// tried, once: nothing of the mail has been sent. With fresh the first one tried
// is new, too.
func (t *Transaction) ask(ctx context.Context, rs []mail.Recipient, out []mail.Reply, fresh bool) ([]mail.Reply, error) {
	if t.c != nil {
		x := exchange{t: t, ctx: ctx, rs: rs, out: out, base: len(out), answered: true}
		return x.finish(x.run())
	}
	var f *full
	for retried := false; ; retried = true {
		c, err := t.u.take(ctx, want{t.route, retried || fresh, t.env.Client})
		if err != nil && f != nil && ctx.Err() == nil {
			t.refused = &f.reply
			return fill(out, t.refused, len(rs)), nil
		}
		if err != nil {
			t.err = fmt.Errorf("upstream %s: %w", t.u.name, err)
			return out, t.err
		}
		t.c, t.host, t.source, t.tls, t.fellBack = c, c.h.addr, c.source, c.tls, c.fellBack
		t.conn, t.first = c.net, !c.pooled
		if r := c.unfit(t.env); r != nil {
			said := t.say(atMail, *r, nil)
			t.refuse(&said)
			return fill(out, &said, len(rs)), nil
		}
		x := exchange{t: t, ctx: ctx, rs: rs, out: out, base: len(out), first: true}
		err = x.run()
		switch {
		case !retried && x.stale(err):
			t.dropConn()
		case !retried && err == nil && x.refused != nil && x.refused.Temporary() && c.messages > 0:
			f = c.full(*x.refused)
			c.leave, c.reset = true, resetDue
			t.give()
		default:
			f.tookOn(c, err == nil && x.refused == nil && x.closing == nil)
			return x.finish(err)
		}
		t.accepted = t.accepted[:0]
	}
}

// refuse ends the transaction by a reply. The connection is given back.
func (t *Transaction) refuse(r *mail.Reply) {
	t.refused, t.accepted = r, nil
	t.give()
}

// exchange is RSET if one is due, MAIL if it is the first, and RCPT for each of
// rs, with their replies.
type exchange struct {
	t        *Transaction
	ctx      context.Context
	rs       []mail.Recipient
	out      []mail.Reply
	base     int  // length of out before
	first    bool // MAIL is part of it
	answered bool // MAIL has been answered, other than by 421
	refuses  bool // one of the replies is a refusal
	refused  *mail.Reply
	closing  *mail.Reply // a 421
}

// run sends steps in groups: -2 is RSET, -1 MAIL, 0 and up the recipients.
func (x *exchange) run() (err error) {
	c := x.t.c
	c.watch(x.ctx)
	defer c.unwatch()
	lo, group := 0, 1
	switch {
	case x.first && c.reset == resetDue:
		lo = -2
	case x.first && c.reset == resetSent:
		// Its reply is read before anything else is written: nothing may be unread then.
		err = x.receive(-2, -1)
		lo = -1
	case x.first:
		lo = -1
	}
	if c.caps.Pipelining {
		group = maxGroup
	}
	for lo < len(x.rs) && x.refused == nil && x.closing == nil && err == nil {
		hi := min(lo+group, len(x.rs))
		if err = x.send(lo, hi); err == nil {
			err = x.receive(lo, hi)
		}
		lo = hi
	}
	// A refusal beside which one reply is too many may be that one.
	if err == nil && x.closing == nil && x.refuses {
		if e := c.judge(c.behind(), "behind a refusal"); errors.Is(e, errUnasked) {
			err = e
		}
	}
	return err
}

// stale reports whether a kept connection had been closed by the host before
// it took MAIL, or the connection was out of step.
func (x *exchange) stale(err error) bool {
	if errors.Is(err, errUnasked) {
		return x.ctx.Err() == nil
	}
	return x.t.c.pooled && !x.answered && (x.closing != nil || err != nil && !timedOut(err)) && x.ctx.Err() == nil
}

func (x *exchange) send(lo, hi int) error {
	c := x.t.c
	c.out = c.out[:0]
	for i := lo; i < hi; i++ {
		var err error
		switch {
		case i == -2:
			c.out = append(c.out, "RSET\r\n"...)
		case i == -1:
			err = c.mail(x.t.env, max(x.t.env.Size, x.t.size))
		case x.unsendable(i) != nil:
		default:
			err = c.rcpt(&x.rs[i], c.utf8(x.t.env))
		}
		if err != nil {
			return err
		}
	}
	if len(c.out) == 0 {
		return nil
	}
	return c.flush(x.ctx, c.h.cfg.CommandTimeout)
}

// unsendable is the reply to a recipient whom the host cannot be told: an address
// that needs SMTPUTF8, or parameters of DSN, where there is none.
func (x *exchange) unsendable(i int) *mail.Reply {
	switch c := x.t.c; {
	case !mail.ASCII(x.rs[i].Local) && !c.utf8(x.t.env):
		return &replyUTF8To
	case !c.takesDSN(&x.rs[i]):
		return &replyNoDSN
	}
	return nil
}

func (x *exchange) receive(lo, hi int) error {
	for i := lo; i < hi && x.closing == nil; i++ {
		if i >= 0 {
			if r := x.unsendable(i); r != nil {
				x.out = append(x.out, x.t.say(atRcpt, *r, x.rs[i:i+1]))
				continue
			}
		}
		r, err := x.t.c.reply(x.ctx, x.t.c.h.cfg.CommandTimeout)
		if err != nil {
			return err
		}
		if err := x.take(i, r); err != nil {
			return err
		}
	}
	return nil
}

// take notes the reply to step i.
func (x *exchange) take(i int, r mail.Reply) error {
	c := x.t.c
	if foreign(r.Code) && !(r.Code == 251 && i >= 0) {
		return c.unasked("in the place of the reply to " + [...]string{"RSET", "MAIL", "RCPT"}[min(i, 0)+2])
	}
	if r.Code == 421 {
		last := x.t.say(x.command(i), r, x.rs) // on the heap in this case alone
		x.closing = &last
		return nil
	}
	x.refuses = x.refuses || !r.Positive()
	switch {
	case i == -2:
		if !r.Positive() {
			return fmt.Errorf("RSET: host replied %q", r.String())
		}
		c.reset = resetNone
	case i == -1:
		x.answered, c.heard = true, time.Now()
		if !r.Positive() {
			refused := x.t.say(atMail, r, nil)
			x.refused = &refused
			return nil
		}
		c.reset = resetDue
	case x.refused != nil:
		// A pipelined RCPT after a refused MAIL.
	default:
		x.out = append(x.out, x.t.say(atRcpt, r, x.rs[i:i+1]))
		if r.Positive() {
			x.t.accepted = append(x.t.accepted, x.rs[i])
		}
	}
	return nil
}

// command is the one of step i.
func (x *exchange) command(i int) string {
	if i < 0 {
		return atMail
	}
	return atRcpt
}

// foreign reports whether code is not a verdict on a mail: only 250 is a yes, also
// 251 to RCPT, and only 4yz and 5yz are a no. Any other is of another command
// (HELP, STARTTLS, QUIT, AUTH), asks for more where nothing follows, or says that
// nobody knows (252). Such a reply is in a wrong place, and so is what comes
// behind it.
func foreign(code int) bool { return code < 400 && code != 250 }

// finish returns the replies. When the whole envelope is refused, that ends the
// transaction.
func (x *exchange) finish(err error) ([]mail.Reply, error) {
	t := x.t
	if err == nil {
		err = x.ctx.Err()
	}
	switch {
	case err != nil:
		return x.out[:x.base], t.faultIf(x.ctx, "envelope", err)
	case x.closing != nil:
		t.c.broken = true
		t.refuse(x.closing)
	case x.refused != nil:
		t.c.reset = resetDue
		t.refuse(x.refused)
	default:
		return x.out, nil
	}
	return fill(x.out[:x.base], t.refused, len(x.rs)), nil
}

// reopen repeats the envelope after Park, or on a fresh connection. Any other
// verdict than before ends the transaction.
func (t *Transaction) reopen(ctx context.Context, fresh bool) error {
	t.parked = false
	rs := t.accepted
	t.accepted = make([]mail.Recipient, 0, len(rs))
	replies, err := t.ask(ctx, rs, make([]mail.Reply, 0, len(rs)), fresh)
	if err != nil {
		return err
	}
	for i := range replies {
		if !replies[i].Positive() {
			t.err = fmt.Errorf("upstream %s, %s: %w: <%s> was accepted, now %q",
				t.u.name, t.host, ErrVerdictChanged, rs[i].Key(), replies[i].String())
			t.give()
			return t.err
		}
	}
	return nil
}

// Park resets the upstream's transaction and gives the connection back, for as
// long as a slow client needs it for nothing. The next Recipients or Send takes
// one again and first repeats the envelope; if the upstream then says anything
// else about a recipient than before, they return ErrVerdictChanged and nothing
// is sent. It waits for no reply. The error is that of an earlier fault.
func (t *Transaction) Park() error {
	if t.err != nil || t.c == nil {
		return t.err
	}
	c := t.c
	if c.reset == resetDue {
		c.out = append(c.out[:0], "RSET\r\n"...)
		if err := c.flush(context.Background(), time.Second); err != nil {
			c.broken = true
		}
		c.reset = resetSent
	}
	t.parked = len(t.accepted) > 0
	t.give()
	return nil
}

// Wanted reports whether other transactions wait for a connection with the host of this
// one; false where it holds no connection.
func (t *Transaction) Wanted() bool {
	if t.c == nil {
		return false
	}
	t.c.h.mu.Lock()
	defer t.c.h.mu.Unlock()
	return len(t.c.h.waiting) > 0
}

// Close ends the transaction. A connection whose state is known goes back to be
// used again.
func (t *Transaction) Close() {
	t.parked = false
	t.give()
	if t.err == nil {
		t.err = errEnded
	}
}

// give returns the connection to its host.
func (t *Transaction) give() {
	if t.c != nil {
		t.c.h.put(t.c)
		t.c = nil
	}
}

func (t *Transaction) dropConn() {
	t.c.h.drop(t.c)
	t.c = nil
}

// faultIf makes err the transaction's fault; the connection is closed, and a
// host that stalls is asked last for a while.
func (t *Transaction) faultIf(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if cause := ctx.Err(); cause != nil {
		err = cause
	} else if timedOut(err) && t.c != nil {
		t.c.h.stalled()
	}
	if t.c != nil {
		t.dropConn()
	}
	t.err = fmt.Errorf("upstream %s, %s: %s: %w", t.u.name, t.host, what, err)
	return t.err
}
