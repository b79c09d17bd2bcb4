package direct

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"testing"

	"postern/internal/smtptest"
	"postern/mx"
	"postern/mx/tlsrpt"
	"postern/upstream"
)

// TestTLSIsCounted by what the domain asks for and how it ended, once a connection.
func TestTLSIsCounted(t *testing.T) {
	testing := func(host string) string {
		return "version: STSv1\nmode: testing\nmx: " + host + "\nmax_age: 86400\n"
	}
	for _, row := range []struct {
		name, policy string
		o            func(ca *smtptest.CA) smtptest.Options
		want, counts string
	}{
		{"success", "", withCertificate(t, "mx.b.example"), "250 final 250", "[{none success 1}]"},
		{"no STARTTLS", "", plainly, "250 final 250", "[{none starttls-not-supported 1}]"},
		{"a handshake that fails", "", broken(t), "250 final 250", "[{none validation-failure 1}]"},
		{"a policy that is met", enforce("mx.b.example"), withCertificate(t, "mx.b.example"), "250 final 250", "[{sts success 1}]"},
		{"a certificate for another name", enforce("mx.b.example"), withCertificate(t, "mx.c.example"), "451", "[{sts certificate-host-mismatch 2}]"},
		{"a policy, and no STARTTLS", enforce("mx.b.example"), plainly, "451", "[{sts starttls-not-supported 2}]"},
		{"a policy that names another host", enforce("mx.c.example"), withCertificate(t, "mx.b.example"), "451", "[{sts validation-failure 2}]"},
		{"testing, met", testing("mx.b.example"), withCertificate(t, "mx.b.example"), "250 final 250", "[{sts success 1}]"},
		{"testing, another name", testing("mx.b.example"), withCertificate(t, "mx.c.example"), "250 final 250", "[{sts certificate-host-mismatch 1}]"},
		{"testing, another host", testing("mx.c.example"), withCertificate(t, "mx.b.example"), "250 final 250", "[{sts validation-failure 1}]"},
		{"a policy that is not there", "404", withCertificate(t, "mx.b.example"), "250 final 250", "[{sts sts-policy-fetch-error 1}]"},
		{"a policy that is not there, and no STARTTLS", "404", plainly, "250 final 250", "[{sts sts-policy-fetch-error 1}]"},
		{"a policy that is none", "<html>", withCertificate(t, "mx.b.example"), "250 final 250", "[{sts sts-policy-invalid 1}]"},
		{"testing, no STARTTLS", testing("mx.b.example"), plainly, "250 final 250", "[{sts starttls-not-supported 1}]"},
	} {
		w, ca := stsWorld(t, func(string) string { return row.policy })
		w.domain("b.example", "mx.b.example 127.0.0.2")
		if row.policy == "" {
			w.zone.Set("_mta-sts.b.example")
		}
		w.receiver("127.0.0.2", row.o(ca))
		for range 2 {
			if s := w.send("x@b.example"); s.codes() != row.want {
				t.Errorf("%s: %s", row.name, s)
			}
		}
		if got := fmt.Sprint(w.up.TLSCounts()); got != row.counts {
			t.Errorf("%s: %s, want %s", row.name, got, row.counts)
		}
	}
}

// TestCertificateOfThePolicyHostIsTold as what it is.
func TestCertificateOfThePolicyHostIsTold(t *testing.T) {
	w, ca := stsWorld(t, func(string) string { return enforce("mx.d.example") })
	w.zone.Add("mta-sts.d.example. 60 A 127.0.0.1", `_mta-sts.d.example. 60 TXT "v=STSv1; id=1;"`)
	w.domain("d.example", "mx.d.example 127.0.0.2")
	w.receiver("127.0.0.2", withCertificate(t, "mx.d.example")(ca))
	if s := w.send("x@d.example"); s.codes() != "250 final 250" {
		t.Error(s)
	}
	if got := fmt.Sprint(w.up.TLSCounts()); got != "[{sts sts-webpki-invalid 1}]" {
		t.Error(got)
	}
}

// TestReasonsTellNothingOfOurs: reports go to the owners of domains.
func TestReasonsTellNothingOfOurs(t *testing.T) {
	ours := errors.New("upstream world: read udp 10.0.0.5:4711->10.0.0.53:53: connection refused")
	for want, err := range map[string]error{
		"DNS does not say which TLSA records there are": fmt.Errorf("%w: %w", mx.ErrNotKnown, ours),
		"no TLSA record fits the certificate":           fmt.Errorf("%w: %w: %w", ours, upstream.ErrHandshake, mx.ErrNoFit),
		"x509: certificate signed by unknown authority": fmt.Errorf("%w: %w: %w", ours, upstream.ErrHandshake, &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}),
		"tls: handshake failure":                        fmt.Errorf("%w: %w: %w", ours, upstream.ErrHandshake, tls.AlertError(40)),
		"handshake":                                     fmt.Errorf("%w: %w", upstream.ErrHandshake, ours),
		"":                                              fmt.Errorf("%w: %w", upstream.ErrNoTLS, ours),
	} {
		if got := reasonOf(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

func plainly(*smtptest.CA) smtptest.Options { return smtptest.Options{} }

// broken offers STARTTLS and ends each handshake.
func broken(t *testing.T) func(*smtptest.CA) smtptest.Options {
	return func(ca *smtptest.CA) smtptest.Options {
		o := withCertificate(t, "mx.b.example")(ca)
		o.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("no") }
		return o
	}
}

func withCertificate(t *testing.T, name string) func(*smtptest.CA) smtptest.Options {
	return func(ca *smtptest.CA) smtptest.Options {
		cert, err := ca.Issue(smtptest.Cert{Names: []string{name}})
		if err != nil {
			t.Fatal(err)
		}
		return smtptest.Options{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Offer: append([]string{"STARTTLS"}, smtptest.Common...)}
	}
}

// TestResultsOfErrors: what a report calls each.
func TestResultsOfErrors(t *testing.T) {
	shake := func(err error) error { return fmt.Errorf("x: %w: %w", upstream.ErrHandshake, err) }
	for want, err := range map[tlsrpt.Result]error{
		tlsrpt.HostMismatch: shake(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}),
		tlsrpt.NotTrusted:   shake(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}),
		tlsrpt.Expired:      shake(x509.CertificateInvalidError{Reason: x509.Expired}),
		tlsrpt.Invalid:      shake(errors.New("DANE")),
		tlsrpt.NoSTARTTLS:   fmt.Errorf("x: %w", upstream.ErrNoTLS),
		tlsrpt.BadDNSSEC:    fmt.Errorf("x: %w", mx.ErrNotKnown),
		tlsrpt.Success:      errors.New("connection refused"),
	} {
		if got := resultOf(err); got != want {
			t.Errorf("%v is %q, want %q", err, got, want)
		}
	}
}
