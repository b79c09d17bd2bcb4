package smtpd

import (
	"net/netip"
	"time"

	"postern/internal/plain"
	"postern/mail"
	"postern/policy"
	"postern/relay/replies"
)

// What never became a client has little to say here: it is told at the greeting
// where it can become none, three refused MAIL commands end its session, and
// eventlog.Strangers bounds the lines that it causes.

// strangerMails is how many MAIL commands of a stranger are refused in one
// session.
const strangerMails = 3

// greet gives the greeting, or the refusal in its place.
func (s *session) greet() error {
	if r := s.unwelcome(); r != nil {
		s.srv.opt.Observe(refusedConnection(s.lis, s.peer.Addr.Addr(), "client", r))
		s.reply(r)
		return errQuit
	}
	s.reply(s.greeting())
	return nil
}

// refuseStranger answers a MAIL of a peer that is not a client.
func (s *session) refuseStranger(r *mail.Reply) error {
	s.reply(r)
	if s.strangerMails++; s.strangerMails >= strangerMails {
		s.reply(replies.TooManyRefusedMails())
		return errQuit
	}
	return nil
}

// unwelcome is the refusal of a peer that can become no client on this listener,
// whatever it will say (RFC 5321 s. 3.1); nil for others. Who may speak for
// others is not refused, nor a proxy's health check, which has no address.
func (s *session) unwelcome() *mail.Reply {
	if s.trusted || !s.peer.Addr.IsValid() || s.cfg.Rules.MayBecome(&s.peer, s.ways()) {
		return nil
	}
	return policy.RefusePeer(&s.peer)
}

// ways are those in which the listener lets a peer show who it is.
func (s *session) ways() policy.Ways {
	files := s.set.tls
	return policy.Ways{
		Password: s.cfg.Auth != nil && (files != nil || s.passwordsSafe()),
		TLS:      files != nil, Certificate: files != nil && files.clientCA != "",
	}
}

// recount counts the connection as that of somebody known, or of a stranger;
// false when there are too many strangers.
func (s *session) recount(known bool) bool {
	if known == s.known {
		return true
	}
	if !s.lis.caps.change(known, s.cfg.Rules.HaveNetworks(s.lis.name)) {
		return false
	}
	s.known = known
	return true
}

// refusedConnection is the event of a peer that is refused before it has said
// anything.
func refusedConnection(l *Listener, ip netip.Addr, rule string, r *mail.Reply) *mail.Event {
	e := connectEvent(l, ip, rule)
	e.Outcome, e.Code, e.Status, e.Reply = mail.OutcomeOf(r), r.Code, r.Status, r.String()
	return e
}

func connectEvent(l *Listener, ip netip.Addr, rule string) *mail.Event {
	now := time.Now()
	return &mail.Event{
		Time: now, ID: mail.NewID(now), Listener: l.name, ClientIP: mail.AddrText(ip), Stage: mail.StageConnect, Rule: rule,
		To: []mail.RecipientEvent{},
	}
}

// handshakeFailed records a TLS handshake that came to nothing.
func (s *session) handshakeFailed(err error) {
	e := connectEvent(s.lis, s.peer.Addr.Addr(), "tls")
	e.Helo, e.Outcome, e.Err = s.peer.Helo, mail.Aborted, plain.Quote(err.Error())
	s.srv.opt.Observe(e)
}
