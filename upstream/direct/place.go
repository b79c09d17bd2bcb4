package direct

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"postern/mail"
	"postern/upstream"
	"postern/upstream/warmup"
)

// place is that of a message in the budget of a new address, with what became of it.
// The zero value has none.
type place struct {
	pass     *warmup.Pass // nil: the address is not warmed up there
	has      bool         // it was asked for
	from     netip.Addr
	was      warmup.End
	finished bool // the message itself has left, and does not come again
}

// ruleWarmup decides where the budget of a new address is used up, in events.
const ruleWarmup = "warmup"

// enter asks for a place for the message that leaves from an address to the domain's
// group; wait is the time until there is room. One place is enough for all hosts that
// are tried.
func (t *Transaction) enter(ctx context.Context, from netip.Addr) (wait time.Duration, err error) {
	if t.warmup == nil || t.place.has && t.place.from == from {
		return 0, nil
	}
	t.place.end()
	pass, wait, err := t.warmup.Take(ctx, from, t.group)
	if err == nil && wait == 0 {
		t.place = place{pass: pass, has: true, from: from}
	}
	return wait, err
}

// warming is the reply for each recipient where there is no room, or where nobody knows.
func (t *Transaction) warming(rs []mail.Recipient, wait time.Duration, err error) []mail.Reply {
	own := &mail.Own{Rule: ruleWarmup, Domain: t.domain}
	if err != nil {
		own.Err, wait = fmt.Errorf("upstream %s: budget of %s: %w", t.u.name, t.domain, err), time.Minute
	}
	return each(rs, func(to mail.Address) mail.Reply { return replyWarmup(to, wait) }, own)
}

// heard notes a host's verdict on a recipient. A greylist defers whoever is new, and
// says nothing of the address.
func (p *place) heard(r *mail.Reply) {
	switch {
	case r.Permanent():
		p.was = warmup.Refused
	case r.Temporary() && p.was != warmup.Refused && (r.Said == nil || r.Said.Class != mail.ClassGreylisted):
		p.was = warmup.Deferred
	}
}

// sent notes the verdict on the message; of one that is lost behind its end nobody knows.
func (p *place) sent(r *mail.Reply, err error) {
	unknown := errors.Is(err, upstream.ErrUnknownOutcome)
	p.finished = unknown || err == nil && !r.Temporary()
	switch {
	case err != nil && !unknown:
	case !unknown && !r.Positive():
		p.heard(r)
	case p.was == warmup.NotSent:
		p.was = warmup.Taken
	}
}

// end gives the place back, or keeps it where the message has left.
func (p *place) end() {
	if p.has {
		p.pass.End(p.was, p.finished)
		*p = place{}
	}
}
