package relay

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"postern/internal/plain"
	"postern/internal/syntax"
	"postern/mail"
	"postern/policy"
	"postern/ratelimit"
	"postern/relay/halves"
	"postern/relay/replies"
	"postern/relay/smtpd"
	"postern/scan"
	"postern/scan/links"
)

// This file is the path of one message, from MAIL to the last reply, in the order
// of docs/flow.md. What each step does in detail stands one file down.

// transaction is one mail transaction from MAIL to its last reply. It ends
// under the snapshot that it began with, and it is accounted for exactly once.
// It is the smtpd.Transaction of the relay.
type transaction struct {
	srv  *Server
	conn *smtpd.Conn
	peer *mail.Peer // of conn
	// forwarded is what XFORWARD has told before MAIL.
	forwarded netip.Addr
	snap      *Snapshot

	// From MAIL.
	client  *policy.Client
	route   *Route
	env     mail.Envelope
	sender  mail.Identity // of env.From
	account *ratelimit.Account

	// From RCPT.
	up       Hop               // nil before the first recipient is put to it
	hold     hold              // on a connection of the upstream's
	accepted []taken           // recipients that the upstream took
	charged  int               // recipients that the account has been asked about
	groups   map[string]string // of receivers, by domain, as limits were told
	// refused is what decided while no recipient is accepted: the first 4yz, else
	// the first 5yz; its reply is nil while there was none.
	refused ending
	// lost is the end of all that follows once the upstream is lost; its reply is
	// nil before.
	lost ending

	// From DATA or the first BDAT.
	in      *intake // nil before
	message message
	scanned *scan.Result  // nil: no scanner was asked
	links   *links.Lookup // nil: no list was asked
	claims  []claim       // what this message has claimed elsewhere
	reports []int         // charges of the account for a message that is a report

	several bool // the recipients have ends of their own, see taken

	// Of the memory of halves, see recall.go.
	apart       string        // domain that is in this transaction alone; "": none is
	alone       bool          // it is one recipient, beside whom there may be no other
	unsure      bool          // what other nodes know could not be asked
	again       bool          // the client is to send the message again for those who have not taken it
	begun       *halves.Begun // room for what is to be remembered; nil: none was made
	contentHash [32]byte      // once hashed
	hashed      bool

	// textLeft: not all text of the message was looked through for links.
	textLeft bool

	last  mail.Reply // of the upstream's, code 0 before
	stage string     // that has been reached, for an abort
	over  bool       // accounted for
	began time.Time
	watch stopwatch
	ev    mail.Event
}

// mail takes a MAIL command. Every refusal here is an event of its own.
func (s *Server) mail(conn *smtpd.Conn, path string) smtpd.Begun {
	rule, r := conn.Recheck()
	t := s.begin(conn)
	env, err := t.mailCommand(path)
	if bad := t.malformed(path, &env, err); bad != nil {
		t.ev.From = plain.Quote(strings.TrimSpace(path))
		t.nameClient()
		t.failed(mail.StageMail, "syntax", bad)
		return smtpd.Begun{Refusal: bad, Malformed: true}
	}
	t.env = env
	t.ev.From, t.ev.Size = env.From.Key(), env.Size
	t.sender = mail.IdentityOf(t.ev.From)
	if r == nil {
		rule, r = t.start()
	}
	if r != nil {
		t.failed(mail.StageMail, rule, r)
		return smtpd.Begun{Refusal: r, Stranger: t.client == nil}
	}
	return smtpd.Begun{Transaction: t, Lenient: t.client.Lenient()}
}

// start judges what is known at MAIL: who the client is, whether the sender is
// its own, whether either waits, and the declared size.
func (t *transaction) start() (rule string, r *mail.Reply) {
	if t.client, r = t.snap.Rules.Client(t.peer); r != nil {
		return "client", r
	}
	t.ev.Client, t.ev.Stream, t.env.Client = t.client.Name(), t.client.Stream(), t.client.Name()
	if r = t.snap.Rules.Sender(t.client, t.env.From); r != nil {
		return "senders", r
	}
	if rule, r = t.suspended(); r != nil && !t.lifted(rule) {
		return rule, r
	}
	if t.env.Size > t.snap.Message.MaxSize {
		return "size", replies.TooLarge(t.snap.Message.MaxSize)
	}
	if t.route = t.snap.Routes[t.client.Stream()]; t.route == nil {
		return "stream", replies.Fault()
	}
	t.ev.Upstream = t.route.Name
	if rule, r = t.scannersUp(); r != nil {
		return rule, r
	}
	t.account = t.srv.limiter.Begin(t.facts())
	if v := t.account.Declared(t.env.Size); v != nil {
		return t.limitRefusal(v)
	}
	return "", nil
}

// Rcpt takes RCPT commands of one group: each is judged by itself, and those that
// are left go through the gate, the limits and to the upstream together.
func (t *transaction) Rcpt(args []string) []*mail.Reply {
	t.stage = mail.StageRcpt
	batch := make([]attempt, len(args))
	for i, arg := range args {
		batch[i] = t.attempt(arg)
	}
	t.bar(batch)
	t.crowd(batch)
	t.providers(batch)
	t.wait(batch)
	t.charge(batch)
	t.recall(batch)
	t.ask(batch)
	return t.record(batch)
}

// Data says whether the message may come, and makes ready to take it.
func (t *transaction) Data(m *smtpd.Message) *mail.Reply {
	switch {
	case len(t.env.To) == 0:
		return t.noRecipients()
	case t.lost.reply != nil:
		return t.ended(t.lost)
	}
	if rule, r := t.gate(); r != nil {
		return t.failed(mail.StageData, rule, r)
	}
	t.stage = mail.StageData
	t.clock(&t.ev.Took.Body)
	t.in = newIntake(&t.snap.Message, t.srv.spool, m)
	if t.client.Lenient() {
		t.in.lines = &syntax.HeaderLines{}
	}
	t.in.headerEnds = t.header
	return nil
}

// header judges the header as soon as it is there, so that a message that will be
// refused takes no more room, and starts the hash for its signatures.
func (t *transaction) header(raw []byte) bodyWriter {
	t.message.raw = raw
	rule, r := t.judgeHeader()
	if r == nil && !t.in.holdFields(len(t.message.header)) {
		rule, r = "memory_total", replies.Storage()
	}
	if r != nil {
		t.message.rule = rule
		t.message.raw, t.message.header = nil, nil // the rest may be long in coming
		t.in.refuse(r)
		return nil
	}
	return t.message.beginHash()
}

// Deliver takes a message whose last octet has come through the remaining stages
// and returns the last reply.
func (t *transaction) Deliver(m *smtpd.Message) *mail.Reply {
	t.unclock()
	t.in.end()
	t.ev.Size = t.in.size
	switch {
	case m.Fault != nil:
		t.srv.fault("spool", m.Fault, "id", t.ev.ID)
		t.ev.Err = m.Fault.Error()
		return t.faulted(mail.StageData, "spool", replies.Storage())
	case m.Refusal != nil && t.message.rule != "":
		return t.failed(mail.StageHeader, t.message.rule, m.Refusal)
	case m.Refusal != nil:
		return t.failed(mail.StageData, "message", m.Refusal)
	}
	if t.in.ended {
		t.writtenAnew(anewHeader)
	}
	if m.Mended() && t.client.Lenient() {
		t.writtenAnew(anewNewlines)
	}
	t.ev.LongLines = t.longLines(m)
	if t.ev.LongLines > 0 && t.client.RefusesLongLines() {
		return t.failed(mail.StageData, "long_lines", replies.LongLines())
	}
	if rule, r := t.gate(); r != nil {
		return t.gated(rule, r)
	}
	if rule, r := t.judgeSubmitter(); r != nil {
		return t.bySubmitter(rule, r)
	}
	if rule, r := t.chargeBody(); r != nil {
		return t.failed(mail.StageData, rule, r)
	}
	if r := t.scan(); r != nil {
		return r
	}
	return t.forward()
}

// forward adds the trace fields, signs what will leave and hands it over. The
// upstream's reply is the client's.
func (t *transaction) forward() *mail.Reply {
	t.clock(&t.ev.Took.Sign)
	content, err := t.seal(time.Now())
	if err != nil {
		t.ev.Err = err.Error()
		t.srv.fault("sign", err, "id", t.ev.ID)
		return t.faulted(mail.StageSign, "dkim", replies.CannotSign())
	}
	t.clock(&t.ev.Took.UpstreamData)
	t.hold.release()
	ctx, cancel := context.WithTimeout(t.conn.Context(), t.snap.Timeouts.Forward)
	defer cancel()
	asked, r := t.recollect(ctx)
	if r != nil {
		return r
	}
	switch waited, err := t.up.Resume(ctx, content.Size); {
	case err != nil:
		return t.ended(t.faultEnd(err))
	case waited || asked:
		if rule, r := t.gate(); r != nil {
			return t.gated(rule, r)
		}
	}
	if r := t.reserve(ctx); r != nil {
		return r
	}
	return t.concluded(t.up.Send(ctx, content))
}

// ended ends the transaction: what it was charged is settled, its event goes to
// the observers, and the client gets the reply of e.
func (t *transaction) ended(e ending) *mail.Reply {
	t.settle(&e)
	t.finish(e, t.outcome(&e))
	return e.reply
}
