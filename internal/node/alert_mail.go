package node

import (
	"context"
	"fmt"
	"time"

	"postern/dkimsign"
	"postern/internal/config"
	"postern/mail"
	"postern/upstream"
)

// submit hands a notice to the upstream of a stream. No limit, no suspension and no
// scanner sees it: what tells of them must not wait for them. It is signed as mail of its
// domain is on that way.
func (a *alerts) submit(ctx context.Context, stream, from, to string, header, body []byte) (refused bool, err error) {
	snap := a.inForce.Load().Snapshot
	route := snap.Routes[stream]
	if route == nil || route.Upstream == nil && route.Direct == nil {
		return false, fmt.Errorf("there is no stream %q", stream)
	}
	sender, err := config.ParseAddress(from)
	if err != nil {
		return false, fmt.Errorf("from: %w", err)
	}
	recipient, err := config.ParseAddress(to)
	if err != nil {
		return false, fmt.Errorf("mail: %w", err)
	}
	content := upstream.Content{Chunks: [][]byte{header, body}}
	if d := snap.Signers.For(sender.Domain); d != nil {
		hash := dkimsign.NewBodyHash()
		hash.Write(body)
		fields, _, err := route.Sign.Sign(d, header, hash, time.Now())
		if err != nil && d.Required() {
			return false, fmt.Errorf("sign for %s: %w", d.Name(), err)
		}
		content.Prefix = fields
	}
	env := mail.Envelope{From: sender, To: []mail.Recipient{{Address: recipient}}}
	t := route.Begin(&env)
	defer t.Close()
	replies, err := t.Recipients(ctx, env.To, nil)
	if err != nil {
		return false, err
	}
	if r := replies[0]; !r.Positive() {
		return !r.Temporary(), fmt.Errorf("the upstream refused: %s", r.String())
	}
	switch v := t.Send(ctx, content)[0]; {
	case v.Err != nil:
		return false, v.Err
	case !v.Reply.Positive():
		return !v.Reply.Temporary(), fmt.Errorf("the upstream refused: %s", v.Reply.String())
	}
	return false, nil
}
