package upstream

import (
	"context"
	"errors"
	"time"

	"postern/mail"
)

// learned is how many messages a host takes on one connection.
type learned struct {
	messages int       // 1 and up
	until    time.Time // zero: nothing has been learned
	trial    time.Time // from when on one connection may carry more, to see
}

// forgetLearned is after which time a host is tried with more messages again.
const forgetLearned = 24 * time.Hour

// tryBeyond is how often one connection goes on beyond what was learned. A host can
// refuse for the sender's sake what it takes a moment later; whoever brings that
// about must not cost everybody a new connection for each message.
const tryBeyond = 10 * time.Minute

// sessionRule is the rule for refusals that speak of what the connection has
// carried, and so of no receiver.
const sessionRule = "session-limit"

// errFull: the host has refused by 4yz, and maybe only because the connection
// had carried mail before: servers that take ten messages a session say so, and
// stay. It has not taken the message, so that another connection may be tried.
var errFull = errors.New("refused on a connection that had carried mail")

// full is a connection on which that happened.
type full struct {
	h        *host
	messages int // handed over before
	reply    mail.Reply
}

func (c *conn) full(r mail.Reply) *full { return &full{h: c.h, messages: c.messages, reply: r} }

// tookOn learns the number, where a new connection to the same host took what
// the full one had refused. A nil f learns nothing.
func (f *full) tookOn(c *conn, took bool) {
	if f != nil && took && c != nil && c.h == f.h && c.messages <= 1 {
		f.h.learn(f.messages, time.Now())
	}
}

func (h *host) learn(n int, now time.Time) {
	h.mu.Lock()
	known := h.learned.messages == n && now.Before(h.learned.until)
	h.learned = learned{messages: n, until: now.Add(forgetLearned), trial: now.Add(tryBeyond)}
	h.mu.Unlock()
	if known {
		return
	}
	h.u.opt.Log.Info("upstream host takes no more messages on one connection, this holds for a day",
		"upstream", h.u.name, "host", h.addr, "messages", n)
}

// mayCarry reports whether a connection that has carried so many messages may carry
// one more: as configured, or fewer where the host has shown that it takes no more;
// h.mu is held.
func (h *host) mayCarry(messages int, now time.Time) bool {
	l := &h.learned
	switch {
	case messages >= h.cfg.MessagesPerConnection:
		return false
	case !now.Before(l.until) || messages < l.messages:
		return true
	case now.Before(l.trial):
		return false
	}
	l.trial = now.Add(tryBeyond)
	return true
}

// carried forgets what was learned where a connection has carried more.
func (h *host) carried(messages int) {
	h.mu.Lock()
	if messages > h.learned.messages {
		h.learned = learned{}
	}
	h.mu.Unlock()
}

// ofSession reports whether a refusal of at speaks of what the connection has
// carried.
func (t *Transaction) ofSession(at string, r mail.Reply) bool {
	return t.u.rules.Load().Classify(at, r.String()).Rule == sessionRule
}

// beyond hands the message over on a new connection after r on one that had
// carried mail. Where none takes the envelope, r stays the verdict.
func (t *Transaction) beyond(ctx context.Context, body *Content, r mail.Reply) (mail.Reply, error) {
	f := t.c.full(r)
	t.give()
	if err := t.reopen(ctx, true); err != nil {
		if ctx.Err() != nil {
			return mail.Reply{}, err
		}
		return r, nil
	}
	again, err := t.transfer(ctx, body)
	f.tookOn(t.c, err == nil && again.Positive())
	return again, err
}
