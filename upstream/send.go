package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"postern/mail"
	"postern/upstream/capture"
	"postern/upstream/content"
)

// Send hands over the content and returns the upstream's final reply, or the
// reply by which it refused earlier. It is the last call but Close.
//
// An error that is ErrUnknownOutcome means that the mail may have been taken:
// who sends it again may send it twice. After any other error it was not taken.
func (t *Transaction) Send(ctx context.Context, body Content) (mail.Reply, error) {
	switch {
	case t.err != nil:
		return mail.Reply{}, t.err
	case t.refused != nil:
		return *t.refused, nil
	case len(t.accepted) == 0:
		return mail.Reply{}, errNobody
	}
	size := body.Total()
	if body.Size != 0 && body.Size != size {
		return mail.Reply{}, fmt.Errorf("content of %d octets is said to have %d", size, body.Size)
	}
	if t.u.capture != nil {
		return t.u.capture.Write(t.captured(size), &body)
	}
	if _, err := t.Resume(ctx, size); err != nil {
		return mail.Reply{}, err
	}
	r, err := t.transfer(ctx, &body)
	switch {
	case errors.Is(err, errFull):
		r, err = t.beyond(ctx, &body, r)
	case errors.Is(err, errAnew):
		t.dropConn()
		if err := t.reopen(ctx, true); err != nil {
			return mail.Reply{}, err
		}
		r, err = t.transfer(ctx, &body)
	}
	switch {
	case errors.Is(err, errFull):
		err = nil
	case errors.Is(err, errAnew):
		err = t.faultIf(ctx, "content", err)
	}
	t.give()
	if err != nil {
		return mail.Reply{}, err
	}
	return t.say(atDot, r, t.accepted), nil
}

// Resume takes a connection again after Park and repeats the envelope, which may
// take long; parked is false where there was nothing to do. Send does so by itself;
// who has something to look at directly before anything leaves calls Resume first,
// with the octets of the content.
func (t *Transaction) Resume(ctx context.Context, size int64) (parked bool, err error) {
	t.size = size
	if t.err != nil || !t.parked {
		return false, t.err
	}
	return true, t.reopen(ctx, false)
}

// errAnew: nothing of the message has left that the host could take for a
// message or a command, so that all may be tried on another connection.
var errAnew = errors.New("nothing of the message was sent")

func deref(r *mail.Reply) mail.Reply {
	if r == nil {
		return mail.Reply{}
	}
	return *r
}

// refuseContent returns the reply to content that the host cannot take.
func (t *Transaction) refuseContent(body *Content) (*mail.Reply, error) {
	c := t.c
	if c.caps.Size > 0 && t.size > c.caps.Size {
		return &replyTooLarge, nil
	}
	// Without a declaration by the client nothing is asked: much mail of this
	// kind is wrong in form and harmless, and passes everywhere.
	if t.env.UTF8 && !c.caps.UTF8 {
		if eight, err := body.EightBit(true); eight || err != nil {
			return &replyUTF8Header, err
		}
	}
	if t.env.Body == mail.Body8Bit && !c.caps.EightBit {
		if eight, err := body.EightBit(false); eight || err != nil {
			return &replyNeeds8Bit, err
		}
	}
	return nil, nil
}

// transfer is DATA or BDAT with all that follows.
func (t *Transaction) transfer(ctx context.Context, body *Content) (mail.Reply, error) {
	c := t.c
	if r, err := t.refuseContent(body); err != nil || r != nil {
		return deref(r), t.faultIf(ctx, "content", err)
	}
	c.watch(ctx)
	defer c.unwatch()
	if c.takesBDAT() {
		return t.chunks(ctx, body)
	}
	return t.data(ctx, body)
}

// data sends the message by DATA.
func (t *Transaction) data(ctx context.Context, body *Content) (mail.Reply, error) {
	c := t.c
	r, err := c.do(ctx, c.h.cfg.CommandTimeout, "DATA")
	switch {
	case errors.Is(err, errUnasked) || errors.Is(err, errLeaving):
		return r, fmt.Errorf("%w: %w", errAnew, err)
	case err != nil:
		return r, t.faultIf(ctx, "DATA", err)
	case r.Code == 354:
	case r.Positive() || foreign(r.Code):
		return r, fmt.Errorf("%w: %w", errAnew, c.unasked("in the place of the reply to DATA"))
	default:
		return t.refusedBefore(ctx, "DATA", r)
	}
	complete, err := t.write(ctx, body, (*bodyWriter).stuffed)
	switch {
	case errors.Is(err, errAnew):
		return r, err
	case err != nil:
		return t.early(ctx, complete, err)
	}
	return t.final(ctx, false)
}

// refusedBefore returns r, by which the host refused before it had the message.
// The connection ends. Should replies have been out of step, r is the one to a
// RCPT, say: a refusal for good counts only when QUIT has its own reply, 221.
func (t *Transaction) refusedBefore(ctx context.Context, what string, r mail.Reply) (mail.Reply, error) {
	c := t.c
	c.leave = true
	if notTheCommand(r.Code) {
		return mail.Reply{}, t.faultIf(ctx, what, noVerdict(r))
	}
	if !r.Permanent() {
		c.broken = r.Code == 421
		if c.messages > 0 {
			return r, errFull
		}
		return r, nil
	}
	bye, err := c.do(ctx, c.h.cfg.CommandTimeout, "QUIT")
	c.broken = true
	if err == nil && bye.Code == 221 {
		return r, nil
	}
	if err == nil && bye.Code != 421 {
		err = c.unasked("in the place of the reply to QUIT")
	}
	if err == nil {
		err = errLeaving
	}
	return mail.Reply{}, t.faultIf(ctx, what, err)
}

// hungUp reports whether err says that the host ended the connection and that
// all it had said before was read.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// notTheCommand reports whether a reply to DATA or BDAT says that the host does
// not know the command, or not now. It is not a verdict on the message, for RCPT has
// been taken.
func notTheCommand(code int) bool { return code >= 500 && code <= 504 }

func noVerdict(r mail.Reply) error {
	return fmt.Errorf("host replied %q, which is no verdict on the message", r.String())
}

// final reads the reply to the whole message; more: something was asked behind
// it. Of two replies of which one says yes and one no, neither counts: a copy is
// better than a loss.
func (t *Transaction) final(ctx context.Context, more bool) (mail.Reply, error) {
	c := t.c
	r, err := c.verdict(ctx, c.h.cfg.FinalTimeout)
	switch {
	case err != nil:
	case foreign(r.Code):
		err = c.unasked("in the place of the reply to the message")
	case !more && errors.Is(c.judge(c.behind(), "behind a verdict"), errUnasked) && c.contradicts(r.Code/100):
		err = fmt.Errorf("%w: two replies to the message", errUnasked)
	}
	if err != nil {
		return mail.Reply{}, t.unknown(ctx, err)
	}
	c.leave = c.leave || r.Temporary() && c.messages > 0
	c.messages++
	if r.Positive() {
		c.reset = resetNone
		c.h.carried(c.messages)
	}
	c.broken = c.broken || r.Code == 421
	return r, nil
}

// contradicts reports whether what has come behind a verdict of the class begins
// as one of another class does. Empty lines and what is not a reply say nothing.
func (c *conn) contradicts(class int) bool {
	b, err := c.r.Peek(c.r.Buffered())
	b = bytes.TrimLeft(b, " \t\r\n")
	return err == nil && len(b) > 0 && b[0] >= '0' && b[0] <= '9' && int(b[0]) != '0'+class
}

// early reads the reply of a host that refused in the middle of the body and
// hung up; one that goes on has not refused the message, whatever it says.
// complete: it may have the whole body nevertheless.
func (t *Transaction) early(ctx context.Context, complete bool, cause error) (mail.Reply, error) {
	c := t.c
	c.broken = true
	if ctx.Err() == nil && !timedOut(cause) && !errors.Is(cause, content.ErrRead) {
		r, err := c.reply(ctx, time.Second)
		switch {
		case err != nil || r.Positive() || foreign(r.Code):
		case c.chunks && notTheCommand(r.Code):
			c.refuseBDAT(r)
			return mail.Reply{}, t.faultIf(ctx, "BDAT", noVerdict(r))
		case c.hangsUp():
			return r, nil
		}
	}
	if errors.Is(cause, errUnasked) {
		cause = c.unasked("before the end of the message")
	}
	if complete {
		return mail.Reply{}, t.unknown(ctx, cause)
	}
	return mail.Reply{}, t.faultIf(ctx, "body", cause)
}

// hangsUp reports whether the host ends the connection within the time that is
// set, without saying anything else.
func (c *conn) hangsUp() bool {
	_, err := c.r.Peek(1)
	return hungUp(err)
}

func (t *Transaction) unknown(ctx context.Context, cause error) error {
	err := t.faultIf(ctx, "final reply", cause)
	t.err = fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	return t.err
}

// write writes the body; complete is true as soon as its last octets are on
// their way.
func (t *Transaction) write(ctx context.Context, body *Content, as func(*bodyWriter, *Content) error) (complete bool, err error) {
	w := newBodyWriter(ctx, t.c)
	defer w.release()
	err = as(w, body)
	return w.last, err
}

// captured is the envelope for a folder that keeps mail in place of an upstream.
func (t *Transaction) captured(size int64) *capture.Envelope {
	e := &capture.Envelope{
		Time: time.Now(), Upstream: t.u.name, EHLO: t.route.ehlo, Source: t.route.sources(), From: t.env.From.String(), Size: size,
		Body: t.env.Body, UTF8: t.env.UTF8, TLS: t.env.RequireTLS, Ret: t.env.Ret, EnvID: t.env.EnvID,
	}
	for i := range t.accepted {
		r := &t.accepted[i]
		e.To = append(e.To, capture.Recipient{Address: r.String(), Notify: r.Notify, ORcpt: r.ORcpt})
	}
	return e
}
