package direct

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"postern/internal/smtptest"
	"postern/mail"
	"postern/mx/tlsrpt"
	"postern/upstream"
)

// tlsaOf is the text of a record for a certificate.
func tlsaOf(t *testing.T, usage, selector, matching int, c *x509.Certificate) string {
	t.Helper()
	text, err := dns.CertificateToDANE(uint8(selector), uint8(matching), c)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %d %d %s", usage, selector, matching, text)
}

// TestTLSAIsKept: a host with TLSA records gets mail over TLS with a certificate that
// fits, or not at all.
func TestTLSAIsKept(t *testing.T) {
	ca, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue(smtptest.Cert{Names: []string{"whatever.test"}})
	if err != nil {
		t.Fatal(err)
	}
	other, err := ca.Issue(smtptest.Cert{Names: []string{"mx1.b.example"}})
	if err != nil {
		t.Fatal(err)
	}
	encrypted := smtptest.Options{TLS: &tls.Config{Certificates: []tls.Certificate{leaf}}, Offer: append([]string{"STARTTLS"}, smtptest.Common...),
		TLSOffer: append([]string{"REQUIRETLS"}, smtptest.Common...)}
	fits, wrong := tlsaOf(t, 3, 1, 1, leaf.Leaf), tlsaOf(t, 3, 1, 1, other.Leaf)
	for _, row := range []struct {
		name    string
		tlsa    string // of mx1; "": none
		break1  bool   // the answer is SERVFAIL
		first   smtptest.Options
		second  bool // mx2 is there, without records
		want    string
		tls     string
		require bool
	}{
		{name: "a certificate that fits", tlsa: fits, first: encrypted, want: "250 final 250", tls: "TLSv1.3 (DANE)"},
		{name: "REQUIRETLS over it", tlsa: fits, first: encrypted, want: "250 final 250", tls: "TLSv1.3 (DANE)", require: true},
		{name: "one that does not fit", tlsa: wrong, first: encrypted, want: "451"},
		{name: "no STARTTLS", tlsa: fits, first: smtptest.Options{}, want: "451"},
		{name: "no usable record", tlsa: "1 1 1 " + fits[6:], first: encrypted, want: "250 final 250", tls: "TLSv1.3"},
		{name: "no usable record, no STARTTLS", tlsa: "1 1 1 " + fits[6:], first: smtptest.Options{}, want: "451"},
		{name: "no record", first: smtptest.Options{}, want: "250 final 250"},
		{name: "DNS does not say", break1: true, first: encrypted, want: "451"},
		{name: "DNS does not say, another host has none", break1: true, first: encrypted, second: true, want: "250 final 250"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, func(c *upstream.Config, _ *Options) { c.Config.DANE, c.Config.DNSSEC = "auto", "local" })
			w.zone.Sign()
			r := w.receiver("127.0.0.2", row.first)
			w.domain("b.example", "mx1.b.example 127.0.0.2")
			base := fmt.Sprintf("_%d._tcp.mx1.b.example.", w.port)
			if row.tlsa != "" {
				w.zone.Add(base + " 60 TLSA " + row.tlsa)
			}
			if row.break1 {
				w.zone.Break(base, dns.RcodeServerFailure)
			}
			if row.second {
				w.receiver("127.0.0.3", smtptest.Options{})
				w.zone.Add("b.example. 60 MX 20 mx2.b.example.", "mx2.b.example. 60 A 127.0.0.3")
			}
			tx := w.up.Begin(upstream.Route{}, &mail.Envelope{From: rcpt("a@a.example").Address, RequireTLS: row.require})
			defer tx.Close()
			var s sent
			s.to, s.err = tx.Recipients(t.Context(), []mail.Recipient{rcpt("x@b.example")}, nil)
			if s.err == nil && s.to[0].Positive() {
				s.final, s.err = tx.Send(t.Context(), upstream.Content{Chunks: [][]byte{[]byte(message)}})
			}
			if s.codes() != row.want || tx.TLS() != row.tls {
				t.Fatalf("%s over %q", s, tx.TLS())
			}
			if row.want == "451" && (s.to[0].Status != "4.7.5" || len(r.Messages()) > 0) {
				t.Errorf("%s, %d messages", s, len(r.Messages()))
			}
			counted := map[bool]string{true: "success"}[row.want != "451"]
			switch {
			case row.break1:
				counted = "dnssec-invalid"
			case row.want == "451" && row.first.Offer == nil, row.tlsa == "":
				counted = "starttls-not-supported"
			case row.want == "451":
				counted = "validation-failure"
			case strings.HasPrefix(row.tlsa, "1 "):
				counted = "tlsa-invalid"
			}
			want := fmt.Sprintf("{%s %s ", map[bool]tlsrpt.Kind{true: tlsrpt.DANE, false: tlsrpt.None}[row.tlsa != "" || row.break1], counted)
			if got := fmt.Sprint(w.up.TLSCounts()); !strings.Contains(got, want) {
				t.Errorf("counted %s, want %s", got, want)
			}
		})
	}
}

// TestHostIsJudgedByTheRecordsOfItsName: one that fits the records of one name is
// no host of another.
func TestHostIsJudgedByTheRecordsOfItsName(t *testing.T) {
	ca, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue(smtptest.Cert{Names: []string{"mx1.b.example"}})
	if err != nil {
		t.Fatal(err)
	}
	other, _ := ca.Issue(smtptest.Cert{Names: []string{"mx1.b.example"}})
	w := newWorld(t, nil)
	w.zone.Sign()
	w.receiver("127.0.0.2", smtptest.Options{TLS: &tls.Config{Certificates: []tls.Certificate{leaf}}, Offer: append([]string{"STARTTLS"}, smtptest.Common...)})
	w.domain("b.example", "mx1.b.example 127.0.0.2")
	w.domain("c.example", "mx1.c.example 127.0.0.2")
	w.zone.Add(fmt.Sprintf("_%d._tcp.mx1.b.example. 60 TLSA %s", w.port, tlsaOf(t, 3, 1, 1, leaf.Leaf)))
	w.zone.Add(fmt.Sprintf("_%d._tcp.mx1.c.example. 60 TLSA %s", w.port, tlsaOf(t, 3, 1, 1, other.Leaf)))
	if s := w.send("x@b.example"); s.codes() != "250 final 250" {
		t.Errorf("%s", s)
	}
	if s := w.send("x@c.example"); s.codes() != "451" {
		t.Errorf("%s", s)
	}
}
