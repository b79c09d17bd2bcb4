package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/internal/plain"
	"postern/internal/syntax"
	"postern/mail"
	"postern/policy"
	"postern/ratelimit"
	"postern/upstream"
)

// transaction is one mail transaction from MAIL to its last reply. It ends
// under the snapshot that it began with, and it is accounted for exactly once.
type transaction struct {
	s       *session
	snap    *Snapshot
	client  *policy.Client
	route   *Route
	env     mail.Envelope
	sender  mail.Identity // of env.From
	account *ratelimit.Account
	up      *upstream.Transaction // nil before the first recipient is put to it
	// lost is the end of all that follows once the upstream is lost; its reply is
	// nil before.
	lost     ending
	accepted []taken  // recipients that the upstream took
	charged  int      // recipients that the account has been asked about
	claims   []func() // give back what this message has claimed elsewhere
	reports  []int    // charges of the account for a message that is a report
	message  message
	chunked  *intake // of the message, once BDAT has begun

	// holds: a connection of the upstream's is in use. heldSince is when the
	// first wait for the client began in which nothing was asked of it; zero
	// before.
	holds     bool
	heldSince time.Time
	// refused is what decided while no recipient is accepted: the first 4yz,
	// else the first 5yz; its reply is nil while there was none.
	refused ending

	touched time.Time // of the last RCPT or chunk, else of MAIL

	last  mail.Reply // of the upstream's, code 0 before
	stage string     // that has been reached, for an abort
	over  bool       // accounted for
	began time.Time
	ev    mail.Event
}

// taken is a recipient that the upstream took.
type taken struct {
	index  int // in ev.To
	charge int // in the account
}

// attempt is one RCPT command on its way through the stages.
type attempt struct {
	rcpt  mail.Recipient
	shown string // for the event, when rcpt did not parse
	ending
	index int // in ev.To
	// charge numbers the recipient in the account; -1: nothing was charged.
	charge int
	trial  bool // it would have to wait for the receiver, and is tried
}

// begin returns a transaction of s that starts now.
func (s *session) begin() *transaction {
	now := time.Now()
	return &transaction{s: s, snap: s.snap, began: now, touched: now, stage: mail.StageMail, ev: mail.Event{
		Time: now, ID: mail.NewID(now), Listener: s.lis.name, ClientIP: s.clientIP(),
		Helo: s.peer.Helo, User: s.peer.User, TLS: s.peer.TLS.Version,
		To: []mail.RecipientEvent{}, // never nil: journals say "to":[]
	}}
}

// mail carries out MAIL FROM. Every refusal here is an event of its own.
func (s *session) mail(arg string) error {
	switch {
	case s.peer.Helo == "":
		return s.fail(replyHeloFirst())
	case s.tx != nil:
		return s.fail(replyInTransaction())
	}
	s.chunksFailed, s.orphans = false, 0
	s.recheck(s.snap)
	path, ok := cutKeyword(arg, "FROM:")
	if !ok {
		return s.fail(replySyntax("MAIL FROM:<address>"))
	}
	t := s.begin()
	env, err := syntax.MailCommand(path)
	r := s.unoffered(&env)
	if err != nil {
		r = replyMailSyntax(err)
	}
	if r != nil {
		t.ev.From = plain.Quote(strings.TrimSpace(path))
		t.nameClient()
		t.failed(mail.StageMail, "syntax", r)
		s.orphans = pipelinedBehind(t)
		return s.fail(r)
	}
	t.env = env
	t.ev.From, t.ev.Size = env.From.Key(), env.Size
	t.sender = mail.IdentityOf(t.ev.From)
	if rule, r := t.start(); r != nil {
		t.failed(mail.StageMail, rule, r)
		s.orphans = pipelinedBehind(t)
		return s.refuseMail(t, r)
	}
	s.tx = t
	s.messages++
	s.reply(replySenderOK())
	return nil
}

// nameClient writes into the event whose MAIL it is that is no MAIL command, so
// that no client's refusals are lost among those of strangers.
func (t *transaction) nameClient() {
	if c, r := t.snap.Rules.Client(&t.s.peer); r == nil {
		t.ev.Client, t.ev.Stream = c.Name(), c.Stream()
	}
}

// refuseMail answers a MAIL that was refused. Only a stranger's counts against
// the connection: a client may have a whole queue that is deferred today.
func (s *session) refuseMail(t *transaction, r *mail.Reply) error {
	s.excused = true
	if t.client == nil {
		return s.refuseStranger(r)
	}
	s.reply(r)
	return nil
}

// unoffered refuses parameters that the reply to EHLO did not name.
func (s *session) unoffered(env *mail.Envelope) *mail.Reply {
	switch {
	case env.Body == mail.BodyBinary:
		return replyBadParam()
	case env.RequireTLS && !s.peer.TLS.On():
		return replyUnknownParam()
	}
	return nil
}

// pipelinedBehind is how many commands a client may have sent behind MAIL
// before it saw the reply: RCPT for each recipient, and DATA.
func pipelinedBehind(t *transaction) int { return t.snap.Message.MaxRecipients + 1 }

// start judges what is known at MAIL.
func (t *transaction) start() (rule string, r *mail.Reply) {
	if rule, r = t.s.misplaced(); r != nil {
		return rule, r
	}
	client, r := t.snap.Rules.Client(&t.s.peer)
	if r != nil {
		return "client", r
	}
	t.client = client
	t.ev.Client, t.ev.Stream = t.client.Name(), t.client.Stream()
	if r = t.snap.Rules.Sender(t.client, t.env.From); r != nil {
		return "senders", r
	}
	if rule, r = t.suspended(); r != nil {
		return rule, r
	}
	if t.env.Size > t.snap.Message.MaxSize {
		return "size", replyTooLarge(t.snap.Message.MaxSize)
	}
	t.route = t.snap.Routes[t.client.Stream()]
	if t.route == nil {
		return "stream", replyFault()
	}
	t.ev.Upstream = t.route.Name
	t.account = t.s.srv.limiter.Begin(t.facts())
	if v := t.account.Declared(t.env.Size); v != nil {
		return t.limitRefusal(v)
	}
	return "", nil
}

func (t *transaction) facts() ratelimit.Facts {
	return ratelimit.Facts{
		Client: t.client.Name(), User: t.s.peer.User, ClientIP: cmp.Or(t.ev.ClientIP, unknownIP),
		Sender: t.sender, SenderDomain: t.env.From.Domain,
		Stream: t.client.Stream(), Upstream: t.route.Name, SourceIP: t.route.SourceKey,
	}
}

// unknownIP is what limits per client_ip count those on whose address a front end
// does not know: together, as one, and not as mail without that value.
const unknownIP = "unknown"

// rcpt carries out RCPT TO together with those that the client has pipelined
// behind it, so that each group costs one round trip to the limit store and
// one to the upstream.
func (s *session) rcpt(arg string) error {
	if s.tx == nil {
		return s.outOfPlace()
	}
	batch := []attempt{s.tx.attempt(arg)}
	for len(batch) < maxBatch {
		line, ok := s.peekLine()
		if !ok || len(line) < 5 || !equalFold(line[:5], "RCPT ") || hasControl(line) {
			break
		}
		s.nextLine()
		batch = append(batch, s.tx.attempt(string(line[5:])))
	}
	s.tx.recipients(batch)
	for i := range batch {
		r := batch[i].reply
		if r.Positive() {
			s.reply(r)
		} else if err := s.refuse(r); err != nil {
			return err
		}
	}
	return nil
}

const maxBatch = 100

// refuse answers with a refusal and counts it; a client that collects them is
// sent away.
func (s *session) refuse(r *mail.Reply) error {
	s.reply(r)
	if r.Permanent() {
		s.refused++
	}
	if s.refused > s.snap.Session.RefusedRecipients {
		s.reply(replyTooManyRefused())
		return errQuit
	}
	return nil
}

// attempt judges one RCPT by syntax, count and policy.
func (t *transaction) attempt(arg string) (a attempt) {
	t.stage = mail.StageRcpt
	path, ok := cutKeyword(arg, "TO:")
	var err error
	if ok {
		a.rcpt, err = syntax.RcptCommand(path, t.env.UTF8, t.client.AddressLiterals())
	}
	a.index, a.charge = len(t.ev.To), -1
	switch {
	case !ok:
		a.shown, a.rule, a.reply = plain.Quote(arg), "syntax", replySyntax("RCPT TO:<address>")
	case err != nil:
		a.shown, a.rule, a.reply = plain.Quote(strings.TrimSpace(path)), "syntax", replyRcptSyntax(err)
	case a.index >= t.snap.Message.MaxRecipients:
		a.rule, a.reply = "max_recipients", replyTooManyRecipients()
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
			a.rule, a.reply = "postmaster", replyNoPostmaster()
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

// expires is when the transaction ends unless RCPT or data comes. Its commands
// up to the data take no longer than a session may.
func (t *transaction) expires() time.Time {
	end, last := t.touched.Add(t.snap.Timeouts.Transaction), t.began.Add(t.snap.Session.MaxAge)
	if t.chunked == nil && last.Before(end) {
		return last
	}
	return end
}

// recipients takes those attempts that are still without a reply through the gate,
// the limits and to the upstream, and records what came of each.
func (t *transaction) recipients(batch []attempt) {
	if rule, r := t.barred(); r != nil {
		for i := range batch {
			if a := &batch[i]; a.reply == nil {
				a.rule, a.reply = rule, r
			}
		}
	}
	t.charge(batch)
	t.ask(batch)
	var back []int
	for i := range batch {
		a := &batch[i]
		t.record(a)
		if a.reply.Temporary() && a.charge >= 0 {
			back = append(back, a.charge)
		}
	}
	if len(back) > 0 {
		t.account.Refund(t.s.ctx, back...)
	}
	if batch[0].index < t.snap.Message.MaxRecipients {
		t.touched = time.Now()
	}
}

// charge takes quota for all open attempts in one step of the store.
func (t *transaction) charge(batch []attempt) {
	var open []ratelimit.Recipient
	var which []int // of batch
	for i := range batch {
		if a := &batch[i]; a.reply == nil {
			open = append(open, ratelimit.Recipient{Address: mail.RecipientOf(a.shown), Domain: a.rcpt.Domain})
			which = append(which, i)
		}
	}
	if len(open) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(t.s.ctx, t.snap.Timeouts.Limiter)
	defer cancel()
	verdicts := t.account.Recipients(ctx, open, nil)
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

// ask puts all open attempts to the upstream.
func (t *transaction) ask(batch []attempt) {
	var rs []mail.Recipient
	var which []int // of batch
	for i := range batch {
		if batch[i].reply == nil {
			rs = append(rs, batch[i].rcpt)
			which = append(which, i)
		}
	}
	if len(rs) == 0 {
		return
	}
	if t.up == nil {
		t.up = t.route.Upstream.Begin(t.route.Via, &t.env)
	}
	ctx, cancel := context.WithTimeout(t.s.ctx, t.snap.Timeouts.Upstream)
	defer cancel()
	replies, err := t.up.Recipients(ctx, rs, nil)
	if err == nil {
		err = ourFault(replies...)
	}
	if err != nil {
		t.lose(err)
	}
	t.holds, t.heldSince = err == nil, time.Time{}
	for i, w := range which {
		if err != nil {
			batch[w].ending = t.lost
		} else {
			batch[w].ending = t.passOn(&replies[i])
			if aboutCommand(replies[i].Code) {
				batch[w].reply.Code, batch[w].reply.Status = 451, "4.5.1"
			}
		}
	}
}

// ourFault is non-nil where the upstream does not know us. That is for our
// operator to mend, so clients are told to try again.
func ourFault(replies ...mail.Reply) error {
	for i := range replies {
		switch replies[i].Code {
		case 530, 534, 535, 538:
			return fmt.Errorf("%w: %q", upstream.ErrCredentials, replies[i].String())
		}
	}
	return nil
}

// aboutCommand reports whether the upstream's code says that it does not know
// MAIL or RCPT, or not now, such as "503 AUTH first". That is no verdict on the
// address.
func aboutCommand(code int) bool { return code == 500 || code == 502 || code == 503 }

// lose notes that the upstream is lost to this transaction.
func (t *transaction) lose(err error) {
	t.lost = t.upstreamFault(err)
	t.lost.reply = replyUpstreamDown()
	t.up.Close()
}

// upstreamFault logs a fault behind us and returns the end that it makes, still
// without a reply.
func (t *transaction) upstreamFault(err error) ending {
	t.ev.Err, t.ev.Said = err.Error(), upstream.Said(err)
	e, cause := ending{stage: mail.StageRcpt, rule: "upstream"}, "upstream"
	if errors.Is(err, upstream.ErrCredentials) {
		e.class, cause = string(upstream.Credentials), "upstream credentials"
	}
	t.s.srv.fault(cause, err, "upstream", t.route.Name, "id", t.ev.ID)
	return e
}

// passOn is the end that the upstream's reply makes. The client gets it as it is,
// status and text kept; but a 421 ends the upstream's connection, not the
// client's.
func (t *transaction) passOn(r *mail.Reply) ending {
	t.last = *r
	out := *r
	if out.Code == 421 {
		out.Code = 451
	}
	if out.Status == "" {
		out.Status = [...]string{2: "2.0.0", 4: "4.0.0", 5: "5.0.0"}[out.Code/100]
	}
	e := ending{stage: mail.StageRcpt, rule: "upstream", reply: &out, said: r}
	if r.Said != nil {
		e.class = r.Said.Class
	}
	return e
}

// record writes an attempt's end into the event.
func (t *transaction) record(a *attempt) {
	if a.index >= len(t.ev.To) {
		return
	}
	e := &t.ev.To[a.index]
	a.stage = mail.StageRcpt
	a.writeTo(e)
	if a.reply.Positive() {
		t.accepted = append(t.accepted, taken{a.index, a.charge})
		t.env.To = append(t.env.To, a.rcpt)
		return
	}
	e.Outcome = outcomeOf(a.reply)
	if t.refused.reply == nil || t.refused.reply.Permanent() && a.reply.Temporary() {
		t.refused = a.ending
	}
}
