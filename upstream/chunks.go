package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/mail"
	"postern/upstream/wire"
)

// bdatRefusal is that a host offers CHUNKING and does not know BDAT.
type bdatRefusal struct {
	until time.Time // zero: it has not refused
	offer string    // its reply to EHLO then
}

// forgetBDAT is after which time BDAT is tried again.
const forgetBDAT = time.Hour

// takesBDAT reports whether messages go out by BDAT: the operator wants it, the
// host offers it, and has not refused it within an hour under the same offer.
func (c *conn) takesBDAT() bool {
	if !c.caps.Chunking || !c.h.cfg.Chunking {
		return false
	}
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	no := &c.h.noBDAT
	return no.offer != c.offer || time.Now().After(no.until)
}

// refuseBDAT notes that the host does not know BDAT.
func (c *conn) refuseBDAT(r mail.Reply) {
	c.h.mu.Lock()
	c.h.noBDAT = bdatRefusal{until: time.Now().Add(forgetBDAT), offer: c.offer}
	c.h.mu.Unlock()
	c.h.u.opt.Log.Warn("upstream host offers CHUNKING but refuses BDAT, mail goes by DATA for an hour",
		"upstream", c.h.u.name, "host", c.h.addr, "reply", r.String())
}

// chunks sends the message by BDAT (RFC 3030).
//
// A host that does not know BDAT reads what follows as commands. So the first
// chunk of each connection is one octet, and nothing follows until the host has
// taken it: one octet without a line end is not a command, nor the beginning of
// one once the connection is closed. The next connection may lead to another
// machine under the same name.
//
// The replies to MAIL, RCPT and BDAT look alike, so that a host one line ahead
// would have the reply to RCPT taken for that to the message. EHLO is sent
// behind the message; only when its reply, which is like no other, comes next,
// the one before it was the verdict.
func (t *Transaction) chunks(ctx context.Context, body *Content) (mail.Reply, error) {
	c, rest := t.c, *body
	if !c.chunks && t.size > 0 {
		var first byte
		var err error
		if first, rest, err = body.CutFirst(); err != nil {
			return mail.Reply{}, t.faultIf(ctx, "content", err)
		}
		if r, err := t.firstChunk(ctx, first); err != nil || !r.Positive() {
			return r, err
		}
	}
	complete, err := t.write(ctx, &rest, t.chunk)
	switch {
	case errors.Is(err, errAnew):
		return mail.Reply{}, err
	case err != nil:
		return t.early(ctx, complete, err)
	}
	return t.confirmed(ctx)
}

// chunk writes the rest of the message and, where the host pipelines, EHLO.
func (t *Transaction) chunk(w *bodyWriter, body *Content) error {
	if t.c.caps.Pipelining {
		return w.chunk(body, t.c.ehlo())
	}
	return w.chunk(body, "")
}

func (c *conn) ehlo() string { return "EHLO " + c.ehloName() + "\r\n" }

// firstChunk hands over one octet. The reply is that of a refusal, or positive.
func (t *Transaction) firstChunk(ctx context.Context, first byte) (mail.Reply, error) {
	c := t.c
	c.out = append(append(c.out[:0], "BDAT 1\r\n"...), first)
	err := c.flush(ctx, c.h.cfg.CommandTimeout)
	var r mail.Reply
	if err == nil {
		r, err = c.reply(ctx, c.h.cfg.CommandTimeout)
	}
	switch {
	case errors.Is(err, errUnasked) || errors.Is(err, errLeaving):
		return r, fmt.Errorf("%w: %w", errAnew, err)
	case err != nil:
		return r, t.faultIf(ctx, "BDAT", err)
	case notTheCommand(r.Code):
		c.refuseBDAT(r)
		return r, errAnew
	case foreign(r.Code):
		return r, fmt.Errorf("%w: %w", errAnew, c.unasked("in the place of the reply to BDAT"))
	case r.Positive():
		c.chunks = true
		return r, nil
	}
	return t.refusedBefore(ctx, "BDAT", r)
}

// confirmed reads the verdict on a message that went out by BDAT, and makes
// sure that it is that.
func (t *Transaction) confirmed(ctx context.Context) (mail.Reply, error) {
	c := t.c
	r, err := t.final(ctx, c.caps.Pipelining)
	switch {
	case err != nil || r.Code == 421:
		return r, err
	case wire.ParseOffers(r.Text).Chunking:
		return mail.Reply{}, t.unknown(ctx, c.unasked("in the place of the reply to the message"))
	case notTheCommand(r.Code):
		c.refuseBDAT(r)
		return mail.Reply{}, t.faultIf(ctx, "BDAT", noVerdict(r))
	case !c.caps.Pipelining:
		c.out = append(c.out[:0], c.ehlo()...)
		err = c.flush(ctx, c.h.cfg.FinalTimeout)
	}
	var hello mail.Reply
	if err == nil {
		hello, err = c.reply(ctx, c.h.cfg.FinalTimeout)
	}
	switch {
	case err == nil && hello.Code == 421:
		return mail.Reply{}, t.unknown(ctx, errLeaving)
	case err != nil:
		return mail.Reply{}, t.unknown(ctx, err)
	case hello.Code != 250 || !wire.ParseOffers(hello.Text).Chunking:
		return mail.Reply{}, t.unknown(ctx, c.unasked("in the place of the reply to EHLO"))
	}
	c.reset = resetNone
	if c.messages > 1 && r.Temporary() && t.ofSession(atDot, r) {
		c.messages-- // the one that did not fit
		return r, errFull
	}
	return r, nil
}
