package relay

import (
	"context"

	"postern/mail"
	"postern/policy"
	"postern/syntax"
)

// readFacts gathers what policy wants to know of the header.
func (t *transaction) readFacts() {
	m := &t.message
	m.facts.Begin(syntax.AppendAuthors)
	for i := range m.header {
		m.facts.Field(m.header[i].Name(), m.header[i].Body())
	}
	m.facts.End()
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
// one message a recipient and period, or none.
func (t *transaction) judgeAutomatic() (rule string, r *mail.Reply) {
	what := t.snap.Rules.Automatic(t.client, &t.message.facts)
	rule = "automatic_replies"
	if t.message.facts.Automatic == policy.Notice {
		rule = "automatic_notices"
	}
	if what.Mode == policy.AllowReplies {
		return "", nil
	}
	for i := range t.env.To {
		to := t.env.To[i].Address
		if t.snap.Rules.Internal(to) {
			continue
		}
		if what.Mode == policy.OncePerRecipient && t.s.srv.hooks.Once != nil {
			first, err := t.claim(to, what)
			if err != nil {
				t.ev.Err = err.Error()
				t.s.srv.fault("store", err, "id", t.ev.ID)
				return rule, replyStoreFault()
			}
			if first {
				continue
			}
		}
		return rule, policy.RefuseAutomatic(what, to)
	}
	return "", nil
}

// claim takes the one automatic message that a recipient may get in a period;
// it goes back unless the message leaves.
func (t *transaction) claim(to mail.Address, what policy.AutomaticReplies) (bool, error) {
	ctx, cancel := context.WithTimeout(t.s.ctx, t.snap.Timeouts.Limiter)
	defer cancel()
	release, err := t.s.srv.hooks.Once(ctx, t.client.Name(), to.Key(), what.Period)
	if release != nil {
		t.claims = append(t.claims, release)
	}
	return release != nil, err
}
