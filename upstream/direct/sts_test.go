package direct

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/smtptest"
	"postern/mail"
	"postern/upstream"
)

// stsWorld is a world with a host of policies for all domains; policy is what it
// says.
func stsWorld(t *testing.T, policy func(domain string) string) (*world, *smtptest.CA) {
	t.Helper()
	return stsWorldWith(t, policy, func(*upstream.Config, *Options) {})
}

// stsWorldWith is a stsWorld with other settings.
func stsWorldWith(t *testing.T, policy func(domain string) string, set func(*upstream.Config, *Options)) (*world, *smtptest.CA) {
	t.Helper()
	ca, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(smtptest.Cert{Names: []string{"mta-sts.b.example", "mta-sts.c.example"}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := policy(strings.TrimPrefix(r.Host, "mta-sts."))
		if text == "404" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		w.Write([]byte(text))
	})}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	w := newWorld(t, func(c *upstream.Config, o *Options) {
		c.MTASTS, c.CA = true, ca.WriteFile(t, t.TempDir())
		o.STSPort = l.Addr().(*net.TCPAddr).Port
		set(c, o)
	}, "mta-sts.b.example. 60 A 127.0.0.1", "mta-sts.c.example. 60 A 127.0.0.1", `_mta-sts.b.example. 60 TXT "v=STSv1; id=1;"`, `_mta-sts.c.example. 60 TXT "v=STSv1; id=1;"`)
	return w, ca
}

// encrypted is a receiver with a certificate for a name.
func (w *world) encrypted(ip string, ca *smtptest.CA, name string, offer ...string) *smtptest.Server {
	w.t.Helper()
	cert, err := ca.Issue(smtptest.Cert{Names: []string{name}})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.receiver(ip, smtptest.Options{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Offer: append([]string{"STARTTLS"}, smtptest.Common...),
		TLSOffer: append(offer, smtptest.Common...)})
}

func enforce(mx string) string {
	return "version: STSv1\nmode: enforce\nmx: " + mx + "\nmax_age: 86400\n"
}

func TestPolicyOfMTASTSIsKept(t *testing.T) {
	for _, row := range []struct {
		name, policy, want string
		start              func(w *world, ca *smtptest.CA)
	}{
		{"a valid certificate", enforce("mx1.b.example"), "250 final 250", func(w *world, ca *smtptest.CA) { w.encrypted("127.0.0.2", ca, "mx1.b.example") }},
		{"by a wildcard", enforce("*.b.example"), "250 final 250", func(w *world, ca *smtptest.CA) { w.encrypted("127.0.0.2", ca, "mx1.b.example") }},
		{"a certificate for another name", enforce("mx1.b.example"), "451", func(w *world, ca *smtptest.CA) { w.encrypted("127.0.0.2", ca, "x.b.example") }},
		{"a certificate of another authority", enforce("mx1.b.example"), "451", func(w *world, _ *smtptest.CA) {
			other, _ := smtptest.NewCA()
			w.encrypted("127.0.0.2", other, "mx1.b.example")
		}},
		{"no STARTTLS", enforce("mx1.b.example"), "451", func(w *world, _ *smtptest.CA) { w.receiver("127.0.0.2", smtptest.Options{}) }},
		{"none of its hosts", enforce("mx9.b.example"), "451", func(w *world, ca *smtptest.CA) { w.encrypted("127.0.0.2", ca, "mx1.b.example") }},
		{"the second host alone", enforce("mx2.b.example"), "250 final 250", func(w *world, ca *smtptest.CA) {
			w.encrypted("127.0.0.2", ca, "mx1.b.example")
			w.encrypted("127.0.0.3", ca, "mx2.b.example")
		}},
		{"testing", "version: STSv1\nmode: testing\nmx: mx9.b.example\nmax_age: 86400\n", "250 final 250", func(w *world, _ *smtptest.CA) { w.receiver("127.0.0.2", smtptest.Options{}) }},
		{"none", "version: STSv1\nmode: none\nmax_age: 86400\n", "250 final 250", func(w *world, _ *smtptest.CA) { w.receiver("127.0.0.2", smtptest.Options{}) }},
		{"a policy that cannot be read", "<html>", "250 final 250", func(w *world, _ *smtptest.CA) { w.receiver("127.0.0.2", smtptest.Options{}) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, ca := stsWorld(t, func(string) string { return row.policy })
			row.start(w, ca)
			w.domain("b.example", "mx1.b.example 127.0.0.2", "mx2.b.example 127.0.0.3")
			s := w.send("x@b.example")
			if s.codes() != row.want {
				t.Fatalf("%s", s)
			}
			enforced := strings.Contains(row.policy, "enforce")
			switch {
			case s.codes() == "451":
				if s.to[0].Status != "4.7.5" || s.to[0].Own.Class != mail.ClassTLSRequired {
					t.Errorf("%s, %+v", s, s.to[0].Own)
				}
			case enforced != (s.tls == "TLSv1.3 (MTA-STS)"):
				t.Errorf("over %q", s.tls)
			}
		})
	}
}

// TestWeakerConnectionIsNotUsed for a domain that asks for more, although both have
// one host and a connection is kept.
func TestWeakerConnectionIsNotUsed(t *testing.T) {
	w, ca := stsWorld(t, func(domain string) string {
		if domain == "b.example" {
			return enforce("mx1.b.example")
		}
		return "version: STSv1\nmode: none\nmax_age: 86400\n"
	})
	r := w.encrypted("127.0.0.2", ca, "mx1.b.example")
	w.domain("b.example", "mx1.b.example 127.0.0.2")
	w.domain("c.example", "mx1.c.example 127.0.0.2")
	for i, row := range []struct{ to, tls string }{{"x@c.example", "TLSv1.3"}, {"x@b.example", "TLSv1.3 (MTA-STS)"}, {"x@c.example", "TLSv1.3"}} {
		if s := w.send(row.to); s.codes() != "250 final 250" || s.tls != row.tls {
			t.Errorf("message %d: %s over %q", i, s, s.tls)
		}
	}
	if n := r.Accepted(); n != 2 {
		t.Errorf("%d connections, want one for each level", n)
	}
}

// TestPolicyAfterAFallBack: a host that is remembered for broken TLS gets nothing in
// plain text where a policy asks for TLS.
func TestPolicyAfterAFallBack(t *testing.T) {
	w, _ := stsWorld(t, func(domain string) string {
		if domain == "b.example" {
			return enforce("mx1.b.example")
		}
		return "version: STSv1\nmode: none\nmax_age: 86400\n"
	})
	r := w.receiver("127.0.0.2", smtptest.Options{Offer: append([]string{"STARTTLS"}, smtptest.Common...), Faults: []smtptest.Fault{{Stage: smtptest.Handshake, Drop: smtptest.DropBefore}}})
	w.domain("b.example", "mx1.b.example 127.0.0.2")
	w.domain("c.example", "mx1.c.example 127.0.0.2")
	if s := w.send("x@c.example"); s.codes() != "250 final 250" || s.tls != "" {
		t.Fatalf("%s over %q", s, s.tls)
	}
	if s := w.send("x@b.example"); s.codes() != "451" || s.to[0].Status != "4.7.5" || len(r.Messages()) != 1 {
		t.Errorf("%s", s)
	}
}

// TestREQUIRETLSNeedsAPolicyThatIsMet (RFC 8689): a certificate that nobody has looked
// at is not enough.
func TestREQUIRETLSNeedsAPolicyThatIsMet(t *testing.T) {
	w, ca := stsWorld(t, func(domain string) string {
		if domain == "b.example" {
			return enforce("mx1.b.example")
		}
		return "version: STSv1\nmode: none\nmax_age: 86400\n"
	})
	w.encrypted("127.0.0.2", ca, "mx1.b.example", "REQUIRETLS")
	w.domain("b.example", "mx1.b.example 127.0.0.2")
	w.domain("c.example", "mx1.c.example 127.0.0.2")
	for to, want := range map[string]int{"x@b.example": 250, "x@c.example": 550} {
		tx := w.up.Begin(upstream.Route{}, &mail.Envelope{From: rcpt("a@a.example").Address, RequireTLS: true})
		r, err := tx.Recipients(t.Context(), []mail.Recipient{rcpt(to)}, nil)
		if err != nil || r[0].Code != want {
			t.Errorf("%s: %v, %v", to, r, err)
		}
		tx.Close()
	}
}

// TestDomainsDoNotMoveMailOfOthers: whoever names the hosts of another domain as its own,
// and asks for a certificate that they do not have, does not send that domain's mail to its
// second host.
func TestDomainsDoNotMoveMailOfOthers(t *testing.T) {
	w, ca := stsWorld(t, func(string) string { return enforce("*.b.example") })
	first := w.encrypted("127.0.0.2", ca, "mx1.victim.example")
	w.receiver("127.0.0.3", smtptest.Options{})
	w.domain("victim.example", "mx1.victim.example 127.0.0.2", "mx2.victim.example 127.0.0.3")
	w.domain("b.example", "mx1.b.example 127.0.0.2", "mx2.b.example 127.0.0.4")
	if s := w.send("x@b.example"); s.codes() != "451" {
		t.Fatalf("%s", s)
	}
	a, err := w.up.finder.Find(t.Context(), "b.example", w.up.cfg.Families(nil))
	if err != nil || len(a.Targets) != 2 || !a.Exchangers[0].Addresses[0].Failing {
		t.Errorf("%+v, %v: its own host is not tried last", a, err)
	}
	if s := w.send("x@victim.example"); s.codes() != "250 final 250" || len(first.Messages()) != 1 {
		t.Errorf("%s at %s", s, s.host)
	}
}

// TestHostsThatRefuseTLS where a policy asks for it: the client hears why, it is counted as
// what it is, and the host stays the first one for domains without a policy.
func TestHostsThatRefuseTLS(t *testing.T) {
	for _, row := range []struct {
		name, counted string
		fault         smtptest.Fault
	}{
		{"STARTTLS is offered and refused", "starttls-not-supported", smtptest.Fault{Stage: smtptest.StartTLS, Reply: "454 4.7.0 no TLS now"}},
		{"EHLO is not known", "starttls-not-supported", smtptest.Fault{Stage: smtptest.Hello, Times: 1, Reply: "502 5.5.1 what?"}},
		{"plain text comes behind the reply to STARTTLS", "validation-failure", smtptest.Fault{Stage: smtptest.StartTLS, Times: 1, Raw: "220 go\r\n250 go on\r\n"}},
		{"EHLO is not known under TLS", "", smtptest.Fault{Stage: smtptest.Hello, After: 1, Times: 1, Reply: "502 5.5.1 what?"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, ca := stsWorld(t, func(string) string { return enforce("*.b.example") })
			cert, err := ca.Issue(smtptest.Cert{Names: []string{"mx1.b.example"}})
			if err != nil {
				t.Fatal(err)
			}
			first := w.receiver("127.0.0.2", smtptest.Options{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Offer: append([]string{"STARTTLS"}, smtptest.Common...), Faults: []smtptest.Fault{row.fault}})
			w.receiver("127.0.0.3", smtptest.Options{})
			w.domain("victim.example", "mx1.victim.example 127.0.0.2", "mx2.victim.example 127.0.0.3")
			w.domain("b.example", "mx1.b.example 127.0.0.2")
			s := w.send("x@b.example")
			if s.codes() != "451" || len(first.Messages()) > 0 || row.counted != "" && s.to[0].Status != "4.7.5" {
				t.Fatalf("%s", s)
			}
			want := "[]"
			if row.counted != "" {
				want = "[{sts " + row.counted + " 1}]"
			}
			if got := fmt.Sprint(w.up.TLSCounts()); got != want {
				t.Errorf("counted %s, want %s", got, want)
			}
			if s := w.send("x@victim.example"); s.codes() != "250 final 250" || len(first.Messages()) != 1 {
				t.Errorf("%s at %s", s, s.host)
			}
		})
	}
}

// TestRecordsThatCannotBeUsedLeaveThePolicy: TLSA records of other usages ask for TLS, and
// take nothing away from what MTA-STS asks for.
func TestRecordsThatCannotBeUsedLeaveThePolicy(t *testing.T) {
	for _, row := range []struct{ name, policy, cert, want, tls, counted string }{
		{"a certificate that is valid", "mx1.b.example", "mx1.b.example", "250 final 250", "TLSv1.3 (MTA-STS)", "success"},
		{"one for another name", "mx1.b.example", "x.b.example", "451", "", "certificate-host-mismatch"},
		{"a host that the policy does not name", "mx9.b.example", "mx1.b.example", "451", "", "validation-failure"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, ca := stsWorld(t, func(string) string { return enforce(row.policy) })
			w.zone.Sign()
			w.encrypted("127.0.0.2", ca, row.cert)
			w.domain("b.example", "mx1.b.example 127.0.0.2")
			w.zone.Add(fmt.Sprintf("_%d._tcp.mx1.b.example. 60 TLSA 1 1 1 %s", w.port, strings.Repeat("ab", 32)))
			if s := w.send("x@b.example"); s.codes() != row.want || s.tls != row.tls {
				t.Errorf("%s over %q", s, s.tls)
			}
			if got := fmt.Sprint(w.up.TLSCounts()); got != "[{sts "+row.counted+" 1}]" {
				t.Errorf("counted %s", got)
			}
		})
	}
}

// TestPolicyThatChangedWithTheHosts is fetched again before mail waits for it, whether or not
// the hosts have TLSA records that cannot be used, and is the one that is reported.
func TestPolicyThatChangedWithTheHosts(t *testing.T) {
	tested := strings.Replace(enforce("mx1.b.example"), "enforce", "testing", 1)
	for _, row := range []struct {
		name, policy, want, tls, counted string
		tlsa                             bool
	}{
		{name: "it names the host now", policy: enforce("mx1.b.example"), want: "250 final 250", tls: "TLSv1.3 (MTA-STS)", counted: "sts success"},
		{name: "it enforces nothing now", policy: tested, want: "250 final 250", tls: "TLSv1.3", counted: "sts success"},
		{name: "it is as it was", policy: enforce("mx9.b.example"), want: "451", counted: "sts validation-failure"},
		{name: "it names the host now", policy: enforce("mx1.b.example"), want: "250 final 250", tls: "TLSv1.3 (MTA-STS)", counted: "sts success", tlsa: true},
		{name: "it enforces nothing now", policy: tested, want: "250 final 250", tls: "TLSv1.3", counted: "dane tlsa-invalid", tlsa: true},
		{name: "it is as it was", policy: enforce("mx9.b.example"), want: "451", counted: "sts validation-failure", tlsa: true},
	} {
		t.Run(fmt.Sprintf("%s, TLSA %v", row.name, row.tlsa), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "sts.json")
			before := fmt.Sprintf(`{"b.example":{"mode":"enforce","mx":["mx9.b.example"],"max_age":%d,"id":"1","fetched":%q}}`, 24*time.Hour, time.Now().Add(-time.Hour).Format(time.RFC3339))
			if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
				t.Fatal(err)
			}
			w, ca := stsWorldWith(t, func(string) string { return row.policy }, func(_ *upstream.Config, o *Options) { o.STSFile = file })
			w.encrypted("127.0.0.2", ca, "mx1.b.example")
			w.domain("b.example", "mx1.b.example 127.0.0.2")
			if row.tlsa {
				w.zone.Sign()
				w.zone.Add(fmt.Sprintf("_%d._tcp.mx1.b.example. 60 TLSA 1 1 1 %s", w.port, strings.Repeat("ab", 32)))
			}
			if s := w.send("x@b.example"); s.codes() != row.want || s.tls != row.tls {
				t.Errorf("%s over %q", s, s.tls)
			}
			if got := fmt.Sprint(w.up.TLSCounts()); got != "[{"+row.counted+" 1}]" {
				t.Errorf("counted %s", got)
			}
		})
	}
}

// TestReportsFetchNoPolicy: a message waits for the policy once, also where it ends at once
// or cannot be had in time, and is reported under the one that it met.
func TestReportsFetchNoPolicy(t *testing.T) {
	var fetched atomic.Int32
	w, ca := stsWorld(t, func(string) string {
		fetched.Add(1)
		return strings.Replace(enforce("mx1.b.example"), "86400", "0", 1)
	})
	w.encrypted("127.0.0.2", ca, "mx1.b.example")
	w.domain("b.example", "mx1.b.example 127.0.0.2")
	if s := w.send("x@b.example"); s.codes() != "250 final 250" || s.tls != "TLSv1.3 (MTA-STS)" {
		t.Errorf("%s over %q", s, s.tls)
	}
	if got := fmt.Sprint(fetched.Load(), w.up.TLSCounts()); got != "1 [{sts success 1}]" {
		t.Error(got)
	}
}

// TestDomainsThatAHostDoesNotKnow do not move the mail of those that it knows: some hosts
// say 252 to a recipient whom they cannot verify, or hang up on one whom they do not relay to.
func TestDomainsThatAHostDoesNotKnow(t *testing.T) {
	for _, fault := range []smtptest.Fault{
		{Stage: smtptest.Rcpt, To: "x@evil.example", Reply: "252 2.1.5 perhaps"},
		{Stage: smtptest.Rcpt, To: "x@evil.example", Drop: smtptest.DropBefore},
	} {
		w := newWorld(t, nil)
		first := w.receiver("127.0.0.2", smtptest.Options{Faults: []smtptest.Fault{fault}})
		w.receiver("127.0.0.3", smtptest.Options{})
		w.domain("victim.example", "mx1.victim.example 127.0.0.2", "mx2.victim.example 127.0.0.3")
		w.domain("evil.example", "mx.evil.example 127.0.0.2")
		if s := w.send("x@evil.example"); s.codes() != "451" {
			t.Fatalf("%s", s)
		}
		if s := w.send("x@victim.example"); s.codes() != "250 final 250" || len(first.Messages()) != 1 {
			t.Errorf("%s at %s", s, s.host)
		}
	}
}

// TestCertificateOfManyNames is not repeated at length in the fault, which log and journal
// keep; what is wrong with it is still told apart.
func TestCertificateOfManyNames(t *testing.T) {
	w, ca := stsWorld(t, func(string) string { return enforce("*.b.example") })
	names := make([]string, 90)
	for i := range names {
		names[i] = fmt.Sprintf("%s%d.example", strings.Repeat("n", 50), i)
	}
	cert, err := ca.Issue(smtptest.Cert{Names: names})
	if err != nil {
		t.Fatal(err)
	}
	w.receiver("127.0.0.2", smtptest.Options{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Offer: append([]string{"STARTTLS"}, smtptest.Common...)})
	w.domain("b.example", "mx1.b.example 127.0.0.2")
	s := w.send("x@b.example")
	if s.codes() != "451" || len(s.to[0].Own.Err.Error()) > 1000 {
		t.Errorf("%s, a fault of %d octets", s, len(s.to[0].Own.Err.Error()))
	}
	if got := fmt.Sprint(w.up.TLSCounts()); got != "[{sts certificate-host-mismatch 1}]" {
		t.Error(got)
	}
}
