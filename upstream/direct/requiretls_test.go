package direct

import (
	"crypto/tls"
	"fmt"
	"testing"

	"postern/internal/smtptest"
	"postern/mail"
	"postern/mx"
	"postern/upstream"
)

// TestREQUIRETLS (RFC 8689 s. 4.2.1): such mail goes over TLS to a host that the domain vouches
// for, whose certificate is valid, and that offers the keyword under TLS; else it is refused or
// waits, and never leaves in another way.
func TestREQUIRETLS(t *testing.T) {
	const testingMode = "version: STSv1\nmode: testing\nmx: mx.b.example\nmax_age: 86400\n"
	for _, row := range []struct {
		name, policy string // of MTA-STS; "": none
		certificate  string // the name in it; "": no STARTTLS
		tlsa         string // good, wrong, unusable; "": none
		plain, under bool   // the keyword is offered before STARTTLS, and behind it
		set          func(*upstream.Config)
		want         string
	}{
		{name: "a policy that is met", policy: enforce("mx.b.example"), certificate: "mx.b.example", under: true, want: "250 final 250"},
		{name: "a policy that is met, no keyword", policy: enforce("mx.b.example"), certificate: "mx.b.example", want: "550"},
		{name: "a policy that is met, the keyword in plain text alone", policy: enforce("mx.b.example"), certificate: "mx.b.example", plain: true, want: "550"},
		{name: "a certificate for another name", policy: enforce("mx.b.example"), certificate: "mx.c.example", under: true, want: "451"},
		{name: "a policy, and no STARTTLS", policy: enforce("mx.b.example"), plain: true, want: "451"},
		{name: "a policy that is only tried", policy: testingMode, certificate: "mx.b.example", under: true, want: "550"},
		{name: "no policy", certificate: "mx.b.example", under: true, want: "550"},
		{name: "no policy and no STARTTLS", plain: true, want: "550"},
		{name: "a TLSA record that fits", certificate: "x.example", tlsa: "good", under: true, want: "250 final 250"},
		{name: "a TLSA record that fits, no keyword", certificate: "x.example", tlsa: "good", want: "550"},
		{name: "a TLSA record that does not fit", certificate: "x.example", tlsa: "wrong", under: true, want: "451"},
		{name: "TLSA records of which none can be used", certificate: "mx.b.example", tlsa: "unusable", under: true, want: "550"},
		{name: "the operator has it verified", certificate: "mx.b.example", under: true, set: func(c *upstream.Config) { c.TLS = upstream.EncryptVerified }, want: "250 final 250"},
		{name: "the operator asks for TLS alone", certificate: "mx.b.example", under: true, set: func(c *upstream.Config) { c.TLS = upstream.EncryptRequired }, want: "550"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, ca := stsWorldWith(t, func(string) string { return row.policy }, func(c *upstream.Config, _ *Options) {
				c.Config.DANE, c.Config.DNSSEC = mx.DANEAuto, mx.DNSSECLocal
				if row.set != nil {
					row.set(c)
				}
			})
			w.zone.Sign()
			if row.policy == "" {
				w.zone.Set("_mta-sts.b.example")
			}
			o := smtptest.Options{Offer: keyword(row.plain, smtptest.Common...)}
			if row.certificate != "" {
				cert, err := ca.Issue(smtptest.Cert{Names: []string{row.certificate}})
				if err != nil {
					t.Fatal(err)
				}
				other, err := ca.Issue(smtptest.Cert{Names: []string{row.certificate}})
				if err != nil {
					t.Fatal(err)
				}
				o.TLS, o.Offer, o.TLSOffer = &tls.Config{Certificates: []tls.Certificate{cert}}, append(o.Offer, "STARTTLS"), keyword(row.under, smtptest.Common...)
				record := map[string]string{"good": tlsaOf(t, 3, 1, 1, cert.Leaf), "wrong": tlsaOf(t, 3, 1, 1, other.Leaf), "unusable": "1 1 1 " + tlsaOf(t, 3, 1, 1, cert.Leaf)[6:]}[row.tlsa]
				if record != "" {
					w.zone.Add(fmt.Sprintf("_%d._tcp.mx.b.example. 60 TLSA %s", w.port, record))
				}
			}
			r := w.receiver("127.0.0.2", o)
			w.domain("b.example", "mx.b.example 127.0.0.2")
			// A connection that mail without the wish has left is no way round.
			w.send("x@b.example")
			before := len(r.Messages())
			s := w.sendEnvelope(&mail.Envelope{From: rcpt("a@a.example").Address, RequireTLS: true}, upstream.Route{}, "x@b.example")
			if s.codes() != row.want || row.want == "550" && s.to[0].Status != "5.7.30" {
				t.Errorf("%s", s)
			}
			if came := len(r.Messages()) - before; (came > 0) != (row.want == "250 final 250") {
				t.Errorf("%d messages came", came)
			}
		})
	}
}

func keyword(there bool, offer ...string) []string {
	if there {
		return append([]string{"REQUIRETLS"}, offer...)
	}
	return offer
}
