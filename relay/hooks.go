package relay

import (
	"context"
	"time"

	"postern/mail"
	"postern/relay/replies"
)

// Hooks are the judges that keep state outside of the session. Each must answer
// from memory, or within the context that it is given; nil ones have nothing to
// say.
type Hooks struct {
	// Suspended says whether mail of this submitter waits. user is "" without
	// AUTH; from is who sends, "" at AUTH.
	Suspended func(client, user string, from mail.Identity) Suspension
	// Admit says whether a transaction that Suspended has let through may go on
	// with so many recipients; it is asked again whenever that may have changed. id
	// is that of the event in which the transaction ends; submitter is whom the header
	// has told, "" before. Nil: Suspended is asked.
	Admit func(id, client, user, submitter, stream string, from mail.Identity, recipients int) Suspension
	// Backoff says how long mail of a client's sender to a domain waits, because a
	// receiver has asked for that or the stream is paused; 0 when it does not. trial:
	// it goes through although other mail waits.
	Backoff func(stream, client string, from mail.Identity, domain string) (left time.Duration, trial bool)
	// GroupsWait reports whether mail of a stream to some group of receivers waits, and
	// GroupBackoff for how long that of a client to one of them does, as Backoff. Mail
	// to a configured upstream is in no group.
	GroupsWait   func(stream string) bool
	GroupBackoff func(stream, client, group string) (left time.Duration, trial bool)
	// Brake says how long mail to a recipient waits because its sender or user
	// (scope) writes to more new ones than usual; 0 when it may go on. id is that of the
	// event in which the transaction ends.
	Brake func(id, client, user string, from mail.Identity, to mail.RecipientID) (left time.Duration, scope string)
	// BrakeMessage is Brake for a message whose header has told a submitter: how long it
	// waits because of strangers among its recipients.
	BrakeMessage func(id, client, submitter string, from mail.Identity, to []mail.RecipientID) (left time.Duration)
	// Past tells limits on strangers whether the past of a client is known, and whether
	// its sender is in its first two days as that user, or submitter (as mail.Event.Party
	// writes it), sends with it; Stranger whether nobody of the client, and
	// whether the sender, has written to a recipient before. Nil: no limit asks.
	Past     func(client, user string, from mail.Identity) (watched, newSender bool)
	Stranger func(client string, from mail.Identity, to mail.RecipientID) (toClient, toSender bool)
	// Suppressed reports whether a recipient of a stream is known not to exist.
	Suppressed func(stream string, to mail.RecipientID) bool
	// Domain judges a recipient's domain by DNS; nil for one that takes mail, and
	// for one of which nothing is known.
	Domain func(ctx context.Context, domain string) *DomainProblem
	// Once claims the one automatic message that an author may send to a recipient
	// within a period, whichever client submits it. A nil release means that it
	// has been sent already; release gives the claim back.
	Once func(ctx context.Context, author string, to mail.RecipientID, period time.Duration) (release func(), err error)
}

// Suspension is the answer of Hooks.Suspended; the zero value is none.
type Suspension struct {
	Scope string // sender, user, submitter, client; "" when nobody is suspended
	Name  string // of the one suspended, as the client knows it
	// Left is the time to the end; 0 when it lasts until the operator ends it.
	Left time.Duration
	// Pace: not suspended, but over its own usual pace.
	Pace bool
	// Unnamed: it holds for mail alone of which nobody knows who submitted it.
	Unnamed bool
}

// DomainProblem says why a domain takes no mail.
type DomainProblem struct {
	// NullMX: it says so itself (RFC 7505). Otherwise it does not exist.
	NullMX bool
}

// suspended asks whether the submitter of this transaction may send now.
func (t *transaction) suspended() (rule string, r *mail.Reply) {
	if t.srv.hooks.Suspended == nil {
		return "", nil
	}
	return t.refuseSuspended(t.srv.hooks.Suspended(t.client.Name(), t.peer.User, t.sender))
}

// userSuspended tells a user whose password was right that its mail waits.
func (s *Server) userSuspended(user string) (rule string, r *mail.Reply) {
	snap := s.snapshot()
	if s.hooks.Suspended == nil || snap.SuspendedMay != nil && !snap.SuspendedMay.Empty() {
		return "", nil // it may still write to some, and hears it from RCPT
	}
	v := s.hooks.Suspended("", user, "")
	if v.Scope == "" || v.Pace {
		return "", nil
	}
	return "outlier " + v.Scope, replies.HelpPage(replies.UserSuspended(v.Left), snap.HelpURL)
}

func (t *transaction) refuseSuspended(v Suspension) (rule string, r *mail.Reply) {
	switch {
	case v.Scope == "", v.Unnamed && t.submitterToCome():
		return "", nil
	case v.Pace:
		return "outlier " + v.Scope, replies.Pace(v.Name, v.Left)
	}
	return "outlier " + v.Scope, replies.HelpPage(replies.Suspended(v.Name, v.Left), t.srv.snapshot().HelpURL)
}

// judgeOutside asks the judges outside about the recipient of a.
func (t *transaction) judgeOutside(a *attempt) (rule string, r *mail.Reply) {
	h, stream, to := &t.srv.hooks, t.client.Stream(), a.rcpt.Address
	if h.Suppressed != nil && h.Suppressed(stream, mail.RecipientOf(a.shown)) {
		return "suppression", replies.Suppressed(to)
	}
	if h.Backoff != nil {
		var left time.Duration
		if left, a.trial = h.Backoff(stream, t.client.Name(), t.sender, to.Domain); left > 0 {
			return "backoff", replies.Backoff(to, left)
		}
	}
	if h.Brake != nil && !t.mayReach(to) && !t.submitterToCome() {
		if left, scope := h.Brake(t.ev.ID, t.client.Name(), t.ev.User, t.sender, mail.RecipientOf(a.shown)); left > 0 {
			return "outlier brake " + scope, replies.Braked(to, left)
		}
	}
	if h.Domain != nil && t.snap.Message.CheckRecipientDomain {
		ctx, cancel := context.WithTimeout(t.conn.Context(), t.snap.Timeouts.DNS)
		defer cancel()
		if p := h.Domain(ctx, to.Domain); p != nil {
			return "check_recipient_domain", replies.NoMail(to, p.NullMX)
		}
	}
	return "", nil
}
