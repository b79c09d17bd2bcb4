package mx

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
	"postern/internal/smtptest"
)

// sum is a digest of the right length.
var sum = strings.Repeat("ab", 32)

// TestTLSAIsAskedForWhereItCounts: only behind a signed MX and a signed address, and
// no fault is taken for "none".
func TestTLSAIsAskedForWhereItCounts(t *testing.T) {
	z := dnstest.StartZone(t,
		"a.example. 60 MX 10 mx.a.example.", "mx.a.example. 60 A 12.0.0.1", "_25._tcp.mx.a.example. 60 TLSA 3 1 1 "+sum,
		"openmx.example. 60 MX 10 mx.a.example.",
		"openaddr.example. 60 MX 10 mx.open.example.", "mx.open.example. 60 A 12.0.0.2", "_25._tcp.mx.open.example. 60 TLSA 3 1 1 "+sum,
		"opentlsa.example. 60 MX 10 mx.ot.example.", "mx.ot.example. 60 A 12.0.0.3", "_25._tcp.mx.ot.example. 60 TLSA 3 1 1 "+sum,
		"none.example. 60 MX 10 mx.none.example.", "mx.none.example. 60 A 12.0.0.4",
		"broken.example. 60 MX 10 mx.broken.example.", "mx.broken.example. 60 A 12.0.0.5",
		"implicit.example. 60 A 12.0.0.6", "_25._tcp.implicit.example. 60 TLSA 2 0 1 "+sum,
		"alias.example. 60 MX 10 mx.alias.example.", "mx.alias.example. 60 CNAME real.example.", "real.example. 60 A 12.0.0.7", "_25._tcp.real.example. 60 TLSA 3 1 1 "+sum,
		"alias2.example. 60 MX 10 mx.alias2.example.", "mx.alias2.example. 60 CNAME bare.example.", "bare.example. 60 A 12.0.0.8", "_25._tcp.mx.alias2.example. 60 TLSA 3 1 1 "+sum,
		"away.example. 60 MX 10 mx.away.example.", "mx.away.example. 60 CNAME host.open2.example.", "host.open2.example. 60 A 12.0.0.11", "_25._tcp.mx.away.example. 60 TLSA 3 1 1 "+sum,
		"awaybare.example. 60 MX 10 mx.awaybare.example.", "mx.awaybare.example. 60 CNAME host.open2.example.",
		"openalias.example. 60 MX 10 mx.openalias.example.", "mx.openalias.example. 60 CNAME mx.a.example.", "_25._tcp.mx.openalias.example. 60 TLSA 3 1 1 "+sum,
		"pkix.example. 60 MX 10 mx.pkix.example.", "mx.pkix.example. 60 A 12.0.0.9", "_25._tcp.mx.pkix.example. 60 TLSA 0 0 1 "+sum, "_25._tcp.mx.pkix.example. 60 TLSA 1 1 1 "+sum,
		"odd.example. 60 MX 10 mx.odd.example.", "mx.odd.example. 60 A 12.0.0.10", "_25._tcp.mx.odd.example. 60 TLSA 3 1 1 abcd", "_25._tcp.mx.odd.example. 60 TLSA 3 2 1 "+sum, "_25._tcp.mx.odd.example. 60 TLSA 3 1 9 "+sum,
	)
	z.Sign("openmx.example", "mx.open.example", "_25._tcp.mx.ot.example", "host.open2.example", "mx.openalias.example")
	z.Break("_25._tcp.mx.broken.example", dns.RcodeServerFailure)
	f := newFinder(t, z.Address, nil)
	ask := func(f *Finder, domain string) string {
		a, err := f.Find(t.Context(), domain, Families{IPv4: true})
		if err != nil || len(a.Targets) != 1 {
			t.Fatalf("%s: %v, %v", domain, a, err)
		}
		tlsa, err := f.TLSA(t.Context(), domain, a.Targets[0])
		switch {
		case errors.Is(err, ErrNotKnown):
			return "not known"
		case tlsa == nil:
			return "nothing"
		}
		return fmt.Sprintf("%s %v, %d usable", tlsa.Base, tlsa.Names, len(tlsa.Records))
	}
	for domain, want := range map[string]string{
		"a.example": "mx.a.example [mx.a.example a.example], 1 usable", "openmx.example": "nothing", "openaddr.example": "nothing", "opentlsa.example": "nothing",
		"none.example": "nothing", "broken.example": "not known", "implicit.example": "implicit.example [implicit.example], 1 usable",
		"alias.example": "real.example [real.example mx.alias.example alias.example], 1 usable", "alias2.example": "mx.alias2.example [mx.alias2.example alias2.example], 1 usable",
		// The alias is signed, what it leads to is not (RFC 7672 s. 2.2.2).
		"away.example": "mx.away.example [mx.away.example away.example], 1 usable", "awaybare.example": "nothing", "openalias.example": "nothing",
		"pkix.example": "mx.pkix.example [mx.pkix.example pkix.example], 0 usable", "odd.example": "mx.odd.example [mx.odd.example odd.example], 0 usable",
	} {
		if got := ask(f, domain); got != want {
			t.Errorf("%s: %s, want %s", domain, got, want)
		}
	}
	for name, n := range map[string]int{"_25._tcp.mx.open.example": 0, "_25._tcp.mx.a.example": 1} {
		if got := z.Asked(name); got != n {
			t.Errorf("%s: asked %d times, want %d", name, got, n)
		}
	}
	if got := ask(newFinder(t, z.Address, func(o *Options) { o.Config.DANE = DANEOff }), "a.example"); got != "nothing" {
		t.Errorf("switched off: %s", got)
	}
}

// TestAliasOfWhichDNSSaysNothing is the alias of no host if DNS does not say either whether
// it has TLSA records: none of its addresses is used.
func TestAliasOfWhichDNSSaysNothing(t *testing.T) {
	for _, row := range []struct {
		name, secure string // the question about addresses to which the answer is signed
		answered     string // a question that has an answer
		tlsa         string // the record in it; "": none
		want         string
	}{
		{name: "nothing is signed", want: "no host"},
		{name: "the first address is signed", secure: "A", want: "no host"},
		{name: "it is an alias", secure: "A", answered: "CNAME", want: "mx.a.example"},
		{name: "it has no records", answered: "TLSA", want: "nothing"},
		{name: "it has records", answered: "TLSA", tlsa: "3 1 1 " + sum, want: "mx.a.example"},
	} {
		server := dnstest.Serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.RecursionAvailable = true
			name, qtype := q.Question[0].Name, q.Question[0].Qtype
			kind := dns.TypeToString[qtype]
			m.AuthenticatedData = kind == "MX" || kind == row.secure || kind == row.answered
			switch {
			case kind == "MX":
				m.Answer = append(m.Answer, dnstest.Record("a.example.", dns.TypeMX, 60, "10 mx.a.example."))
			case kind == "A" || kind == "AAAA":
				m.Answer = append(m.Answer, dnstest.Record("mx.a.example.", dns.TypeCNAME, 60, "b.example."), dnstest.Record("b.example.", qtype, 60, map[string]string{"A": "12.0.0.1", "AAAA": "2a00::1"}[kind]))
			case kind == row.answered && kind == "CNAME":
				m.Answer = append(m.Answer, dnstest.Record(name, qtype, 60, "b.example."))
			case kind == "TLSA" && row.tlsa != "":
				m.Answer = append(m.Answer, dnstest.Record(name, qtype, 60, row.tlsa))
			case kind != row.answered:
				m.Rcode = dns.RcodeServerFailure
			}
			w.WriteMsg(m)
		})
		f := newFinder(t, server, nil)
		a, err := f.Find(t.Context(), "a.example", Families{IPv4: true, IPv6: true})
		got := "no host"
		for _, target := range a.Targets {
			got = "nothing"
			if target.Secure {
				got = target.Host
			}
		}
		if got != row.want || (got == "no host") != errors.Is(err, ErrDNS) {
			t.Errorf("%s: %s, want %s; %v", row.name, got, row.want, err)
		}
	}
}

// TestAliasOfOurselves leaves out hosts that are no better, also where DNS does not say
// whether the alias is signed: mail would come back.
func TestAliasOfOurselves(t *testing.T) {
	server := dnstest.Serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		switch name, qtype := q.Question[0].Name, q.Question[0].Qtype; {
		case qtype == dns.TypeMX:
			m.AuthenticatedData = true
			m.Answer = append(m.Answer, dnstest.Record("a.example.", qtype, 60, "10 mx.a.example."), dnstest.Record("a.example.", qtype, 60, "20 backup.example."))
		case qtype == dns.TypeA && name == "backup.example.":
			m.Answer = append(m.Answer, dnstest.Record(name, qtype, 60, "12.0.0.2"))
		case qtype == dns.TypeA && name == "mx.a.example.":
			m.Answer = append(m.Answer, dnstest.Record(name, dns.TypeCNAME, 60, "relay.example."), dnstest.Record("relay.example.", qtype, 60, "12.0.0.1"))
		default:
			m.Rcode = dns.RcodeServerFailure
		}
		w.WriteMsg(m)
	})
	a, err := newFinder(t, server, nil).Find(t.Context(), "a.example", Families{IPv4: true})
	if a.Problem != Loop || len(a.Targets) > 0 {
		t.Errorf("%+v, %v", a, err)
	}
}

// TestRealResolverValidates: a Knot that signs and an Unbound that validates, with
// a zone beside that is not signed.
func TestRealResolverValidates(t *testing.T) {
	knot, key := dnstest.SignedKnot(t, "example", "@ MX 10 mx\nmx A 11.0.0.1\n_25._tcp.mx TLSA 3 1 1 "+sum+"\nalias CNAME mx\nviaalias MX 10 alias\n"+
		"away MX 10 out\nout CNAME host.open.\n_25._tcp.out TLSA 3 1 1 "+sum+"\ntwice MX 10 first\nfirst CNAME second\nsecond CNAME host.open.\n_25._tcp.first TLSA 3 1 1 "+sum+"\n"+
		"below MX 10 host.tree\ntree DNAME open.\n_25._tcp.second TLSA 3 1 1 "+sum+"\nbare MX 10 out2\nout2 CNAME host.open.\n")
	open := dnstest.Knot(t, map[string]string{"open": "@ MX 10 mx\nmx A 11.0.0.2\n_25._tcp.mx TLSA 3 1 1 " + sum + "\nhost A 11.0.0.3\nhost AAAA 2a01:4f8::1\n_25._tcp.host TLSA 3 1 1 " + sum + "\n"})
	f := newFinder(t, dnstest.ValidatingUnbound(t, map[string]string{"example": knot, "open": open}, key), nil)
	for domain, want := range map[string]bool{"example": true, "viaalias.example": true, "open": false, "away.example": true, "twice.example": true, "below.example": false, "bare.example": false} {
		a, err := f.Find(t.Context(), domain, Families{IPv4: true, IPv6: true})
		if err != nil || len(a.Targets) == 0 {
			t.Fatalf("%s: %+v, %v", domain, a, err)
		}
		tlsa, err := f.TLSA(t.Context(), domain, a.Targets[0])
		if err != nil || (tlsa != nil) != want {
			t.Errorf("%s: secure %v, %v, %v", domain, a.Targets[0].Secure, tlsa, err)
		}
	}
	// Who is asked from afar is not believed.
	if f := (&Finder{cfg: f.cfg}); f.cfg.DNSSEC != DNSSECLocal {
		t.Errorf("dnssec is %s by default", f.cfg.DNSSEC)
	}
}

// TestCertificatesAndTheirRecords is the table of RFC 7672 s. 3.
func TestCertificatesAndTheirRecords(t *testing.T) {
	ca, err := smtptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	other, _ := smtptest.NewCA()
	issue := func(ca *smtptest.CA, c smtptest.Cert) *x509.Certificate {
		pair, err := ca.Issue(c)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf
	}
	root := func(ca *smtptest.CA) *x509.Certificate {
		c, err := x509.ParseCertificate(ca.Certificate())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	leaf, wrong := issue(ca, smtptest.Cert{Names: []string{"mx.example"}}), issue(ca, smtptest.Cert{Names: []string{"x.example"}})
	old := issue(ca, smtptest.Cert{Names: []string{"mx.example"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	forDomain := issue(ca, smtptest.Cert{Names: []string{"d.example"}})
	record := func(usage, selector, matching int, c *x509.Certificate) *dns.TLSA {
		text, err := dns.CertificateToDANE(uint8(selector), uint8(matching), c)
		if err != nil {
			t.Fatal(err)
		}
		return &dns.TLSA{Hdr: dns.RR_Header{Name: "x.", Rrtype: dns.TypeTLSA}, Usage: uint8(usage), Selector: uint8(selector), MatchingType: uint8(matching), Certificate: text}
	}
	for _, row := range []struct {
		name    string
		records []*dns.TLSA
		chain   []*x509.Certificate
		want    bool
	}{
		{"3 1 1 of the key", []*dns.TLSA{record(3, 1, 1, leaf)}, []*x509.Certificate{leaf}, true},
		{"3 1 1, another name", []*dns.TLSA{record(3, 1, 1, wrong)}, []*x509.Certificate{wrong}, true},
		{"3 1 1, expired", []*dns.TLSA{record(3, 1, 1, old)}, []*x509.Certificate{old}, true},
		{"3 0 1 of the certificate", []*dns.TLSA{record(3, 0, 1, leaf)}, []*x509.Certificate{leaf}, true},
		{"3 1 2", []*dns.TLSA{record(3, 1, 2, leaf)}, []*x509.Certificate{leaf}, true},
		{"3 0 0, all of it", []*dns.TLSA{record(3, 0, 0, leaf)}, []*x509.Certificate{leaf}, true},
		{"3 1 1 of another key", []*dns.TLSA{record(3, 1, 1, wrong)}, []*x509.Certificate{leaf}, false},
		{"the second of two", []*dns.TLSA{record(3, 1, 1, wrong), record(3, 1, 1, leaf)}, []*x509.Certificate{leaf}, true},
		{"3 1 1 of the authority", []*dns.TLSA{record(3, 1, 1, root(ca))}, []*x509.Certificate{leaf, root(ca)}, false},
		{"2 1 1 of the authority", []*dns.TLSA{record(2, 1, 1, root(ca))}, []*x509.Certificate{leaf, root(ca)}, true},
		{"2 0 1 of the authority", []*dns.TLSA{record(2, 0, 1, root(ca))}, []*x509.Certificate{leaf, root(ca)}, true},
		{"2 1 1, not sent along", []*dns.TLSA{record(2, 1, 1, root(ca))}, []*x509.Certificate{leaf}, false},
		{"2 0 0, not sent along", []*dns.TLSA{record(2, 0, 0, root(ca))}, []*x509.Certificate{leaf}, true},
		{"2 1 1, another name", []*dns.TLSA{record(2, 1, 1, root(ca))}, []*x509.Certificate{wrong, root(ca)}, false},
		{"2 1 1, the name of the domain", []*dns.TLSA{record(2, 1, 1, root(ca))}, []*x509.Certificate{forDomain, root(ca)}, true},
		{"2 1 1, expired", []*dns.TLSA{record(2, 1, 1, root(ca))}, []*x509.Certificate{old, root(ca)}, false},
		{"2 1 1 of another authority", []*dns.TLSA{record(2, 1, 1, root(other))}, []*x509.Certificate{leaf, root(ca)}, false},
		{"2 1 1, an authority that did not sign it", []*dns.TLSA{record(2, 1, 1, root(other))}, []*x509.Certificate{leaf, root(other)}, false},
		{"no certificate", []*dns.TLSA{record(3, 1, 1, leaf)}, nil, false},
	} {
		tlsa := TLSA{Base: "mx.example", Names: []string{"mx.example", "d.example"}, Records: row.records}
		if err := tlsa.Verify(tls.ConnectionState{PeerCertificates: row.chain}); (err == nil) != row.want {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	if _, err := hex.DecodeString((&TLSA{Records: []*dns.TLSA{record(3, 1, 1, leaf)}}).Key()); err != nil {
		t.Error(err)
	}
}
