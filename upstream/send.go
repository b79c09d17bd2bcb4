package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/mail"
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
	size := body.total()
	if body.Size != 0 && body.Size != size {
		return mail.Reply{}, fmt.Errorf("content of %d octets is said to have %d", size, body.Size)
	}
	if t.u.capture != nil {
		return t.u.capture.write(time.Now(), t, &body)
	}
	t.size = size
	if t.parked {
		if err := t.reopen(ctx); err != nil {
			return mail.Reply{}, err
		}
	}
	r, err := t.refuseContent(&body)
	if err != nil || r != nil {
		return deref(r), t.faultIf(ctx, "content", err)
	}
	return t.transfer(ctx, &body)
}

func deref(r *mail.Reply) mail.Reply {
	if r == nil {
		return mail.Reply{}
	}
	return *r
}

// refuseContent returns the reply to content that the host cannot take.
func (t *Transaction) refuseContent(body *Content) (*mail.Reply, error) {
	c := t.c
	if c.caps.size > 0 && t.size > c.caps.size {
		return &replyTooLarge, nil
	}
	// Without a declaration by the client nothing is asked: much mail of this
	// kind is wrong in form and harmless, and passes everywhere.
	if t.env.UTF8 && !c.caps.utf8 {
		if eight, err := body.eightBit(true); eight || err != nil {
			return &replyUTF8Header, err
		}
	}
	if t.env.Body == mail.Body8Bit && !c.caps.eight {
		if eight, err := body.eightBit(false); eight || err != nil {
			return &replyNeeds8Bit, err
		}
	}
	return nil, nil
}

// transfer is DATA or BDAT with all that follows.
func (t *Transaction) transfer(ctx context.Context, body *Content) (mail.Reply, error) {
	c := t.c
	c.watch(ctx)
	defer t.give()
	if !c.caps.chunking {
		r, err := c.do(ctx, c.h.cfg.CommandTimeout, "DATA")
		if err == nil && r.Positive() && r.Code != 354 {
			err = fmt.Errorf("%w: %d does not answer DATA", errGarbage, r.Code)
		}
		if err != nil {
			return mail.Reply{}, t.faultIf(ctx, "DATA", err)
		}
		if r.Code != 354 {
			c.broken = r.Code == 421
			return r, nil // the transaction is still open: reset is due
		}
	}
	complete, err := t.write(ctx, body)
	if err != nil {
		return t.early(ctx, complete, err)
	}
	r, err := c.reply(ctx, c.h.cfg.FinalTimeout)
	if err == nil && r.Code >= 300 && r.Code < 400 {
		err = fmt.Errorf("%w: %d is no final reply", errGarbage, r.Code)
	}
	if err != nil {
		return mail.Reply{}, t.unknown(ctx, err)
	}
	c.messages++
	if r.Positive() {
		c.reset = resetNone
	}
	c.broken = c.broken || r.Code == 421
	return r, nil
}

// early reads the reply of a host that refused in the middle of the body and
// hung up. complete: it may have the whole body nevertheless.
func (t *Transaction) early(ctx context.Context, complete bool, cause error) (mail.Reply, error) {
	c := t.c
	c.broken = true
	if ctx.Err() == nil && !timedOut(cause) && !errors.Is(cause, errContent) {
		if r, err := c.reply(ctx, time.Second); err == nil && !r.Positive() {
			return r, nil
		}
	}
	if complete {
		return mail.Reply{}, t.unknown(ctx, cause)
	}
	return mail.Reply{}, t.faultIf(ctx, "body", cause)
}

func (t *Transaction) unknown(ctx context.Context, cause error) error {
	err := t.faultIf(ctx, "final reply", cause)
	t.err = fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	return t.err
}

// write writes the body; complete is true as soon as its last octets are on
// their way.
func (t *Transaction) write(ctx context.Context, body *Content) (complete bool, err error) {
	w := newBodyWriter(ctx, t.c)
	defer w.release()
	if t.c.caps.chunking {
		err = w.chunk(body, t.size)
	} else {
		err = w.stuffed(body)
	}
	return w.last, err
}
