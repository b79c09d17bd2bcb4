package direct

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"

	"postern/mx"
	"postern/mx/sts"
	"postern/mx/tlsrpt"
	"postern/upstream"
)

// TLSCounts returns how TLS with hosts has ended since New, by policy and result.
func (u *Upstream) TLSCounts() []tlsrpt.Count { return u.reports.Counts() }

// TLSReports returns how many sessions were handed to the collector of reports, and how
// many were dropped.
func (u *Upstream) TLSReports() (sent, lost uint64) { return u.reports.Sent() }

// began reports how TLS went with a host that has taken a session; in is the first
// transaction on its connection, or nothing is said.
func (t *Transaction) began(w *way, h *host, in *upstream.Transaction) {
	state, first := in.Session()
	if !first || t.u.pool.inPlain(h.key) {
		return // nobody asked for TLS just now
	}
	s := t.session(w, in.SourceIP())
	switch {
	case state == nil && in.FellBack():
		s.Result, s.Reason = tlsrpt.Invalid, "handshake"
	case state == nil:
		s.Result = tlsrpt.NoSTARTTLS
	case s.Policy.Kind == tlsrpt.STS && !w.level.verified:
		s.Result, s.Reason = t.testing(w, state)
	case w.level.tlsa != nil && !w.level.dane() && !w.level.verified:
		s.Result = tlsrpt.NoUsable
	}
	t.tell(s)
}

// failed reports what went wrong with TLS, where it did.
func (t *Transaction) failed(w *way, from netip.Addr, err error) {
	result := resultOf(err)
	if result == tlsrpt.Success {
		return
	}
	s := t.session(w, from)
	s.Result, s.Reason = result, reasonOf(err)
	t.tell(s)
}

// tell reports a session. One that had to meet nothing, since the policy that the domain
// announces could not be had, is told as that (RFC 8460 s. 4.3.2.2).
func (t *Transaction) tell(s tlsrpt.Session) {
	if s.Policy.Kind == tlsrpt.None && t.u.sts != nil && t.u.exception(t.domain).sts {
		if is, ok := troubles[t.u.sts.Trouble(t.domain)]; ok {
			s.Policy.Kind, s.Result, s.Reason = tlsrpt.STS, is.result, is.words
		}
	}
	t.u.reports.Note(s)
}

// troubles are what reports call them. The owner of the domain reads the words.
var troubles = map[sts.Trouble]struct {
	result tlsrpt.Result
	words  string
}{
	sts.NotFetched:     {tlsrpt.FetchError, "the policy host gives no policy"},
	sts.Invalid:        {tlsrpt.BadPolicy, "what the policy host gives is not a policy"},
	sts.BadCertificate: {tlsrpt.BadHost, "the certificate of the policy host is not valid for it"},
}

// reasonOf is why TLS failed, in words that whoever owns the domain may read: nothing of
// our DNS servers, names of upstreams and addresses is in it.
func reasonOf(err error) string {
	var certificate *tls.CertificateVerificationError
	var alert tls.AlertError
	switch {
	case errors.Is(err, mx.ErrNotKnown):
		return "DNS does not say which TLSA records there are"
	case errors.Is(err, upstream.ErrNoTLS):
		return ""
	case errors.Is(err, upstream.ErrInjected):
		return upstream.ErrInjected.Error()
	case errors.Is(err, mx.ErrNoFit):
		return mx.ErrNoFit.Error()
	case errors.As(err, &certificate):
		return certificate.Err.Error()
	case errors.As(err, &alert):
		return alert.Error()
	}
	return "handshake"
}

// unnamed reports that a policy names none of the domain's hosts.
func (t *Transaction) unnamed() {
	t.u.reports.Note(tlsrpt.Session{Domain: t.domain, Policy: stsPolicy(t.domain, t.says), Result: tlsrpt.Invalid, Reason: "the policy names none of the MX hosts"})
}

// session is one with a target, and what its domain asks for there.
func (t *Transaction) session(w *way, from netip.Addr) tlsrpt.Session {
	s := tlsrpt.Session{Domain: t.domain, Source: from, Host: w.Host, To: w.Address.Addr(), Policy: tlsrpt.Policy{Kind: tlsrpt.None, Domain: t.domain}}
	switch tlsa := w.level.tlsa; {
	case tlsa != nil && (w.level.dane() || !w.level.verified):
		s.Policy = tlsrpt.Policy{Kind: tlsrpt.DANE, Domain: tlsa.Base}
		for _, r := range tlsa.Records {
			s.Policy.Text = append(s.Policy.Text, fmt.Sprintf("%d %d %d %s", r.Usage, r.Selector, r.MatchingType, r.Certificate))
		}
	case w.err != nil:
		s.Policy = tlsrpt.Policy{Kind: tlsrpt.DANE, Domain: w.Host}
	default:
		if p := t.says; p != nil && (w.level.verified || p.Mode == sts.Testing) {
			s.Policy = stsPolicy(t.domain, p)
		}
	}
	return s
}

func stsPolicy(domain string, p *sts.Policy) tlsrpt.Policy {
	text := []string{"version: STSv1", "mode: " + string(p.Mode)}
	for _, m := range p.MX {
		text = append(text, "mx: "+m)
	}
	return tlsrpt.Policy{Kind: tlsrpt.STS, Domain: domain, Text: append(text, fmt.Sprintf("max_age: %d", int(p.MaxAge.Seconds()))), Hosts: p.MX}
}

// testing says how a session would have ended under a policy whose owner wants to
// know that.
func (t *Transaction) testing(w *way, state *tls.ConnectionState) (tlsrpt.Result, string) {
	if !t.says.Matches(w.Host) {
		return tlsrpt.Invalid, "the policy does not name this host"
	}
	if len(state.PeerCertificates) == 0 {
		return tlsrpt.Invalid, "no certificate"
	}
	o := x509.VerifyOptions{DNSName: w.Host, Roots: t.u.pool.opt.Roots, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := state.PeerCertificates[0].Verify(o); err != nil {
		return resultOf(fmt.Errorf("%w: %w", upstream.ErrHandshake, err)), err.Error()
	}
	return tlsrpt.Success, ""
}

// resultOf is what RFC 8460 calls an error; Success where it has nothing to do with
// TLS.
func resultOf(err error) tlsrpt.Result {
	var (
		name    x509.HostnameError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.Is(err, mx.ErrNotKnown):
		return tlsrpt.BadDNSSEC
	case errors.Is(err, upstream.ErrNoTLS):
		return tlsrpt.NoSTARTTLS
	case errors.Is(err, upstream.ErrInjected):
		return tlsrpt.Invalid
	case !errors.Is(err, upstream.ErrHandshake):
		return tlsrpt.Success
	case errors.As(err, &name):
		return tlsrpt.HostMismatch
	case errors.As(err, &unknown):
		return tlsrpt.NotTrusted
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return tlsrpt.Expired
	}
	return tlsrpt.Invalid
}
