package smtpd

import (
	"crypto/tls"
	"crypto/x509"
	"postern/mail"
	"postern/relay/replies"
	"time"
)

// recheck takes from a session what it no longer has: its user, when the password
// was changed or the user disabled, and its certificate, when its authority or
// its time is over. now is the newest snapshot.
func (s *session) recheck(now *Settings) {
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
func (s *session) recheckUser(now *Settings) {
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
		return "listener", replies.TLSFirst()
	case s.hearsay():
		return "listener", replies.NoLongerClient()
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
