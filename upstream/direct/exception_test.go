package direct

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"

	"postern/internal/smtptest"
	"postern/mx"
	"postern/upstream"
)

// TestExceptionOfADomain: what the configuration says of one domain holds for it, and
// for no other on the same hosts.
func TestExceptionOfADomain(t *testing.T) {
	except := func(set func(*upstream.Exception)) (e upstream.Exception) {
		e.SetDefaults()
		set(&e)
		return e
	}
	starttls := append([]string{"STARTTLS"}, smtptest.Common...)
	for _, row := range []struct {
		name        string
		e           upstream.Exception
		all         upstream.TLSPolicy
		o           smtptest.Options
		want, tls   string
		other, otls string
	}{
		{"verified, and the certificate is for another name", except(func(e *upstream.Exception) { e.TLS = upstream.EncryptVerified }), upstream.EncryptOpportunistic,
			smtptest.Options{Offer: starttls}, "451", "", "250 final 250", "TLSv1.3"},
		{"required, and there is none", except(func(e *upstream.Exception) { e.TLS = upstream.EncryptRequired }), upstream.EncryptOpportunistic,
			smtptest.Options{}, "451", "", "250 final 250", ""},
		{"required", except(func(e *upstream.Exception) { e.TLS = upstream.EncryptRequired }), upstream.EncryptOpportunistic,
			smtptest.Options{Offer: starttls}, "250 final 250", "TLSv1.3", "250 final 250", "TLSv1.3"},
		{"off", except(func(e *upstream.Exception) { e.TLS = upstream.EncryptOff }), upstream.EncryptOpportunistic,
			smtptest.Options{Offer: starttls}, "250 final 250", "", "250 final 250", "TLSv1.3"},
		{"opportunistic where others must", except(func(e *upstream.Exception) { e.TLS = upstream.EncryptOpportunistic }), upstream.EncryptRequired,
			smtptest.Options{}, "250 final 250", "", "451", ""},
		{"opportunistic over TLS 1.0", except(func(e *upstream.Exception) { e.TLS = upstream.EncryptOpportunistic }), upstream.EncryptRequired,
			smtptest.Options{Offer: starttls, TLS: oldTLS(t)}, "250 final 250", "TLSv1.0", "451", ""},
	} {
		w := newWorld(t, func(c *upstream.Config, _ *Options) {
			c.TLS, c.Domain = row.all, map[string]upstream.Exception{"partner.example": row.e}
		})
		w.domain("partner.example", "mx.shared.example 127.0.0.2")
		w.domain("other.example", "mx.shared.example")
		w.receiver("127.0.0.2", row.o)
		for range 2 { // the second time over what the first has left
			if s := w.send("b@partner.example"); s.codes() != row.want || s.tls != row.tls {
				t.Errorf("%s: %s by %q, want %s by %q", row.name, s, s.tls, row.want, row.tls)
			}
			if s := w.send("b@other.example"); s.codes() != row.other || s.tls != row.otls {
				t.Errorf("%s, another domain: %s by %q, want %s by %q", row.name, s, s.tls, row.other, row.otls)
			}
		}
	}
}

func oldTLS(t *testing.T) *tls.Config {
	t.Helper()
	ca, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(smtptest.Cert{Names: []string{"mx.shared.example"}})
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}
}

// TestHostsOfTheConfiguration take the mail of a domain in the place of those of DNS.
func TestHostsOfTheConfiguration(t *testing.T) {
	ca, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(smtptest.Cert{Names: []string{"in.partner.example"}})
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	w := newWorld(t, func(c *upstream.Config, _ *Options) {
		c.CA = ca.WriteFile(t, t.TempDir())
		e := upstream.Exception{TLS: upstream.EncryptVerified}
		e.SetDefaults()
		e.Hosts = append(e.Hosts, "gone.partner.example:25", fmt.Sprintf("in.partner.example:%d", c.Port+1))
		none, private := e, e
		none.Hosts, private.Hosts = []string{"nowhere.partner.example"}, []string{"private.partner.example"}
		c.Domain = map[string]upstream.Exception{"partner.example": e, "none.example": none, "private.example": private}
		named = e.Hosts
	}, "in.partner.example. 60 A 127.0.0.3", "private.partner.example. 60 A 10.0.0.1")
	w.domain("partner.example", "mx.partner.example 127.0.0.2")
	public := w.receiver("127.0.0.2", smtptest.Options{})
	inner := smtptest.Start(t, smtptest.Options{Addr: net.JoinHostPort("127.0.0.3", fmt.Sprint(w.port+1)),
		TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Offer: append([]string{"STARTTLS"}, smtptest.Common...)})
	if s := w.send("b@partner.example"); s.codes() != "250 final 250" || !strings.HasPrefix(s.host, "in.partner.example[127.0.0.3]:") || s.tls != "TLSv1.3" {
		t.Errorf("%s by %s, %s; hosts are %v", s, s.host, s.tls, named)
	}
	if inner.Taken() != 1 || public.Taken() != 0 {
		t.Errorf("taken: %d, %d", inner.Taken(), public.Taken())
	}
	// A mistake of the operator's costs nobody his mail.
	for _, domain := range []string{"none.example", "private.example"} {
		if s := w.send("b@" + domain); s.codes() != "451" {
			t.Errorf("%s: %s", domain, s)
		}
	}
}

// TestExceptionFromPolicies: a policy or TLSA records that are wrong can be left
// aside for one domain.
func TestExceptionFromPolicies(t *testing.T) {
	w, ca := stsWorld(t, func(string) string { return enforce("mx.elsewhere.example") })
	w.domain("b.example", "mx.b.example 127.0.0.2")
	w.domain("c.example", "mx.b.example")
	w.encrypted("127.0.0.2", ca, "mx.b.example")
	without := upstream.Exception{DANE: mx.DANEOff}
	w.up.exceptions = exceptionsOf(&upstream.Config{Domain: map[string]upstream.Exception{"b.example": without}})
	if s := w.send("x@b.example"); s.codes() != "250 final 250" {
		t.Error(s)
	}
	if s := w.send("x@c.example"); s.codes() != "451" {
		t.Error(s)
	}
	// A host that the operator names gets the mail, verified where the policy names it, too.
	named := map[string]upstream.Exception{}
	for domain, host := range map[string]string{"b.example": "mx.b.example", "c.example": "other.b.example"} {
		e := upstream.Exception{Hosts: []string{fmt.Sprintf("%s:%d", host, w.port)}}
		e.MTASTS = true
		named[domain] = e
	}
	w.zone.Add("mx.elsewhere.example. 60 A 127.0.0.2", "other.b.example. 60 A 127.0.0.2")
	w.up.exceptions = exceptionsOf(&upstream.Config{Domain: named})
	if s := w.send("x@c.example"); s.codes() != "250 final 250" || s.tls != "TLSv1.3" {
		t.Error(s, s.tls)
	}
}
