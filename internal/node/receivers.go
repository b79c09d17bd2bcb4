package node

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"postern/internal/config"
	"postern/internal/resolve"
	"postern/mail"
	"postern/relay"
	"postern/reputation"
)

// receivers is what the relay remembers of those who get its mail, and refuses
// recipients by: mailboxes that do not exist, receivers that want less mail, domains
// without mail.
type receivers struct {
	suppressions *reputation.Suppressions // nil: none are kept
	backoff      *reputation.Backoff
	// resolver answers questions about recipients' domains; a reload may put
	// another in its place.
	resolver atomic.Pointer[resolve.Resolver]
	tell     func(reputation.Event)   // nil: nobody
	groupOf  func(host string) string // the group of receivers that a host is one of; "": none
}

// saveEvery is how often changed state goes to its file.
const saveEvery = 10 * time.Second

// openReceivers reads their state and has it saved while the node runs.
func (n *Node) openReceivers(file *config.File) (*receivers, error) {
	rs := &receivers{backoff: reputation.NewBackoff(time.Now)}
	if err := rs.setResolver(file); err != nil {
		return nil, err
	}
	n.opened.add(func(context.Context) { rs.resolver.Load().Close() })
	if file.Reputation.SuppressFor <= 0 {
		return rs, nil
	}
	rs.suppressions = reputation.NewSuppressions(file.Reputation.SuppressFor, 0, time.Now)
	path := filepath.Join(file.StateDir, "suppressions.json")
	if err := rs.suppressions.Load(path); err != nil {
		n.log.Error("suppressions begin anew", "err", err)
	}
	n.run(func(ctx context.Context) {
		n.every(ctx, saveEvery, func() { n.stateWritten("suppressions", rs.suppressions.Save(path)) })
	})
	return rs, nil
}

// tellBy has events written as those of w are.
func (rs *receivers) tellBy(w *reputationWatch, changed func(kind, to string)) {
	rs.tell = func(e reputation.Event) { w.tell(e, changed) }
}

// setResolver makes the resolver that a configuration asks for. The one before
// is closed: what is asked of it then is a fault of DNS, and tried again.
func (rs *receivers) setResolver(file *config.File) error {
	r, err := resolve.New(resolve.Options{
		Servers: file.Reputation.Resolvers, Timeout: file.Reputation.Timeout,
	})
	if err != nil {
		return err
	}
	if old := rs.resolver.Swap(r); old != nil {
		old.Close()
	}
	return nil
}

// reload takes over new resolvers and a new time for suppressions.
func (rs *receivers) reload(old, file *config.File) error {
	if !slices.Equal(old.Reputation.Resolvers, file.Reputation.Resolvers) || old.Reputation.Timeout != file.Reputation.Timeout {
		if err := rs.setResolver(file); err != nil {
			return err
		}
	}
	if rs.suppressions != nil && file.Reputation.SuppressFor > 0 {
		rs.suppressions.SetKeep(file.Reputation.SuppressFor)
	}
	return nil
}

// every calls f at intervals until ctx ends, and once more then.
func (n *Node) every(ctx context.Context, interval time.Duration, f func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			f()
			return
		case <-tick.C:
			f()
		}
	}
}

// hooks are what sessions ask.
func (rs *receivers) hooks() relay.Hooks {
	h := relay.Hooks{Backoff: func(stream, client string, from mail.Identity, domain string) (time.Duration, bool) {
		return rs.backoff.Left(reputation.Mail{Stream: stream, Client: client, Sender: from, Domain: domain})
	}}
	h.GroupsWait, h.GroupBackoff = rs.backoff.Groups.Waits, rs.backoff.Groups.Left
	if rs.suppressions != nil {
		h.Suppressed = rs.suppressions.Suppressed
	}
	h.Domain = func(ctx context.Context, domain string) *relay.DomainProblem {
		switch reputation.NewChecker(rs.resolver.Load()).Check(ctx, domain) {
		case reputation.NullMX:
			return &relay.DomainProblem{NullMX: true}
		case reputation.NoDomain:
			return &relay.DomainProblem{}
		}
		return nil
	}
	return h
}

// Observe learns from what the upstream itself said about each recipient; what it
// passes on of others, and what it said of the sender, changes nothing here.
func (rs *receivers) Observe(e *mail.Event) {
	m := reputation.Mail{Stream: e.Stream, Client: e.Client}
	rs.observeHost(e, m)
	rs.observeGroups(e)
	for i := range e.To {
		r := &e.To[i]
		if r.Rule != "upstream" {
			continue
		}
		if m.Sender == "" {
			m.Sender = mail.IdentityOf(e.From)
		}
		m.Domain = domainOf(r.Address)
		rs.heard(e.Stream, r, m.Domain)
		switch {
		case r.Code/100 == 2:
			rs.backoff.Relayed(m, r.Trial)
		case r.Said == nil || r.Said.Remote:
		case tooMuch(r):
			rs.backoff.Refused(m, r.Said.Wait, upstreamReply(r))
		}
	}
}

// heard passes what was said of a recipient on to those who remember unknown ones.
func (rs *receivers) heard(stream string, r *mail.RecipientEvent, domain string) {
	if rs.suppressions == nil || r.Code == 0 {
		return
	}
	v := reputation.RecipientReply{Stream: stream, Recipient: mail.RecipientOf(r.Address), Domain: domain, Taken: r.Code/100 == 2}
	if noSuchUser(r) {
		v.Unknown, v.Doubt, v.Reply = true, r.Said.Remote || r.Said.Doubt, upstreamReply(r)
	}
	if e := rs.suppressions.Heard(&v); e != nil && rs.tell != nil {
		rs.tell(*e)
	}
}

// observeHost learns from what a receiver's own host said instead of beginning a
// transaction. It concerns the mail to that receiver, as if each recipient had
// heard it.
func (rs *receivers) observeHost(e *mail.Event, m reputation.Mail) {
	for _, s := range e.AllSaid() {
		if s.Domain == "" || s.Remote || s.About != mail.AboutUs || s.Class != mail.ClassRateLimited {
			continue
		}
		m.Sender, m.Domain = mail.IdentityOf(e.From), s.Domain
		rs.backoff.Refused(m, s.Wait, s.Reply)
	}
}

// noSuchUser reports whether a refusal says of exactly this recipient that there
// is none.
func noSuchUser(r *mail.RecipientEvent) bool {
	return r.Said != nil && r.Said.Class == mail.ClassNoSuchUser && r.Said.About == mail.AboutRecipient && r.Code/100 == 5
}

// tooMuch reports whether the recipient's receiver wants less mail of us: not
// less for this recipient, nor less of this sender.
func tooMuch(r *mail.RecipientEvent) bool {
	return r.Said.Class == mail.ClassRateLimited && r.Said.About == mail.AboutUs && (r.Said.At == "rcpt" || r.Said.At == "dot")
}

// upstreamReply is the upstream's reply on one line.
func upstreamReply(r *mail.RecipientEvent) string {
	reply := mail.Reply{Code: r.Code, Status: r.Status, Text: r.Reply}
	return reply.String()
}

// domainOf is the domain of an address's key; the whole key where it has none.
func domainOf(key string) string { return key[strings.LastIndexByte(key, '@')+1:] }
