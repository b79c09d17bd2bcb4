package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"time"

	"postern/mail"
	"postern/policy"
	"postern/ratelimit"
)

// What was right at MAIL may be wrong when it takes effect: a transaction can be
// open for long, and many can be open at one time. So the gate asks again who the
// client is and what it may do, by the rules and states of now: at each RCPT
// (barred), before the message is taken and before it is handed over (gate). What
// it refuses has not been sent and is not delivered.

// gate says why the message may not go on now; nil when it may.
func (t *transaction) gate() (rule string, r *mail.Reply) {
	if rule, r = t.barred(); r != nil {
		return rule, r
	}
	return t.recheckLimits()
}

// barred says why this client may not send this mail now, whatever was true at
// MAIL. The reply is temporary, or 530 where AUTH or TLS would mend it: what is
// wrong for good is told at the next MAIL.
func (t *transaction) barred() (rule string, r *mail.Reply) {
	s, now := t.s, t.s.srv.snapshot()
	s.recheck(now)
	if rule, r = s.misplaced(); r != nil {
		return rule, r
	}
	client, r := now.Rules.Client(&s.peer)
	switch {
	case r != nil && r.Code == 530:
		return "client", r
	case r != nil || client.Name() != t.client.Name() || s.peer.User != t.ev.User:
		return "client", replyNoLongerClient()
	case now.Rules.Sender(client, t.env.From) != nil:
		return "senders", replyNoLongerOwned(t.env.From.Shown())
	}
	if rule, r = t.outlawed(now.Rules, client); r != nil {
		return rule, r
	}
	return t.admitted()
}

// outlawed says what of this message passed by the rules of MAIL and does not by
// those of now: a recipient, or an author or another field of the header. Our
// signature was made ready for authors who were owned.
func (t *transaction) outlawed(now *policy.Rules, client *policy.Client) (rule string, r *mail.Reply) {
	if now == t.snap.Rules {
		return "", nil
	}
	for i := range t.env.To {
		if now.Recipient(client, t.env.To[i].Address) != nil {
			return "recipients", replyNoLongerClient()
		}
	}
	if t.message.raw == nil {
		return "", nil
	}
	rule, r, shadow := now.Header(client, &t.message.facts)
	if r == nil || shadow && len(t.message.domains) == 0 && !t.mustSign() {
		return "", nil
	}
	return rule, replyNoLongerClient()
}

// rulesNow are those by which a further recipient is judged, and the client in
// them; those of MAIL where they do not name the client any more, for then the
// gate refuses.
func (t *transaction) rulesNow() (*policy.Rules, *policy.Client) {
	now := t.s.srv.snapshot().Rules
	if now == t.snap.Rules {
		return now, t.client
	}
	if c, r := now.Client(&t.s.peer); r == nil && c.Name() == t.client.Name() {
		return now, c
	}
	return t.snap.Rules, t.client
}

// admitted asks whether the submitter is suspended now, or with the recipients
// so far beyond its pace.
func (t *transaction) admitted() (rule string, r *mail.Reply) {
	if t.s.srv.hooks.Admit == nil {
		return t.suspended()
	}
	return refuseSuspended(t.s.srv.hooks.Admit(t.ev.ID, t.client.Name(), t.ev.User, t.ev.Stream, t.sender, max(1, len(t.accepted))))
}

// recheckLimits holds what has been charged against the limits of now.
func (t *transaction) recheckLimits() (rule string, r *mail.Reply) {
	if !t.account.NewRules() {
		return "", nil
	}
	rs := make([]ratelimit.Recipient, 0, len(t.accepted))
	is := make([]int, 0, len(t.accepted))
	for i, a := range t.accepted {
		rs = append(rs, ratelimit.Recipient{Address: mail.RecipientOf(t.ev.To[a.index].Address), Domain: t.env.To[i].Domain})
		is = append(is, a.charge)
	}
	ctx, cancel := context.WithTimeout(t.s.ctx, t.snap.Timeouts.Limiter)
	defer cancel()
	if v := t.account.Recheck(ctx, rs, is); !v.OK {
		return t.limitRefusal(&v)
	}
	return "", nil
}

// recheck takes from a session what it no longer has: its user, when the password
// was changed or the user disabled, and its certificate, when its authority or
// its time is over. now is the newest snapshot.
func (s *session) recheck(now *Snapshot) {
	s.adopt()
	s.recheckUser(now)
	s.recheckCertificate()
}

// adopt takes over the present settings of the listener.
func (s *session) adopt() {
	if set := s.lis.set.Load(); set != s.set {
		s.set = set
		s.trusted = contains(set.cfg.XClientFrom, s.front)
	}
}

// recheckUser makes a session a stranger's again when the password that it was
// let in by has been changed, or its user disabled, by a reload. A user whom a
// front end names (XCLIENT) needs no password here, but may be disabled.
func (s *session) recheckUser(now *Snapshot) {
	switch {
	case s.peer.User == "":
		return
	case s.stamp == "" && (now.Auth == nil || !now.Auth.Disabled(s.peer.User)):
		return
	case s.stamp != "" && now.Auth != nil && now.Auth.Stamp(s.peer.User) == s.stamp:
		return
	}
	s.peer.User, s.stamp = "", ""
}

// misplaced says why nothing may be sent on this connection under the present
// settings of its listener.
func (s *session) misplaced() (rule string, r *mail.Reply) {
	switch {
	case s.set.cfg.needsTLS() && !s.peer.TLS.On():
		return "listener", replyTLSFirst()
	case s.hearsay():
		return "listener", replyNoLongerClient()
	}
	return "", nil
}

// hearsay reports whether the client's address or user was told by a front end
// that has no right any more to tell it.
func (s *session) hearsay() bool {
	return s.renamed && !s.trusted ||
		s.proxied && !contains(s.set.cfg.ProxyProtocolFrom, addrPort(s.raw.RemoteAddr()).Addr())
}

// vetted is when and by whose authorities a client certificate was verified.
type vetted struct {
	chain []*x509.Certificate // as the client sent it, leaf first
	by    *x509.CertPool
	until time.Time // the first end of one of those that it rests on
}

// vettedBy is what a handshake has found out; zero without a certificate.
func vettedBy(state *tls.ConnectionState, by *x509.CertPool) vetted {
	if len(state.VerifiedChains) == 0 {
		return vetted{}
	}
	return vetted{chain: state.PeerCertificates, by: by, until: endOf(state.VerifiedChains[0])}
}

// recheckCertificate forgets the client certificate unless it is valid now, under
// the authorities that the listener has now.
func (s *session) recheckCertificate() {
	if len(s.peer.Certificates) == 0 {
		return
	}
	var by *x509.CertPool
	if s.set.tls != nil {
		by = s.set.tls.config().ClientCAs
	}
	now := time.Now()
	if by == s.vetted.by && now.Before(s.vetted.until) {
		return
	}
	until, ok := s.vetted.verify(by, now)
	if !ok {
		s.peer.Certificates, s.external = nil, false
		return
	}
	s.vetted.by, s.vetted.until = by, until
}

// verify verifies the chain as the handshake does.
func (v *vetted) verify(by *x509.CertPool, now time.Time) (until time.Time, ok bool) {
	if by == nil || len(v.chain) == 0 {
		return time.Time{}, false
	}
	o := x509.VerifyOptions{
		Roots: by, Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, c := range v.chain[1:] {
		o.Intermediates.AddCert(c)
	}
	chains, err := v.chain[0].Verify(o)
	if err != nil {
		return time.Time{}, false
	}
	return endOf(chains[0]), true
}

// endOf is when the first certificate of a chain ends.
func endOf(chain []*x509.Certificate) time.Time {
	end := chain[0].NotAfter
	for _, c := range chain {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}
