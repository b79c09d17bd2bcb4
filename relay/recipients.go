package relay

import (
	"cmp"
	"context"
	"postern/internal/plain"
	"postern/mail"
	"postern/ratelimit"
	"postern/relay/halves"
	"postern/relay/replies"
	"slices"
	"strings"
)

// taken is a recipient that the upstream took.
type taken struct {
	index  int // in ev.To
	charge int // in the account
	// end is what became of the message for it; nil: what became of the transaction.
	end *ending
	// known is what was remembered of it when it came; it was not asked about then. before:
	// it has this very message.
	known  []halves.Known
	before bool
}

// attempt is one RCPT command on its way through the stages.
type attempt struct {
	rcpt  mail.Recipient
	shown string // for the event, when rcpt did not parse
	ending
	index int // in ev.To
	// charge numbers the recipient in the account; -1: nothing was charged.
	charge int
	known  []halves.Known // it was accepted for, without asking
	trial  bool           // it would have to wait for the receiver, and is tried
}

// attempt judges one RCPT by syntax, count and policy.
func (t *transaction) attempt(arg string) (a attempt) {
	rcpt, path, ok, err := t.rcptCommand(arg)
	a.rcpt = rcpt
	t.dropDSN(t.client.Lenient(), &a.rcpt.Notify, &a.rcpt.ORcpt)
	a.index, a.charge = len(t.ev.To), -1
	unknown := t.notOffered(path, err, a.rcpt.Notify != "" || a.rcpt.ORcpt != "")
	switch {
	case !ok:
		a.shown, a.rule, a.reply = plain.Quote(arg), "syntax", replies.Syntax("RCPT TO:<address>")
	case unknown != nil:
		a.shown, a.rule, a.reply = plain.Quote(strings.TrimSpace(path)), "syntax", unknown
	case err != nil:
		a.shown, a.rule, a.reply = plain.Quote(strings.TrimSpace(path)), "syntax", replyRcptSyntax(err)
	case a.index >= t.snap.Message.MaxRecipients:
		a.rule, a.reply = "max_recipients", replies.TooManyRecipients()
	case t.lost.reply != nil:
		a.ending = t.lost
	default:
		t.judgeRecipient(&a)
	}
	if a.shown == "" {
		a.shown = a.rcpt.Key()
	}
	if a.index < t.snap.Message.MaxRecipients {
		t.ev.To = append(t.ev.To, mail.RecipientEvent{Address: a.shown, Trial: a.trial})
	}
	return a
}

func (t *transaction) judgeRecipient(a *attempt) {
	if a.rcpt.Address == mail.Postmaster {
		if t.snap.Postmaster.IsNull() {
			a.rule, a.reply = "postmaster", replies.NoPostmaster()
			return
		}
		a.rcpt.Address = t.snap.Postmaster
	}
	a.shown = a.rcpt.Key()
	rules, client := t.rulesNow()
	if r := rules.Recipient(client, a.rcpt.Address); r != nil {
		a.rule, a.reply = "recipients", r
		return
	}
	a.rule, a.reply = t.judgeOutside(a)
}

// crowd refuses the attempts that are still open beyond what the upstream takes
// with one message. The client sends them in another (RFC 5321 s. 4.5.3.1.10).
func (t *transaction) crowd(batch []attempt) {
	most := t.route.MaxRecipients
	if most == 0 {
		return
	}
	n := len(t.accepted)
	for i := range batch {
		if batch[i].reply != nil {
			continue
		}
		if n++; n > most {
			batch[i].rule, batch[i].reply = "max_recipients", replies.TooManyRecipients()
		}
	}
}

// bar refuses the attempts that are still open where the gate is closed.
func (t *transaction) bar(batch []attempt) {
	rule, r := t.barred()
	if r == nil {
		return
	}
	lifted := t.lifted(rule)
	for i := range batch {
		if a := &batch[i]; a.reply == nil && !(lifted && t.mayReach(a.rcpt.Address)) {
			a.rule, a.reply = rule, r
		}
	}
}

// charge takes quota for all open attempts in one step of the store.
func (t *transaction) charge(batch []attempt) {
	var open []ratelimit.Recipient
	var which []int // of batch
	for i := range batch {
		if a := &batch[i]; a.reply == nil {
			open = append(open, t.counted(a.shown, a.rcpt.Domain, t.groups[a.rcpt.Domain]))
			which = append(which, i)
		}
	}
	if len(open) == 0 {
		return
	}
	ctx, cancel := t.limiterTime()
	defer cancel()
	t.clock(&t.ev.Took.Limit)
	verdicts := t.account.Recipients(ctx, open, nil)
	t.unclock()
	for i := range verdicts {
		a, v := &batch[which[i]], &verdicts[i]
		if v.OK {
			a.charge = t.charged + i
		} else {
			a.rule, a.reply = t.limitRefusal(v)
		}
	}
	t.charged += len(open)
}

// limiterTime bounds a call of the limiter, where its store may keep us waiting.
func (t *transaction) limiterTime() (context.Context, context.CancelFunc) {
	if !t.srv.limiter.Waits() {
		return t.conn.Context(), func() {}
	}
	return context.WithTimeout(t.conn.Context(), t.snap.Timeouts.Limiter)
}

// counted is a recipient as limits count it.
func (t *transaction) counted(address, domain, group string) ratelimit.Recipient {
	r := ratelimit.Recipient{Address: mail.RecipientOf(address), Domain: domain, Provider: group}
	if t.srv.hooks.Stranger != nil && t.account.NeedsStrangers() {
		r.NewToClient, r.NewToSender = t.srv.hooks.Stranger(t.client.Name(), t.sender, r.Address)
	}
	return r
}

// record writes what came of each attempt into the event, gives back the quota of
// those that ended in a 4yz, and returns the replies.
func (t *transaction) record(batch []attempt) (all []*mail.Reply) {
	var back []int
	for i := range batch {
		a := &batch[i]
		t.note(a)
		if a.reply.Temporary() && a.charge >= 0 {
			back = append(back, a.charge)
		}
		all = append(all, a.reply)
	}
	if len(back) > 0 {
		t.account.Refund(t.conn.Context(), back...)
	}
	t.rejoin()
	return all
}

// note writes an attempt's end into the event.
func (t *transaction) note(a *attempt) {
	if a.index >= len(t.ev.To) {
		return
	}
	e := &t.ev.To[a.index]
	a.stage = mail.StageRcpt
	e.Provider = cmp.Or(a.reply.Provider, t.groups[a.rcpt.Domain])
	a.writeTo(e)
	if a.reply.Positive() {
		t.accepted = append(t.accepted, taken{index: a.index, charge: a.charge, known: a.known})
		t.env.To = append(t.env.To, a.rcpt)
		return
	}
	e.Outcome = mail.OutcomeOf(a.reply)
	if t.refused.reply == nil || t.refused.reply.Permanent() && a.reply.Temporary() {
		t.refused = a.ending
	}
}

// noRecipients answers DATA where every recipient was refused. What the client
// hears now says nothing more; what decided is in the event.
func (t *transaction) noRecipients() *mail.Reply {
	t.ended(t.refused)
	switch {
	case t.peer.LMTP: // RFC 2033 s. 4.2
		return replies.NoRecipientsLMTP()
	case t.refused.reply.Temporary():
		return replies.NoRecipientsNow()
	case t.onlyAsked():
		return t.refused.reply
	}
	return replies.NoRecipients()
}

// onlyAsked reports whether every recipient was answered 530: AUTH or TLS, which
// a reload has come to ask for, mends that, and 554 would have the client drop
// the message.
func (t *transaction) onlyAsked() bool {
	return !slices.ContainsFunc(t.ev.To, func(r mail.RecipientEvent) bool { return r.Code != 530 })
}

// chargeBody takes what depends on the message itself: its octets.
func (t *transaction) chargeBody() (rule string, r *mail.Reply) {
	if !t.account.CountsBytes() {
		return "", nil
	}
	ctx, cancel := t.limiterTime()
	defer cancel()
	t.clock(&t.ev.Took.Limit)
	defer t.unclock()
	if v := t.account.Body(ctx, t.in.size); !v.OK {
		return t.limitRefusal(&v)
	}
	return "", nil
}
