package relay

import (
	"cmp"

	"postern/mail"
	"postern/policy"
	"postern/ratelimit"
	"postern/relay/replies"
)

// What was right at MAIL may be wrong when it takes effect: a transaction can be
// open for long, and many can be open at one time. So the gate asks again who the
// client is and what it may do, by the rules and states of now: at each RCPT
// (barred), before the message is taken and before it is handed over (gate). What
// it refuses has not been sent and is not delivered.

// gate says why the message may not go on now; nil when it may.
func (t *transaction) gate() (rule string, r *mail.Reply) {
	if rule, r = t.barred(); r != nil && !(t.lifted(rule) && t.reachesOnlyThose()) {
		return rule, r
	}
	return t.recheckLimits()
}

// barred says why this client may not send this mail now, whatever was true at
// MAIL. The reply is temporary, or 530 where AUTH or TLS would mend it: what is
// wrong for good is told at the next MAIL.
func (t *transaction) barred() (rule string, r *mail.Reply) {
	if rule, r = t.conn.Recheck(); r != nil {
		return rule, r
	}
	now := t.srv.snapshot()
	client, r := now.Rules.Client(t.peer)
	switch {
	case r != nil && r.Code == 530:
		return "client", r
	case r != nil || client.Name() != t.client.Name() || t.peer.User != t.ev.User:
		return "client", replies.NoLongerClient()
	case now.Rules.Sender(client, t.env.From) != nil:
		return "senders", replies.NoLongerOwned(t.env.From.Shown())
	}
	if rule, r = t.outlawed(now.Rules, client); r != nil {
		return rule, r
	}
	return t.admitted()
}

// outlawed says what of this message passed by the rules of MAIL and does not by
// those of now: a recipient, or an author or another field of the header. Our
// signature was made ready for authors who were owned.
func (t *transaction) outlawed(now *policy.Rules, client *policy.Client) (rule string, r *mail.Reply) {
	if now == t.snap.Rules {
		return "", nil
	}
	for i := range t.env.To {
		if now.Recipient(client, t.env.To[i].Address) != nil {
			return "recipients", replies.NoLongerClient()
		}
	}
	if t.message.raw == nil {
		return "", nil
	}
	rule, r, shadow := now.Header(client, &t.message.facts)
	if r == nil || shadow && len(t.message.domains) == 0 && !t.mustSign() {
		return "", nil
	}
	return rule, replies.NoLongerClient()
}

// rulesNow are those by which a further recipient is judged, and the client in
// them; those of MAIL where they do not name the client any more, for then the
// gate refuses.
func (t *transaction) rulesNow() (*policy.Rules, *policy.Client) {
	now := t.srv.snapshot().Rules
	if now == t.snap.Rules {
		return now, t.client
	}
	if c, r := now.Client(t.peer); r == nil && c.Name() == t.client.Name() {
		return now, c
	}
	return t.snap.Rules, t.client
}

// admitted asks whether the submitter is suspended now, or with the recipients
// so far beyond its pace.
func (t *transaction) admitted() (rule string, r *mail.Reply) {
	if t.srv.hooks.Admit == nil {
		return t.suspended()
	}
	return t.refuseSuspended(t.srv.hooks.Admit(t.ev.ID, t.client.Name(), t.ev.User, t.ev.Submitter, t.ev.Stream, t.sender, max(1, len(t.accepted))))
}

// recheckLimits holds what has been charged against the limits of now.
func (t *transaction) recheckLimits() (rule string, r *mail.Reply) {
	if !t.account.NewRules() {
		return "", nil
	}
	rs, is := t.chargedRecipients()
	ctx, cancel := t.limiterTime()
	defer cancel()
	if v := t.account.Recheck(ctx, rs, is); !v.OK {
		return t.limitRefusal(&v)
	}
	return "", nil
}

// chargedRecipients are those that are to get the message, and what the account knows
// each by.
func (t *transaction) chargedRecipients() (rs []ratelimit.Recipient, is []int) {
	rs, is = make([]ratelimit.Recipient, 0, len(t.accepted)), make([]int, 0, len(t.accepted))
	for i, a := range t.accepted {
		domain := t.env.To[i].Domain
		group := cmp.Or(t.groups[domain], t.ev.To[a.index].Provider) // the host that has taken it is known
		rs = append(rs, t.counted(t.ev.To[a.index].Address, domain, group))
		is = append(is, a.charge)
	}
	return rs, is
}
