package relay

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/mail"
	"postern/policy/submitter"
	"postern/ratelimit"
	"postern/relay/replies"
)

// errUnmarked: a client whose Received lines are to tell the submitter has handed in
// a message without one.
var errUnmarked = errors.New("the topmost Received line is not by this client, so that its lines are not believed for a day, or until the relay is started again")

// hint notes who has submitted the message to the client, as far as that tells.
func (t *transaction) hint() {
	r := t.client.Submitter()
	if r == nil {
		return
	}
	ip, now := t.peer.Addr.Addr(), time.Now()
	h := r.Read(t.fields, submitter.Asked{
		EHLO: t.peer.Helo, Forwarded: t.forwarded, Doubted: t.srv.marks.Doubted(t.client.Name(), ip, now),
	})
	if h.Unmarked && t.srv.marks.Missed(t.client.Name(), ip, now) {
		t.srv.fault("submitter", fmt.Errorf("client %s, host %s, EHLO %s: %w", t.client.Name(), mail.AddrText(ip), t.peer.Helo, errUnmarked), "id", t.ev.ID)
	}
	t.ev.Submitter, t.ev.SubmitterDoubt = h.Name, h.Doubt
	if h.Addr.IsValid() {
		t.ev.SubmitterIP = h.Addr.String()
	}
}

// fields yields the names and bodies of the header, the topmost first.
func (t *transaction) fields(yield func(name, body []byte) bool) {
	for i := range t.message.header {
		if f := &t.message.header[i]; !yield(f.Name(), f.Body()) {
			return
		}
	}
}

// submitterToCome reports whether nobody knows who has submitted the message, and its
// header may still tell. What holds a sender's mail by that name alone waits for it.
func (t *transaction) submitterToCome() bool {
	return t.ev.User == "" && t.client.NamesSubmitters() && t.message.raw == nil
}

// judgeSubmitter asks the limits and the brake of the watch about whom the header has
// told; of nobody's the brake of its sender, which was not asked before.
func (t *transaction) judgeSubmitter() (rule string, r *mail.Reply) {
	if rule, r := t.chargeSubmitter(); r != nil {
		return rule, r
	}
	if t.srv.hooks.BrakeMessage == nil || !t.client.NamesSubmitters() || t.ev.Submitter == "" && t.ev.User != "" {
		return "", nil
	}
	var to []mail.RecipientID
	for i, a := range t.accepted {
		if !t.mayReach(t.env.To[i].Address) {
			to = append(to, mail.RecipientOf(t.ev.To[a.index].Address))
		}
	}
	left := t.srv.hooks.BrakeMessage(t.ev.ID, t.client.Name(), t.ev.Submitter, t.sender, to)
	switch {
	case left == 0:
		return "", nil
	case t.ev.Submitter == "":
		return "outlier brake sender", replies.BrakedSubmitter(t.env.From.Shown(), left)
	}
	return "outlier brake submitter", replies.BrakedSubmitter(t.shownSubmitter(), left)
}

// chargeSubmitter charges the limits by what the header tells, for every message: such
// a limit says what it counts where nothing is told.
func (t *transaction) chargeSubmitter() (rule string, r *mail.Reply) {
	h := ratelimit.Header{Submitter: t.ev.Submitter, From: t.ev.SubmitterIP}
	if t.client.NamesSubmitters() {
		_, h.NewSender = t.past()
	}
	if !t.account.HeaderCame(h) {
		return "", nil
	}
	rs, is := t.chargedRecipients()
	ctx, cancel := t.limiterTime()
	defer cancel()
	t.clock(&t.ev.Took.Limit)
	defer t.unclock()
	if v := t.account.Submitted(ctx, rs, is); !v.OK {
		return t.limitRefusal(&v)
	}
	return "", nil
}

// bySubmitter is the refusal, behind the data, of a message whose submitter may not
// send it now. All is given back: its MTA has one queue for everybody, and what that
// tries again for one mailbox must not use up what the others share.
func (t *transaction) bySubmitter(rule string, r *mail.Reply) *mail.Reply {
	return t.ended(ending{stage: mail.StageForward, rule: rule, reply: r, ours: rule != ruleStore, back: true})
}

// late reports whether what the gate said behind the data may be about the submitter,
// of whom nobody knew before.
func (t *transaction) late(rule string) bool {
	return t.client.NamesSubmitters() && strings.HasPrefix(rule, "outlier ")
}

// shownSubmitter is the submitter as its own MTA knows it.
func (t *transaction) shownSubmitter() string {
	_, name, _ := strings.Cut(t.ev.Submitter, "/")
	return "submitter " + name
}
