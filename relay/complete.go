package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"postern/dkimsign"
	"postern/internal/plain"
	"postern/internal/syntax"
	"postern/mail"
	"postern/policy"
	"postern/upstream"
)

// ready says why no data can be taken, nil when it can. A transaction that is
// not ready has ended, except one without any RCPT, which goes on.
func (t *transaction) ready() *mail.Reply {
	switch {
	case len(t.ev.To) == 0:
		return replyRcptFirst()
	case len(t.env.To) > 0 && t.lost.reply != nil:
		return t.ended(t.lost)
	case len(t.env.To) > 0:
		if rule, r := t.gate(); r != nil {
			return t.failed(mail.StageData, rule, r)
		}
		return nil
	}
	// What the client hears now says nothing; what decided is in the event.
	t.ended(t.refused)
	switch {
	case t.refused.reply.Temporary():
		return replyNoRecipientsNow()
	case t.onlyAsked():
		return t.refused.reply
	}
	return replyNoRecipients()
}

// onlyAsked reports whether every recipient was answered 530: AUTH or TLS, which
// a reload has come to ask for, mends that, and 554 would have the client drop
// the message.
func (t *transaction) onlyAsked() bool {
	return !slices.ContainsFunc(t.ev.To, func(r mail.RecipientEvent) bool { return r.Code != 530 })
}

// intake makes ready to take the message, from now on.
func (t *transaction) intake(now time.Time, dots bool) *intake {
	t.stage = mail.StageData
	in := newIntake(&t.snap.Message, t.s.srv.spool, dots)
	in.headerEnds = func(raw []byte) bodyWriter { return t.headerEnds(in, raw) }
	in.pace = pace{began: now, grace: t.s.srv.rateGrace, timeout: t.snap.Timeouts.Data, rate: t.snap.Message.MinRate}
	return in
}

// headerEnds judges the header as soon as it is there, so that a message that
// will be refused takes no more room, and starts the hash for its signatures.
func (t *transaction) headerEnds(in *intake, raw []byte) bodyWriter {
	t.message.raw = raw
	rule, r := t.judgeHeader()
	if r == nil && !in.holdFields(len(t.message.header)) {
		rule, r = "memory_total", replyStorage()
	}
	if r != nil {
		t.message.rule = rule
		t.message.raw, t.message.header = nil, nil // the rest may be long in coming
		in.refuse(r)
		return nil
	}
	if len(t.message.domains) == 0 {
		return nil
	}
	t.message.hash = dkimsign.NewBodyHash()
	return t.message.hash
}

// message is what has been found out about the header of a message.
type message struct {
	raw     []byte
	header  syntax.Header
	facts   policy.HeaderFacts
	rule    string             // what refused it
	domains []*dkimsign.Domain // that sign it
	hash    *dkimsign.BodyHash // nil when none does
}

func (t *transaction) judgeHeader() (rule string, r *mail.Reply) {
	m := &t.message
	var err error
	m.header, err = syntax.ParseHeader(m.raw, t.snap.Message.MaxHeaderFields)
	switch {
	case errors.Is(err, syntax.ErrManyFields):
		return "max_header_fields", replyHeaderTooLarge()
	case errors.Is(err, syntax.ErrLongField):
		return "header", replyFieldTooLarge()
	case errors.Is(err, syntax.ErrControl):
		return "header", replyHeaderControl()
	case err != nil:
		return "header", replyHeaderSyntax()
	case m.header.Count("Received") >= t.snap.Message.MaxReceived:
		return "max_received", replyLoop()
	}
	if f, ok := m.header.Get("Message-ID"); ok {
		t.ev.MessageID = shortened(plain.QuoteControls(f.Text()))
	}
	t.readFacts()
	rule, r, shadow := t.snap.Rules.Header(t.client, &m.facts)
	if r != nil && (!shadow || t.mustSign()) {
		return rule, r
	}
	if r != nil {
		t.ev.Shadow = append(t.ev.Shadow, rule)
	}
	if !t.env.UTF8 && slices.ContainsFunc(m.facts.Authors, func(a mail.Author) bool { return a.UTF8() }) {
		return "smtputf8", replyAuthorUTF8() // RFC 6531 s. 3.1, item 6
	}
	if rule, r = t.judgeAutomatic(); r != nil {
		return rule, r
	}
	m.domains = t.signing()
	t.ev.FromRewritten = !m.facts.Plain
	return "", nil
}

// shortened keeps at most 250 octets, of what goes into an event.
func shortened(s string) string { return s[:min(len(s), 250)] }

// signing lists the configured domains of the authors, each once: a message of
// two authors is signed for both. Beside an author whom the client does not own
// none signs, for our key would vouch for that one, too.
func (t *transaction) signing() (ds []*dkimsign.Domain) {
	authors := t.message.facts.Authors
	for i := range authors {
		if !t.client.Owns(authors[i].Address) {
			return nil
		}
		d := t.snap.Signers.For(authors[i].Domain)
		if d != nil && !slices.Contains(ds, d) {
			ds = append(ds, d)
		}
	}
	return ds
}

// mustSign reports whether the domain of an author asks for a signature. Such
// mail does not leave without one, not even in shadow.
func (t *transaction) mustSign() bool {
	return slices.ContainsFunc(t.message.facts.Authors, func(a mail.Author) bool {
		d := t.snap.Signers.For(a.Domain)
		return d != nil && d.Required()
	})
}

// complete takes a message whose last octet has come through the remaining
// stages and returns the last reply.
func (t *transaction) complete(in *intake) *mail.Reply {
	t.ev.Size = in.size
	refusal, fault := in.verdict()
	switch {
	case fault != nil:
		t.s.srv.fault("spool", fault, "id", t.ev.ID)
		t.ev.Err = fault.Error()
		return t.faulted(mail.StageData, "spool", replyStorage())
	case refusal != nil && t.message.rule != "":
		return t.failed(mail.StageHeader, t.message.rule, refusal)
	case refusal != nil:
		return t.failed(mail.StageData, "message", refusal)
	}
	if rule, r := t.gate(); r != nil {
		return t.failed(mail.StageForward, rule, r)
	}
	if rule, r := t.chargeBody(in.size); r != nil {
		return t.failed(mail.StageData, rule, r)
	}
	return t.forward(in)
}

// chargeBody takes what depends on the message itself: its octets.
func (t *transaction) chargeBody(octets int64) (rule string, r *mail.Reply) {
	if !t.account.CountsBytes() {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(t.s.ctx, t.snap.Timeouts.Limiter)
	defer cancel()
	if v := t.account.Body(ctx, octets); !v.OK {
		return t.limitRefusal(&v)
	}
	return "", nil
}

// traceRoom is about what the trace fields take, so that they and the header are
// copied once.
const traceRoom = 1 << 10

// forward adds the trace fields, signs what will leave and hands it over.
func (t *transaction) forward(in *intake) *mail.Reply {
	now := time.Now()
	head := t.message.appendHeader(t.trace(make([]byte, 0, len(in.header)+traceRoom), now), in.header)
	prefix, err := t.sign(head, now)
	if err != nil {
		t.ev.Err = err.Error()
		t.s.srv.fault("sign", err, "id", t.ev.ID)
		return t.faulted(mail.StageSign, "dkim", replyCannotSign())
	}
	content := upstream.Content{
		Prefix: prefix, Chunks: append([][]byte{head}, in.body.chunks...),
		File: in.body.file, FileSize: in.body.fileSize,
		Size: int64(len(prefix)+len(head)) + in.body.size(),
	}
	t.holds = false
	ctx, cancel := context.WithTimeout(t.s.ctx, t.snap.Timeouts.Forward)
	defer cancel()
	switch waited, err := t.up.Resume(ctx, content.Size); {
	case err != nil:
		return t.failedForward(in, err)
	case waited:
		if rule, r := t.gate(); r != nil {
			return t.failed(mail.StageForward, rule, r)
		}
	}
	r, err := t.up.Send(ctx, content)
	if err == nil {
		err = ourFault(r)
	}
	if err != nil {
		return t.failedForward(in, err)
	}
	if r.Positive() {
		t.forgiveRetry(in)
	}
	e := t.passOn(&r)
	e.stage = mail.StageForward
	return t.ended(e)
}

func (t *transaction) failedForward(in *intake, err error) *mail.Reply {
	e := t.upstreamFault(err)
	e.stage = mail.StageForward
	switch {
	case errors.Is(err, upstream.ErrUnknownOutcome):
		e.reply, e.unknown = replyUpstreamLost(), true
		t.rememberUnknown(in)
	case errors.Is(err, upstream.ErrVerdictChanged):
		e.reply = replyVerdictChanged()
	default:
		e.reply = replyUpstreamDown()
	}
	return t.ended(e)
}

// sign makes the DKIM-Signature fields for the header as it will leave. A
// domain that requires its signature fails the message.
func (t *transaction) sign(head []byte, now time.Time) (fields []byte, err error) {
	for _, d := range t.message.domains {
		f, names, err := d.Sign(head, t.message.hash, now)
		if err != nil && d.Required() {
			return nil, fmt.Errorf("sign for %s: %w", d.Name(), err)
		}
		if err != nil {
			t.s.srv.fault("sign", err, "domain", d.Name(), "id", t.ev.ID)
			continue
		}
		fields = append(fields, f...)
		t.ev.Signed = append(t.ev.Signed, names...)
	}
	return fields, nil
}

// park gives the upstream connection back while the client dawdles.
func (t *transaction) park() {
	t.holds = false
	if err := t.up.Park(); err != nil {
		t.lose(err)
	}
}

// yieldAfter is how long a client may dawdle while others wait for the upstream
// connection that it holds.
const yieldAfter = 250 * time.Millisecond

// yield gives the upstream connection back to those who wait for one.
func (t *transaction) yield(now time.Time) {
	if t.heldSince.IsZero() {
		t.heldSince = now
	}
	if t.holds && now.Sub(t.heldSince) >= yieldAfter && t.up.Wanted() {
		t.park()
	}
}

// heldTooLong reports whether the upstream connection is to be given back even
// if nobody waits for it.
func (t *transaction) heldTooLong(now time.Time) bool {
	return t.holds && now.Sub(t.heldSince) >= t.snap.Timeouts.Park
}

// parkBefore is when to look again whether the upstream connection is to be
// given back, if that is before deadline.
func (t *transaction) parkBefore(now, deadline time.Time) (at time.Time, park bool) {
	if !t.holds {
		return deadline, false
	}
	at = t.heldSince.Add(t.snap.Timeouts.Park)
	if look := now.Add(yieldAfter); look.Before(at) {
		at = look
	}
	if at.Before(deadline) {
		return at, true
	}
	return deadline, false
}
