package relay

import (
	"slices"

	"postern/mail"
	"postern/policy"
	"postern/relay/replies"
)

// readFacts gathers what policy wants to know of the header.
func (t *transaction) readFacts() {
	m := &t.message
	m.facts.Begin(t.readAuthors())
	m.facts.ReversePath = t.env.From
	for i := range m.header {
		m.facts.Field(m.header[i].Name(), m.header[i].Body())
	}
	m.facts.End()
	t.ev.Automatic = string(m.facts.Automatic)
	for i := range m.facts.Authors {
		t.ev.Authors = append(t.ev.Authors, t.keyOf(m.facts.Authors[i].Address))
	}
}

// keyOf is the Key of a, which most often is that of the reverse-path.
func (t *transaction) keyOf(a mail.Address) string {
	if from := &t.env.From; a.Local == from.Local && a.Domain == from.Domain {
		return t.ev.From
	}
	return a.Key()
}

// judgeAutomatic keeps automatic replies from those who never asked for them:
// one message an author, recipient and period, or none. Reports and receipts
// count on the limit of the null reverse-path.
func (t *transaction) judgeAutomatic() (rule string, r *mail.Reply) {
	what := t.snap.Rules.Automatic(t.client, &t.message.facts)
	rule = "automatic_replies"
	if t.message.facts.Automatic == policy.Notice {
		rule = "automatic_notices"
	}
	if what.Mode == policy.AllowReplies && t.message.facts.Automatic.AboutOne() {
		return t.chargeReport()
	}
	if what.Mode == policy.AllowReplies {
		return "", nil
	}
	for i := range t.env.To {
		to := t.env.To[i].Address
		if t.snap.Rules.Internal(to) {
			continue
		}
		if what.Mode == policy.OncePerRecipient && t.srv.hooks.Once != nil {
			first, err := t.claim(i, what)
			if err != nil {
				t.ev.Err = err.Error()
				t.srv.fault("store", err, "id", t.ev.ID)
				return ruleStore, replies.StoreFault()
			}
			if first {
				continue
			}
		}
		return rule, policy.RefuseAutomatic(what, to)
	}
	return "", nil
}

// chargeReport counts a report or receipt that leaves: what calls itself one may
// be anything, so that it has no more room than the null reverse-path, which has
// been counted with its recipients.
func (t *transaction) chargeReport() (rule string, r *mail.Reply) {
	inside := func(to mail.Recipient) bool { return t.snap.Rules.Internal(to.Address) }
	if t.env.From.IsNull() || !slices.ContainsFunc(t.env.To, func(to mail.Recipient) bool { return !inside(to) }) {
		return "", nil
	}
	ctx, cancel := t.limiterTime()
	defer cancel()
	charge, v := t.account.Report(ctx)
	t.reports = append(t.reports, charge)
	if !v.OK {
		return t.limitRefusal(&v)
	}
	return "", nil
}

// claim is something that a message has claimed for one of its recipients.
type claim struct {
	to      int // in env.To
	release func()
}

// releaseClaims gives back what was claimed for those who do not get the message, and
// all of it where the client sends the whole again.
func (t *transaction) releaseClaims(e *ending, outcome string) {
	again := e.reply == nil || !e.reply.Positive() && !t.peer.LMTP
	for _, c := range t.claims {
		if a := &t.accepted[c.to]; again || outcome != mail.Relayed || a.end != nil && !a.end.reply.Positive() {
			c.release()
		}
	}
}

// claim takes the one automatic message that a recipient may get from each of
// its authors in a period; it goes back unless the message leaves.
func (t *transaction) claim(i int, what policy.AutomaticReplies) (bool, error) {
	ctx, cancel := t.limiterTime()
	defer cancel()
	for _, author := range t.responders() {
		release, err := t.srv.hooks.Once(ctx, author, t.env.To[i].RecipientID(), what.Period)
		if err != nil || release == nil {
			return false, err
		}
		t.claims = append(t.claims, claim{i, release})
	}
	return true, nil
}

// responders are those in whose name a message answers: its authors, each once;
// else its sender, and for the null reverse-path its client. An author who is not the
// client's own, as in forwarded mail, answers for this client only: nobody uses up what
// an author may send through another client.
func (t *transaction) responders() []string {
	var authors []string
	for i, a := range t.ev.Authors {
		who := string(mail.IdentityOf(a))
		if !t.client.Owns(t.message.facts.Authors[i].Address) {
			who = "client " + t.client.Name() + " " + who
		}
		authors = append(authors, who)
	}
	slices.Sort(authors)
	switch {
	case len(authors) > 0:
		return slices.Compact(authors)
	case !t.env.From.IsNull():
		return []string{string(t.sender)}
	}
	return []string{"client " + t.client.Name()}
}
