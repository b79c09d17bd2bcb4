package relay

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"postern/mail"
	"postern/ratelimit"
)

// rememberLost remembers a message that may have been taken, so that its retry
// is not charged again. Over LMTP that goes to those alone who do not have it.
func (t *transaction) rememberLost(e *ending) {
	var to []mail.Recipient
	unknown := false
	for i := range t.accepted {
		end := t.accepted[i].endOf(e)
		unknown = unknown || end.unknown
		if end.reply.Temporary() {
			to = append(to, t.env.To[i])
		}
	}
	if !unknown {
		return
	}
	if !t.peer.LMTP {
		to = t.env.To
	}
	sum, err := t.messageHash(to)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.conn.Context()), t.snap.Timeouts.Limiter)
	defer cancel()
	if err == nil {
		err = t.srv.limiter.UnknownOutcome(ctx, t.client.Name(), sum)
	}
	if err != nil {
		t.srv.fault("store", err, "id", t.ev.ID)
	}
}

// forgiveRetry gives back what a message was charged that the upstream has taken
// now and may have taken before.
func (t *transaction) forgiveRetry() {
	l := t.srv.limiter
	if !l.ExpectsRetries() {
		return
	}
	sum, err := t.messageHash(t.env.To)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.conn.Context()), t.snap.Timeouts.Limiter)
	defer cancel()
	var free bool
	if err == nil {
		free, err = l.Retried(ctx, t.client.Name(), sum)
	}
	switch {
	case err != nil:
		t.srv.fault("store", err, "id", t.ev.ID)
	case free:
		t.refund()
	}
}

// messageHash tells this message from others of its client: reverse-path,
// recipients, and content as the client sent it.
func (t *transaction) messageHash(rcpts []mail.Recipient) (sum ratelimit.MessageHash, err error) {
	in, to := t.in, make([]string, len(rcpts))
	for i := range rcpts {
		to[i] = rcpts[i].Key()
	}
	slices.Sort(to)
	h := sha256.New()
	fmt.Fprintf(h, "%q %q\n", t.env.From.Key(), to)
	h.Write(in.header)
	for _, c := range in.body.chunks {
		h.Write(c)
	}
	if in.body.file != nil {
		if _, err := io.Copy(h, io.NewSectionReader(in.body.file, 0, in.body.fileSize)); err != nil {
			return sum, fmt.Errorf("read message again: %w", err)
		}
	}
	h.Sum(sum[:0])
	return sum, nil
}
