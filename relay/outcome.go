package relay

import (
	"cmp"
	"slices"

	"postern/mail"
	"postern/relay/replies"
	"postern/upstream"
	"postern/upstream/direct"
)

// A message to one upstream has one end. One to the exchangers of several domains has
// an end for each of them, and what the client is told of that depends on what it
// speaks: LMTP has a reply for each recipient, SMTP one for all (docs/delivery.md).

// fanOut lets recipients of several domains into the transaction, where the client
// can be told of each.
func (t *transaction) fanOut() {
	if fan, ok := t.up.(*direct.Fan); ok {
		fan.OneDomain = !t.fansOut()
	}
}

// concluded ends the transaction with what became of the message.
func (t *transaction) concluded(all []upstream.Verdict) *mail.Reply {
	ends := make([]ending, len(all))
	for i := range all {
		ends[i] = t.verdictEnd(&all[i])
	}
	var e ending
	if len(all) == 1 && !t.several {
		e = ends[0]
	} else {
		t.spread(all, ends)
		e = *t.decisive()
	}
	if t.remembers() {
		e = t.halved(e)
	}
	t.countHalves(&e)
	t.rememberLost(&e)
	if e.reply.Positive() {
		t.forgiveRetry()
	}
	return t.ended(e)
}

// verdictEnd is the end that a verdict makes.
func (t *transaction) verdictEnd(v *upstream.Verdict) ending {
	err := v.Err
	if err == nil {
		err = cmp.Or(t.ourFault(v.Reply), t.ownField(&v.Reply))
	}
	if err != nil {
		return t.faultEnd(err)
	}
	e := t.passOn(&v.Reply)
	e.stage = mail.StageForward
	return e
}

// spread gives each recipient the end of its domain.
func (t *transaction) spread(all []upstream.Verdict, ends []ending) {
	t.several = true
	for _, i := range t.open() {
		a := &t.accepted[i]
		v := slices.IndexFunc(all, func(v upstream.Verdict) bool { return v.Domain == t.env.To[i].Domain })
		if v < 0 { // of which nothing was sent
			a.end = &ending{stage: mail.StageForward, rule: "upstream", reply: replies.UpstreamDown()}
			continue
		}
		a.end = &ends[v]
		to := &t.ev.To[a.index]
		to.Host, to.SourceIP, to.HostTLS = all[v].Host, mail.AddrText(all[v].SourceIP), all[v].TLS
	}
}

// decisive is the end that stands for all in the event: the first that took the
// message now, else one who had it, else the first that may take it later, else the
// first.
func (t *transaction) decisive() *ending {
	for _, is := range []func(*taken) bool{
		func(a *taken) bool { return a.end.reply.Positive() && !a.before },
		func(a *taken) bool { return a.end.reply.Positive() },
		func(a *taken) bool { return a.end.reply.Temporary() },
	} {
		for i := range t.accepted {
			if is(&t.accepted[i]) {
				return t.accepted[i].end
			}
		}
	}
	return t.accepted[0].end
}

// Each is what each recipient that was taken is told behind the message; nil: all
// are told the same.
func (t *transaction) Each() []*mail.Reply {
	if !t.several {
		return nil
	}
	all := make([]*mail.Reply, len(t.accepted))
	for i := range t.accepted {
		all[i] = t.accepted[i].end.reply
	}
	return all
}

// endOf is the end of one recipient that was taken, e that of the transaction.
func (a *taken) endOf(e *ending) *ending {
	if a.end != nil {
		return a.end
	}
	return e
}

// outcomeOf is that of a recipient with an end of its own: who has refused the message
// for good hears of it in another transaction where the client is to send it again.
func (t *transaction) outcomeOf(a *taken) string {
	if t.again && !a.end.reply.Positive() {
		return mail.Deferred
	}
	return mail.OutcomeOf(a.end.reply)
}

// outcome is that of the transaction: relayed where it has left for anybody, else what
// the client hears. Who had the message from an earlier try is no reason to say that it
// has left again.
func (t *transaction) outcome(e *ending) string {
	for i := range t.accepted {
		if a := &t.accepted[i]; a.endOf(e).reply.Positive() && !a.before {
			return mail.Relayed
		}
	}
	return mail.OutcomeOf(e.reply)
}
