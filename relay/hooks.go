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
	// Suspended says whether mail of a sender waits. client and from are "" at AUTH,
	// before either is known; user is "" without AUTH.
	Suspended func(client, user string, from mail.Identity) Suspension
	// Admit says whether a transaction that Suspended has let through may go on
	// with so many recipients; it is asked again whenever that may have changed. id is
	// the ID of the transaction's event; submitter is the one that the header names, ""
	// before the header came. Nil: Suspended is asked instead.
	Admit func(id, client, user, submitter, stream string, from mail.Identity, recipients int) Suspension
	// Backoff says how long mail of a client's sender to a domain waits, because a
	// receiver has asked for that or the stream is paused; 0 when it need not wait.
	// trial says that this mail may go although other mail waits.
	Backoff func(stream, client string, from mail.Identity, domain string) (left time.Duration, trial bool)
	// GroupsWait reports whether mail of a stream to any group of receivers waits.
	// GroupBackoff is Backoff for mail of a client to one group. Mail to a configured
	// upstream is in no group.
	GroupsWait   func(stream string) bool
	GroupBackoff func(stream, client, group string) (left time.Duration, trial bool)
	// Brake says how long mail to a recipient waits because its sender or user writes to
	// more new recipients than usual; scope says which of the two does. 0 when it need not
	// wait. id is the ID of the transaction's event.
	Brake func(id, client, user string, from mail.Identity, to mail.RecipientID) (left time.Duration, scope string)
	// BrakeMessage is Brake for a whole message whose header names a submitter.
	BrakeMessage func(id, client, submitter string, from mail.Identity, to []mail.RecipientID) (left time.Duration)
	// Past and Stranger are for limits on strangers; nil where there is none. Past says
	// whether the past of a client is known, and whether a sender is in its first two days
	// with that user or submitter (user is as mail.Party writes it). Stranger says whether a
	// recipient is new to everybody of the client, and whether it is new to the sender.
	Past     func(client, user string, from mail.Identity) (watched, newSender bool)
	Stranger func(client string, from mail.Identity, to mail.RecipientID) (toClient, toSender bool)
	// Suppressed reports whether a recipient is known not to exist, for mail of a stream.
	Suppressed func(stream string, to mail.RecipientID) bool
	// Domain judges a recipient's domain by DNS. It returns nil for a domain that takes
	// mail, and where DNS gave no answer.
	Domain func(ctx context.Context, domain string) *DomainProblem
	// Once claims the one automatic message that an author may send to a recipient
	// within a period, whichever client submits it (RFC 3834 s. 2). A nil release without
	// an error means that it has been sent already; release gives the claim back.
	Once func(ctx context.Context, author string, to mail.RecipientID, period time.Duration) (release func(), err error)
}

// Suspension is the answer of Hooks.Suspended and Hooks.Admit; the zero value says that
// nobody is suspended.
type Suspension struct {
	Scope string // sender, user, submitter, client; "" when nobody is suspended
	Name  string // name of whoever is suspended, as the client knows it
	// Left is the time to the end; 0 when it lasts until the operator ends it.
	Left time.Duration
	// Pace: the sender is not suspended, but over its own usual pace.
	Pace bool
	// Unnamed: the suspension holds only for mail of which nobody knows who submitted it.
	Unnamed bool
}

// DomainProblem says why a domain takes no mail.
type DomainProblem struct {
	// NullMX: the domain says so itself with a null MX (RFC 7505). Otherwise it does not exist.
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
