package relay

import (
	"context"
	"errors"
	"fmt"
	"postern/mail"
	"postern/relay/replies"
	"postern/upstream"
	"slices"
	"strings"
)

// ask puts all open attempts to the upstream.
func (t *transaction) ask(batch []attempt) {
	var rs []mail.Recipient
	var which []int // of batch
	for i := range batch {
		if batch[i].reply == nil {
			rs = append(rs, batch[i].rcpt)
			which = append(which, i)
		}
	}
	if len(rs) == 0 {
		return
	}
	if t.up == nil {
		t.up = t.route.Begin(&t.env)
	}
	t.fanOut()
	ctx, cancel := context.WithTimeout(t.conn.Context(), t.snap.Timeouts.Upstream)
	defer cancel()
	t.clock(&t.ev.Took.UpstreamRcpt)
	replies, err := t.up.Recipients(ctx, rs, nil)
	t.unclock()
	if err == nil {
		err = t.ourFault(replies...)
	}
	if err != nil {
		t.lose(err)
	}
	t.hold = hold{on: err == nil}
	for i, w := range which {
		if err != nil {
			batch[w].ending = t.lost
		} else {
			batch[w].ending = t.passOn(&replies[i])
			if aboutCommand(replies[i].Code) {
				batch[w].reply.Code, batch[w].reply.Status = 451, "4.5.1"
			}
		}
	}
}

// ourFault is non-nil where the upstream does not know us. That is for our
// operator to mend, so clients are told to try again. What a receiver's own host
// says so is a refusal: with it we have no account.
func (t *transaction) ourFault(replies ...mail.Reply) error {
	for i := range replies {
		if r := &replies[i]; t.route.Direct == nil && (asksForLogin(r.Code) || r.Code == 550 && unknownCustomer(r)) {
			return fmt.Errorf("%w: %q", upstream.ErrCredentials, r.String())
		}
	}
	return nil
}

func asksForLogin(code int) bool { return code == 530 || code == 534 || code == 535 || code == 538 }

// unknownCustomer reports whether a provider that knows its customers by address or
// EHLO name does not know us: the SMTP relay of Google, a connector of Microsoft 365.
func unknownCustomer(r *mail.Reply) bool {
	text := strings.ToLower(r.Text)
	return (r.Said == nil || !r.Said.Remote) && (strings.HasPrefix(text, "invalid credentials for relay") || strings.HasPrefix(text, "tenantattribution;"))
}

// aboutCommand reports whether the upstream's code says that it does not know
// MAIL or RCPT, or not now, such as "503 AUTH first". That is not a
// verdict on the address.
func aboutCommand(code int) bool { return code == 500 || code == 502 || code == 503 }

// lose notes that the upstream is lost to this transaction.
func (t *transaction) lose(err error) {
	t.lost = t.upstreamFault(err)
	t.lost.reply = noUpstream(err)
	t.up.Close()
}

// noUpstream is what the client is told where its mail got no connection: that of all
// there may be none was free is not the upstream's doing.
func noUpstream(err error) *mail.Reply {
	if errors.Is(err, upstream.ErrBusy) {
		return replies.UpstreamBusy()
	}
	return replies.UpstreamDown()
}

// upstreamFault logs a fault behind us and returns the end that it makes, still
// without a reply.
func (t *transaction) upstreamFault(err error) ending {
	t.ev.Err, t.ev.Said = err.Error(), upstream.Said(err)
	e, cause := ending{stage: mail.StageRcpt, rule: "upstream"}, "upstream"
	if errors.Is(err, upstream.ErrCredentials) {
		e.class, cause = mail.ClassCredentials, "upstream credentials"
	}
	if errors.Is(err, upstream.ErrToken) {
		e.class, cause = mail.ClassToken, "upstream token"
	}
	if errors.Is(err, errOwnField) {
		cause = "upstream on our field"
	}
	// Trouble of a receiver is in its event, and no fault of this relay.
	if t.route.Direct == nil || errors.Is(err, upstream.ErrSource) || errors.Is(err, errOwnField) {
		t.srv.fault(cause, err, "upstream", t.route.Name, "id", t.ev.ID)
	}
	return e
}

// passOn is the end that the upstream's reply makes. The client gets it as it is,
// status and text kept; but a 421 ends the upstream's connection, not the
// client's.
func (t *transaction) passOn(r *mail.Reply) ending {
	if r.Own != nil {
		return t.ownReply(r)
	}
	t.last = *r
	out := *r
	switch {
	case out.Code == 421:
		out.Code = 451
	case asksForLogin(out.Code): // of a receiver; the client would take it for ours
		out.Code, out.Status = 550, "5.7.1"
	}
	if out.Status == "" {
		out.Status = [...]string{2: "2.0.0", 4: "4.0.0", 5: "5.0.0"}[out.Code/100]
	}
	e := ending{stage: mail.StageRcpt, rule: "upstream", reply: &out, said: r}
	if r.Said != nil {
		e.class = r.Said.Class
	}
	return e
}

// ownReply is the end that a reply makes which stands for hosts that could not be
// asked.
func (t *transaction) ownReply(r *mail.Reply) ending {
	if r.Own.Err != nil {
		t.ev.Err = r.Own.Err.Error()
		if errors.Is(r.Own.Err, upstream.ErrSource) {
			t.srv.fault("source address", r.Own.Err, "upstream", t.route.Name, "id", t.ev.ID)
		}
	}
	t.unreached(r.Own)
	// Of several, that of a group of receivers concerns the most mail.
	if r.Own.Said != nil && (t.ev.Said == nil || t.ev.Said.Provider == "") {
		t.ev.Said = r.Own.Said
	}
	return ending{stage: mail.StageRcpt, rule: r.Own.Rule, class: r.Own.Class, reply: r}
}

// unreached notes why the hosts of a domain could not be asked.
func (t *transaction) unreached(o *mail.Own) {
	all := t.ev.Unreached
	if o.Err == nil || len(all) == mail.MaxUnreached || slices.ContainsFunc(all, func(u mail.Unreached) bool { return u.Domain == o.Domain }) {
		return
	}
	const most = 500
	words := o.Err.Error()
	t.ev.Unreached = append(all, mail.Unreached{Domain: o.Domain, Err: strings.ToValidUTF8(words[:min(len(words), most)], ""), Said: o.Said})
}

// faultEnd is the end that a fault behind us makes of the message.
func (t *transaction) faultEnd(err error) ending {
	e := t.upstreamFault(err)
	e.stage = mail.StageForward
	switch {
	case errors.Is(err, upstream.ErrUnknownOutcome):
		e.reply, e.unknown = replies.UpstreamLost(), true
	case errors.Is(err, upstream.ErrVerdictChanged):
		e.reply = replies.VerdictChanged()
	case errors.Is(err, errOwnField):
		e.reply = replies.OwnField()
	default:
		e.reply = noUpstream(err)
	}
	return e
}
