package relay

import (
	"time"

	"postern/mail"
	"postern/upstream"
)

// refuse ends a transaction that MAIL did not begin.
func (t *transaction) refuse(stage, rule string, r *mail.Reply) {
	t.failed(stage, rule, r)
}

// failed ends the transaction with a reply of ours. What ends in a 4yz is given
// back; a 5yz stays charged, since a bad list is itself a signal.
func (t *transaction) failed(stage, rule string, r *mail.Reply) *mail.Reply {
	if r.Temporary() {
		t.refund()
	}
	t.ev.Reply = r.String()
	t.finish(stage, rule, outcomeOf(r), r, false)
	return r
}

// ended ends the transaction with the upstream's last reply.
func (t *transaction) ended(r *mail.Reply) *mail.Reply {
	if r.Temporary() {
		t.refund()
	}
	t.finish(stageForward, "upstream", outcomeOf(r), r, true)
	return r
}

// abort ends a transaction that the client has left. It stays charged, except
// where we end it ourselves. A client that leaves because all of its recipients
// were refused has not aborted anything: their refusal is the end.
func (t *transaction) abort() {
	if t.chunked != nil {
		t.chunked.close()
		t.ev.Size = t.chunked.size
	}
	if len(t.accepted) == 0 && t.refusal != nil {
		t.finish(stageRcpt, t.refusedBy, outcomeOf(t.refusal), t.refusal, false)
		return
	}
	if t.s.isStopping() {
		t.refund()
	}
	t.finish(t.stage, "client", mail.Aborted, nil, false)
}

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
	t.account.Refund(t.s.ctx, append(charges, t.reports...)...)
}

func outcomeOf(r *mail.Reply) string {
	switch {
	case r.Positive():
		return mail.Relayed
	case r.Temporary():
		return mail.Deferred
	}
	return mail.Rejected
}

// finish writes the event, gives everything back and tells the observers. r is
// the last reply, theirs says that it is the upstream's own.
func (t *transaction) finish(stage, rule, outcome string, r *mail.Reply, theirs bool) {
	if t.over { // a fault within what follows must not account twice
		return
	}
	t.over = true
	ev := &t.ev
	ev.Stage, ev.Rule, ev.Outcome = stage, rule, outcome
	ev.Duration = time.Since(t.began)
	if r != nil {
		ev.Code, ev.Status = r.Code, r.Status
	}
	switch {
	case ev.Reply != "": // ours
	case t.last.Code != 0 && (r == nil || rule == "upstream"):
		ev.Reply = t.last.String()
	case r != nil:
		ev.Reply = r.String()
	}
	t.finishRecipients(rule, outcome, r, theirs)
	if t.up != nil {
		ev.Host, ev.SourceIP = t.up.Host(), t.s.source.of(t.up.SourceIP())
		t.up.Close()
	}
	if t.account != nil {
		t.addLimits()
		t.account.End()
	}
	if outcome != mail.Relayed {
		for _, release := range t.claims {
			release()
		}
	}
	t.s.srv.observe(ev)
}

// finishRecipients gives each recipient that was still open the end of the
// transaction.
func (t *transaction) finishRecipients(rule, outcome string, r *mail.Reply, theirs bool) {
	for _, a := range t.accepted {
		e := &t.ev.To[a.index]
		e.Outcome, e.Rule, e.Code, e.Status, e.Reply = outcome, rule, 0, "", ""
		if r == nil {
			continue
		}
		e.Code, e.Status = r.Code, r.Status
		if theirs {
			e.Reply = r.Text
			if !r.Positive() {
				e.Class = string(upstream.Classify("dot", r.String()).Class)
			}
		}
	}
	for i := range t.ev.To {
		if t.ev.To[i].Outcome == "" {
			t.ev.To[i].Outcome = outcome
		}
	}
}

// addLimits writes what the limits said into the event.
func (t *transaction) addLimits() {
	for _, l := range t.account.Looks(nil) {
		t.ev.Limits = append(t.ev.Limits, mail.LimitEvent{
			Limit: l.Limit, Key: l.Key, Unit: l.Unit.String(), Window: l.Window, Max: l.Max, Used: l.Used,
			Refused: l.Refused, Shadow: l.Shadow, Near: l.Near, Top: l.Top,
		})
	}
}
