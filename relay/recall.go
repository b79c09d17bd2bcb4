package relay

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"postern/mail"
	"postern/relay/halves"
	"postern/relay/replies"
)

// A client of SMTP hears one reply for the recipients of all domains. Where these have
// had different verdicts, package halves remembers who has the message, the client
// is told to send it again, and then those are left out. Who has refused it for good
// beside others gets a transaction of its own, so that the refusal can be told.

// ruleHalves decides where the memory of halves does.
const ruleHalves = mail.RuleHalves

// remembers reports whether the memory has a say in this transaction.
func (t *transaction) remembers() bool {
	return t.srv.halves != nil && t.route.Direct != nil && !t.peer.LMTP
}

// fansOut reports whether recipients of several domains may be in this transaction: the
// client can be told of each, or what becomes of them can be remembered.
func (t *transaction) fansOut() bool {
	return t.peer.LMTP || t.remembers() && t.apart == "" && t.srv.halves.Ready(t.client.Name())
}

// recall looks up the recipients that are still open. Of whom it knows that a message
// was taken is accepted without asking: whether it was this one is seen once it is
// there.
func (t *transaction) recall(batch []attempt) {
	if !t.remembers() {
		return
	}
	var open []*attempt
	var to []string
	for i := range batch {
		if a := &batch[i]; a.reply == nil {
			open, to = append(open, a), append(to, string(a.rcpt.RecipientID()))
		}
	}
	if len(open) == 0 {
		return
	}
	known, sure := t.srv.halves.Lookup(t.conn.Context(), t.client.Name(), t.env.From.Key(), to)
	t.unsure = t.unsure || !sure
	others := len(t.accepted) > 0
	for i := range open {
		others = others || !refusedBefore(known[i])
	}
	for i, a := range open {
		refused, took := refusedBefore(known[i]), tookBefore(known[i])
		if t.keepsOut(a, refused, took, others) {
			a.rule, a.reply = ruleHalves, replies.Apart()
			continue
		}
		if refused {
			t.apart, t.alone = a.rcpt.Domain, took
		}
		if took {
			a.known, a.rule, a.reply = known[i], ruleHalves, replies.RecipientRemembered()
		}
	}
}

// keepsOut reports whether a recipient has to come in another transaction. One that
// has refused a message for good may not be beside others (others: there are some),
// nor beside one of its own domain who may have the message: they would end
// differently again.
func (t *transaction) keepsOut(a *attempt, refused, took, others bool) bool {
	switch {
	case t.alone:
		return true
	case t.apart != "":
		return a.rcpt.Domain != t.apart || took
	}
	return refused && others
}

// tookBefore reports whether a recipient has taken a message that others did not.
func tookBefore(known []halves.Known) bool {
	return slices.ContainsFunc(known, func(k halves.Known) bool { return k.Taken })
}

// refusedBefore reports whether a recipient has refused a message for good that others
// took.
func refusedBefore(known []halves.Known) bool {
	return slices.ContainsFunc(known, func(k halves.Known) bool { return !k.Taken })
}

// rejoin lets others in again where the one that was to be apart has not been taken.
func (t *transaction) rejoin() {
	if t.apart != "" && !slices.ContainsFunc(t.env.To, func(to mail.Recipient) bool { return to.Domain == t.apart }) {
		t.apart, t.alone = "", false
	}
}

// recollect leaves out the recipients who have this very message, and asks for the
// verdict on those who had another one; asked: there were such, which may have taken
// long. A non-nil reply: the transaction has ended.
func (t *transaction) recollect(ctx context.Context) (asked bool, r *mail.Reply) {
	var late []int
	for i := range t.accepted {
		a := &t.accepted[i]
		if a.known == nil {
			continue
		}
		if err := t.hashContent(); err != nil {
			return false, t.unread(err)
		}
		t.several = true
		if k := slices.IndexFunc(a.known, func(k halves.Known) bool { return k.Taken && t.srv.halves.Same(k, t.contentHash) }); k >= 0 {
			a.before = true
			a.end = &ending{stage: mail.StageForward, rule: ruleHalves, reply: replies.TakenBefore(a.known[k].ID)}
			continue
		}
		late = append(late, i)
	}
	if err := t.askLate(ctx, late); err != nil {
		return true, t.ended(t.faultEnd(err))
	}
	if len(t.open()) == 0 {
		return true, t.concluded(nil)
	}
	return len(late) > 0, nil
}

// askLate puts recipients to the upstream that were accepted without asking.
func (t *transaction) askLate(ctx context.Context, late []int) error {
	if len(late) == 0 {
		return nil
	}
	if t.up == nil {
		t.up = t.route.Begin(&t.env)
	}
	t.fanOut()
	ctx, cancel := context.WithTimeout(ctx, t.snap.Timeouts.Upstream)
	defer cancel()
	rs := make([]mail.Recipient, len(late))
	for i, at := range late {
		rs[i] = t.env.To[at]
	}
	got, err := t.up.Recipients(ctx, rs, nil)
	if err != nil {
		return err
	}
	for i, at := range late {
		to := &t.ev.To[t.accepted[at].index]
		to.Provider = cmp.Or(got[i].Provider, to.Provider)
		if !got[i].Positive() {
			e := t.passOn(&got[i])
			e.stage = mail.StageForward
			t.accepted[at].end = &e
		}
	}
	return nil
}

// open are the recipients that have no end yet, by their places in accepted.
func (t *transaction) open() (all []int) {
	for i := range t.accepted {
		if t.accepted[i].end == nil {
			all = append(all, i)
		}
	}
	return all
}

// reserve makes room for what may have to be remembered of a message that can end in
// several ways. Non-nil: there is none, and nothing was sent.
func (t *transaction) reserve(ctx context.Context) *mail.Reply {
	if !t.remembers() {
		return nil
	}
	open := t.open()
	several := slices.ContainsFunc(open, func(i int) bool { return t.env.To[i].Domain != t.env.To[open[0]].Domain })
	if !several && !t.several {
		return nil
	}
	err := t.hashContent()
	if err == nil {
		t.begun, err = t.srv.halves.Begin(ctx, t.client.Name(), t.ev.ID, len(t.accepted))
	}
	if err == nil || !several { // of one domain a refusal can be told without
		return nil
	}
	t.ev.Err = err.Error()
	if !errors.Is(err, halves.ErrFull) {
		t.srv.fault("memory of halves", err, "id", t.ev.ID)
	}
	return t.faulted(mail.StageForward, ruleHalves, replies.CannotRemember())
}

// halved is the end that a client of SMTP hears: e, where all recipients have ended
// alike. Else it is to send the message again, and who has it is remembered.
func (t *transaction) halved(e ending) ending {
	taken, class := 0, e.reply.Code/100
	alike := true
	for i := range t.accepted {
		r := t.accepted[i].endOf(&e).reply
		alike = alike && r.Code/100 == class
		if r.Positive() {
			taken++
		}
	}
	if alike {
		t.settleHalves(&e)
		return e
	}
	reply := replies.Halved(taken, len(t.accepted))
	if !t.keepHalves() {
		reply = replies.HalvedUnwritten(taken, len(t.accepted))
	}
	t.again = true
	return ending{stage: mail.StageForward, rule: ruleHalves, reply: reply}
}

// keepHalves remembers who has the message and who has refused it for good; kept: that
// stands where a crash leaves it.
func (t *transaction) keepHalves() (kept bool) {
	var parts []halves.Part
	for i := range t.accepted {
		if a := &t.accepted[i]; !a.before && !a.end.reply.Temporary() {
			parts = append(parts, halves.Part{To: string(t.env.To[i].RecipientID()), Taken: a.end.reply.Positive()})
		}
	}
	if t.begun == nil { // of one domain a message may leave without
		t.srv.halves.Unwritten(len(parts))
		return len(parts) == 0
	}
	begun := t.begun
	t.begun = nil
	err := begun.Keep(t.conn.Context(), t.env.From.Key(), t.contentHash, parts)
	if err != nil {
		t.ev.Err = err.Error()
		t.srv.fault("memory of halves", err, "id", t.ev.ID)
	}
	return !errors.Is(err, halves.ErrUnwritten)
}

// settleHalves has the memory let go of what the client has been told in the end: who
// was left out, and a refusal that had a transaction of its own.
func (t *transaction) settleHalves(e *ending) {
	var to []string
	for i := range t.accepted {
		if a := &t.accepted[i]; a.before && e.reply.Positive() || t.apart != "" && e.reply.Permanent() {
			to = append(to, string(t.env.To[i].RecipientID()))
		}
	}
	if len(to) == 0 || t.hashContent() != nil {
		return
	}
	// Without a Message-ID the next message may be the same, octet for octet.
	forget := e.reply.Permanent() || t.message.header.Count("Message-ID") == 0
	t.srv.halves.Settle(t.conn.Context(), t.client.Name(), t.env.From.Key(), t.contentHash, to, forget)
}

// countHalves counts what operators watch: who was left out, and where second copies
// may come from.
func (t *transaction) countHalves(e *ending) {
	m, before, taken, lost := t.srv.halves, 0, 0, 0
	if m == nil || t.route.Direct == nil {
		return
	}
	for i := range t.accepted {
		a := &t.accepted[i]
		switch end := a.endOf(e); {
		case a.before:
			before++
		case end.reply.Positive():
			taken++
		case end.unknown:
			lost++
		}
	}
	m.LeftOut(before)
	m.Lost(lost)
	if t.unsure {
		m.Unasked(taken)
	}
}

// hashContent hashes the whole content as the client sent it. Left out is what an MTA
// makes anew at each try: DKIM-Signature. Whether the last line had its end depends
// on DATA or BDAT.
func (t *transaction) hashContent() error {
	if t.hashed {
		return nil
	}
	h := &endsLine{Hash: sha256.New()}
	for i := range t.message.header {
		if f := &t.message.header[i]; !f.Is("DKIM-Signature") {
			h.Write(f.Raw)
		}
	}
	h.Write(t.in.header[t.message.header.Size():])
	for _, c := range t.in.body.chunks {
		h.Write(c)
	}
	if f := t.in.body.file; f != nil {
		if _, err := io.Copy(h, io.NewSectionReader(f, 0, t.in.body.fileSize)); err != nil {
			return fmt.Errorf("read message again: %w", err)
		}
	}
	if h.last != '\n' {
		h.Write(crlf)
	}
	h.Sum(t.contentHash[:0])
	t.hashed = true
	return nil
}

// endsLine is a hash that knows its last octet.
type endsLine struct {
	hash.Hash
	last byte
}

func (h *endsLine) Write(p []byte) (int, error) {
	if len(p) > 0 {
		h.last = p[len(p)-1]
	}
	return h.Hash.Write(p)
}
