package smtpd

import (
	"strings"
	"time"

	"postern/internal/syntax"
	"postern/mail"
	"postern/relay/replies"
)

// Transaction is one mail transaction, as whoever is behind the engine sees it:
// from MAIL, which Options.Begin takes, to the last reply. The engine calls one
// method at a time. A transaction that has answered Data with a refusal,
// or Deliver or Break at all, has ended.
type Transaction interface {
	// Rcpt answers the RCPT commands of one pipelined group: what stands behind
	// "RCPT " in each, one reply for each in their order.
	Rcpt(args []string) []*mail.Reply
	// Data makes ready for the message, whose octets go to m.Take; nil says that
	// it may come. At least one RCPT has come before.
	Data(m *Message) *mail.Reply
	// Deliver takes a message whose last octet has come, or which was refused
	// meanwhile, and returns the last reply.
	Deliver(m *Message) *mail.Reply
	// Each is what each recipient that was taken is told after Deliver, in their order,
	// where a client of LMTP has to know; nil: what Deliver has returned.
	Each() []*mail.Reply
	// Break ends the transaction: by a refusal of the engine, whose cause is rule,
	// and which it returns; or with r nil, since the client has gone or reset it.
	Break(rule string, r *mail.Reply) *mail.Reply
	// Idle is told that the client is waited for, and returns when to tell it again
	// if the wait lasts until then; zero: never.
	Idle(now time.Time) time.Time
}

// Begun is what became of a MAIL command.
type Begun struct {
	Transaction Transaction // nil: it was refused
	Refusal     *mail.Reply // nil: it was not
	Malformed   bool        // the command was wrong in itself
	Stranger    bool        // the peer is not a client
	Lenient     bool        // bare LF in the message becomes CR LF, for this client
}

// open is the transaction of a session, with what the engine counts in it.
type open struct {
	Transaction
	cfg           *Settings // that it began under
	lenient       bool
	began         time.Time
	touched       time.Time // of the last RCPT or chunk, else of MAIL
	rcpts         int       // commands
	taken, denied int       // of these
	chunked       *Message  // once BDAT has begun
}

// expires is when the transaction ends unless RCPT or data comes. Its commands
// up to the data take no longer than a session may.
func (t *open) expires() time.Time {
	end, last := t.touched.Add(t.cfg.Timeouts.Transaction), t.began.Add(t.cfg.Session.MaxAge)
	if t.chunked == nil && last.Before(end) {
		return last
	}
	return end
}

// mail carries out MAIL FROM.
func (s *session) mail(arg string) error {
	switch {
	case s.peer.Helo == "":
		return s.fail(s.helloFirst())
	case s.tx != nil:
		return s.fail(replies.InTransaction())
	}
	s.chunksFailed, s.orphans = false, 0
	if r := s.unforgiven(); r != nil {
		return s.fail(r)
	}
	path, ok := syntax.CutKeyword(arg, "FROM:")
	if !ok && s.cfg.Rules.LenientAtMail(&s.peer) {
		path, ok = syntax.CutKeyword(strings.TrimLeft(arg, " \t"), "FROM:")
	}
	if !ok {
		return s.fail(replies.Syntax("MAIL FROM:<address>"))
	}
	s.messages++ // refused ones, too: a session that never ends could have any number of these
	b := s.srv.opt.Begin(&Conn{s}, path)
	s.unforward()
	if b.Refusal != nil {
		return s.refuseMail(&b)
	}
	now := time.Now()
	s.tx = &open{Transaction: b.Transaction, cfg: s.cfg, lenient: b.Lenient, began: now, touched: now}
	s.reply(replies.SenderOK())
	return nil
}

// refuseMail answers a MAIL that was refused. Of those that are well formed only
// a stranger's counts against the connection: a client may have a whole queue
// that is deferred today.
func (s *session) refuseMail(b *Begun) error {
	s.orphans = s.cfg.Message.MaxRecipients + 1 // RCPT for each, and DATA, may be on their way
	if b.Malformed {
		return s.fail(b.Refusal)
	}
	s.excused = true
	if b.Stranger {
		return s.refuseStranger(b.Refusal)
	}
	s.reply(b.Refusal)
	return nil
}

// maxBatch bounds the RCPT commands that are answered together.
const maxBatch = 100

// rcpt carries out RCPT TO together with those that the client has pipelined
// behind it, so that each group costs one round trip to the limit store and
// one to the upstream.
func (s *session) rcpt(arg string) error {
	t := s.tx
	if t == nil {
		return s.outOfPlace()
	}
	batch := []string{arg}
	for len(batch) < maxBatch {
		line, ok := s.peekLine()
		if !ok || len(line) < 5 || !equalFold(line[:5], "RCPT ") || hasControl(line) {
			break
		}
		s.nextLine()
		batch = append(batch, string(line[5:]))
	}
	answers := t.Rcpt(batch)
	if t.rcpts < t.cfg.Message.MaxRecipients {
		t.touched = time.Now()
	}
	t.rcpts += len(batch)
	for _, r := range answers {
		if r.Positive() {
			t.taken++
		} else {
			t.denied++
		}
	}
	return s.answer(answers)
}

func (s *session) answer(all []*mail.Reply) error {
	for _, r := range all {
		if r.Positive() {
			s.reply(r)
		} else if err := s.refuse(r); err != nil {
			return err
		}
	}
	return nil
}

// refuse answers with a refusal and counts it; a client that collects them is
// sent away.
func (s *session) refuse(r *mail.Reply) error {
	s.reply(r)
	if r.Permanent() {
		s.refused++
	}
	if s.refused > s.cfg.Session.RefusedRecipients {
		s.reply(replies.TooManyRefused())
		return errQuit
	}
	return nil
}

// ended notes that the transaction has ended with r.
func (s *session) ended(r *mail.Reply) {
	t := s.tx
	s.tx, s.excused, s.verdict = nil, !r.Positive(), r
	if r.Positive() {
		s.idle = 0
		// An MTA that keeps its connection for long and has a few bad addresses
		// is not one that looks for addresses.
		s.refused = max(0, s.refused-t.taken)
		s.errors = max(0, s.errors-1)
	}
}

// endTransaction gives the last reply of a transaction that has ended.
func (s *session) endTransaction(r *mail.Reply) error {
	s.ended(r)
	if r.Code == 421 {
		s.reply(r)
		return errQuit
	}
	if r.Positive() {
		s.reply(r)
		return nil
	}
	return s.refuse(r)
}

// abort ends a transaction that the client leaves unfinished.
func (s *session) abort() {
	if t := s.tx; t != nil {
		s.excused = t.taken == 0 && t.denied > 0
		s.tx = nil
		t.Break("client", nil)
	}
}
