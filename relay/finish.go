package relay

import (
	"slices"
	"time"

	"postern/mail"
)

// ending is what decided about a transaction or about one of its recipients.
type ending struct {
	stage, rule string
	reply       *mail.Reply // as the client gets it; nil: the client has left
	said        *mail.Reply // as the upstream gave it; nil: reply is ours
	class       mail.Class  // of the upstream's refusal
	ours        bool        // we refuse, and nobody's fault is in the way
	back        bool        // all that was charged goes back
	unknown     bool        // the message may have been taken
}

// writeTo notes the end of one recipient.
func (e *ending) writeTo(r *mail.RecipientEvent) {
	r.Rule, r.Code, r.Status, r.Reply, r.Class, r.Said = e.rule, 0, "", "", e.class, nil
	if e.reply != nil {
		r.Code, r.Status = e.reply.Code, e.reply.Status
	}
	if e.said != nil {
		r.Reply, r.Said = e.reply.Text, e.said.Said
	}
}

// failed ends the transaction with a refusal of ours.
func (t *transaction) failed(stage, rule string, r *mail.Reply) *mail.Reply {
	return t.ended(ending{stage: stage, rule: rule, reply: r, ours: rule != ruleStore})
}

// gated ends the transaction with what the gate behind the data said.
func (t *transaction) gated(rule string, r *mail.Reply) *mail.Reply {
	if t.late(rule) {
		return t.bySubmitter(rule, r)
	}
	return t.failed(mail.StageForward, rule, r)
}

// faulted ends the transaction with a fault of ours.
func (t *transaction) faulted(stage, rule string, r *mail.Reply) *mail.Reply {
	return t.ended(ending{stage: stage, rule: rule, reply: r})
}

// settle gives back what a transaction that has ended needs no longer. A 5yz stays
// charged, since a bad list is itself a signal, and so does what may have left.
// What we refuse for now gives its message back and keeps the recipients, about
// whom the upstream has been asked. All else that ends in a 4yz goes back.
func (t *transaction) settle(e *ending) {
	switch {
	case t.account == nil || len(t.accepted) == 0:
	case t.several:
		t.settleEach(e)
	case e.unknown:
	case e.back && e.reply.Temporary():
		t.refund()
	case e.ours && (e.reply.Temporary() || e.reply.Code == 530):
		t.account.Refund(t.conn.Context(), t.reports...)
		t.account.RefundMessage(t.conn.Context())
	case e.reply.Temporary():
		t.refund()
	}
}

// settleEach is settle where recipients have ends of their own.
func (t *transaction) settleEach(e *ending) {
	var back []int
	for i := range t.accepted {
		a := &t.accepted[i]
		if end := a.endOf(e); a.before || (end.reply.Temporary() || t.again && !end.reply.Positive()) && !end.unknown {
			back = append(back, a.charge)
		}
	}
	if len(back) == len(t.accepted) {
		back = append(back, t.reports...)
	}
	if len(back) > 0 {
		t.account.Refund(t.conn.Context(), back...)
	}
}

// Break ends the transaction where the engine says so: by a refusal, or with r nil
// since the client has left. Then it stays charged, except where we end the session
// ourselves. A client that leaves because all of its recipients were refused has
// not aborted anything: their refusal is the end.
func (t *transaction) Break(rule string, r *mail.Reply) *mail.Reply {
	switch {
	case t.over:
		return r
	case r != nil:
		return t.failed(t.stage, rule, r)
	}
	if t.in != nil && t.in.from.Chunked {
		t.ev.Size = t.in.size
	}
	if t.allRefused() {
		t.finish(t.refused, mail.OutcomeOf(t.refused.reply))
		return nil
	}
	if t.conn.Stopping() {
		t.refund()
	}
	t.finish(ending{stage: t.stage, rule: rule}, mail.Aborted)
	return nil
}

// allRefused reports whether there were recipients and all of them were refused.
func (t *transaction) allRefused() bool { return len(t.accepted) == 0 && t.refused.reply != nil }

// refund gives back the charges of the recipients that were to get the message;
// one that ended in a 5yz stays charged.
func (t *transaction) refund() {
	if t.account == nil || len(t.accepted) == 0 {
		return
	}
	charges := make([]int, len(t.accepted))
	for i, a := range t.accepted {
		charges[i] = a.charge
	}
	t.account.Refund(t.conn.Context(), append(charges, t.reports...)...)
}

// finish writes the event, gives everything back and tells the observers.
func (t *transaction) finish(e ending, outcome string) {
	if t.over { // a fault within what follows must not account twice
		return
	}
	t.over = true
	t.unclock()
	ev := &t.ev
	ev.Stage, ev.Rule, ev.Outcome, ev.Class = e.stage, e.rule, outcome, e.class
	ev.Duration = time.Since(t.began)
	if e.reply != nil {
		ev.Code, ev.Status = e.reply.Code, e.reply.Status
	}
	switch {
	case e.said != nil:
		ev.Reply = e.said.String()
	case e.reply != nil:
		ev.Reply = e.reply.String()
	case t.last.Code != 0:
		ev.Reply = t.last.String()
	}
	if len(ev.Unreached) == 1 {
		ev.Unreached = nil // Err and Said have it
	}
	t.finishRecipients(e, outcome)
	if t.up != nil {
		ev.Host, ev.SourceIP, ev.HostTLS = t.up.Host(), mail.AddrText(t.up.SourceIP()), t.up.TLS()
		t.up.Close()
	}
	if t.account != nil {
		t.addLimits()
		t.account.End()
	}
	t.releaseClaims(&e, outcome)
	if t.begun != nil {
		t.begun.End(t.conn.Context())
	}
	t.endScan()
	t.endLinks()
	if t.in != nil {
		t.in.drop()
	}
	t.srv.observe(ev)
}

// finishRecipients gives each recipient that was still open the end of the
// transaction.
func (t *transaction) finishRecipients(e ending, outcome string) {
	for i := range t.accepted {
		a := &t.accepted[i]
		r := &t.ev.To[a.index]
		r.Outcome = outcome
		if a.end != nil {
			r.Outcome = t.outcomeOf(a)
		}
		a.endOf(&e).writeTo(r)
	}
	for i := range t.ev.To {
		if t.ev.To[i].Outcome == "" {
			t.ev.To[i].Outcome = outcome
		}
	}
}

// addLimits writes what the limits said into the event.
func (t *transaction) addLimits() {
	checks := t.account.Checks()
	t.ev.Limits = slices.Grow(t.ev.Limits, len(checks))
	for i := range checks {
		l := &checks[i]
		t.ev.Limits = append(t.ev.Limits, mail.LimitEvent{
			Limit: l.Limit, Key: l.Key, Unit: l.Unit.String(), Window: l.Window, Max: l.Max, Used: l.Used,
			Refused: l.Refused, Shadow: l.Shadow, Near: l.Near, Top: l.Top,
		})
	}
}
