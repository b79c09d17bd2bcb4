package identity

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

// dmarcServer answers TXT questions from a table and counts them.
func dmarcServer(t *testing.T, records map[string][]string) (address string, asked *atomic.Int32) {
	asked = new(atomic.Int32)
	address = dnstest.Serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		name := strings.TrimSuffix(q.Question[0].Name, ".")
		asked.Add(1)
		for _, v := range records[name] {
			m.Answer = append(m.Answer, dnstest.Record(q.Question[0].Name, dns.TypeTXT, 60, `"`+v+`"`))
		}
		if len(m.Answer) == 0 {
			m.Rcode = dns.RcodeNameError
		}
		w.WriteMsg(m)
	})
	return address, asked
}

// TestTreeWalk holds the walk against the examples and rules of RFC 9989
// s. 4.10.
func TestTreeWalk(t *testing.T) {
	cases := []struct {
		name    string
		domain  string
		records map[string]string
		org     string
		policy  string
		asked   int
	}{
		{"own record", "example.com", map[string]string{"example.com": "v=DMARC1; p=reject"}, "example.com", "reject", 2},
		{"record of the parent", "a.example.com", map[string]string{"example.com": "v=DMARC1; p=reject; sp=quarantine"}, "example.com", "quarantine", 3},
		{"record of the parent without sp", "a.example.com", map[string]string{"example.com": "v=DMARC1; p=reject"}, "example.com", "reject", 3},
		{"own record goes first", "a.example.com", map[string]string{"a.example.com": "v=DMARC1; p=none", "example.com": "v=DMARC1; p=reject"}, "example.com", "none", 3},
		{"nearest record is not the organization's", "a.b.example.com", map[string]string{"b.example.com": "v=DMARC1; p=none", "example.com": "v=DMARC1; p=reject; sp=quarantine"}, "example.com", "quarantine", 4},
		{"psd=n ends the walk", "a.b.example.com", map[string]string{"b.example.com": "v=DMARC1; p=reject; psd=n", "example.com": "v=DMARC1; p=none"}, "b.example.com", "reject", 2},
		{"psd=y: one label below", "a.b.giant.bank", map[string]string{"bank": "v=DMARC1; p=reject; sp=quarantine; psd=y"}, "giant.bank", "quarantine", 4},
		{"psd=y of the domain itself", "bank", map[string]string{"bank": "v=DMARC1; p=reject; psd=y"}, "bank", "reject", 1},
		{"psd=y, organization with a record", "a.giant.bank", map[string]string{"giant.bank": "v=DMARC1; p=none", "bank": "v=DMARC1; p=reject; psd=y"}, "giant.bank", "none", 3},
		{"no record", "a.example.com", nil, "a.example.com", "", 3},
		{"eight questions at most", "a.b.c.d.e.f.g.h.i.j.mail.example.com", map[string]string{"example.com": "v=DMARC1; p=reject"}, "example.com", "reject", 8},
		{"not the first tag", "example.com", map[string]string{"example.com": "p=reject; v=DMARC1"}, "example.com", "", 2},
		{"wrong version", "example.com", map[string]string{"example.com": "v=DMARC2; p=reject"}, "example.com", "", 2},
		{"blanks around tags", "example.com", map[string]string{"example.com": "v = DMARC1 ; p = reject ;"}, "example.com", "reject", 2},
		{"no p= but reports", "example.com", map[string]string{"example.com": "v=DMARC1; rua=mailto:a@example.com"}, "example.com", "none", 2},
		{"no p= and no reports", "example.com", map[string]string{"example.com": "v=DMARC1"}, "example.com", "", 2},
		{"unreadable tags", "example.com", map[string]string{"example.com": "v=DMARC1; p=reject; ???"}, "example.com", "", 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			all := map[string][]string{}
			for name, v := range c.records {
				all["_dmarc."+name] = []string{v}
			}
			address, asked := dmarcServer(t, all)
			r := newTestResolver(t, 20*time.Second, address)
			w := walk(t.Context(), r, c.domain)
			_, policy := w.policy(c.domain, false, false)
			if org := w.organizational(c.domain); org != c.org || policy != c.policy {
				t.Errorf("organization %s, policy %q; want %s, %q", org, policy, c.org, c.policy)
			}
			if n := int(asked.Load()); n != c.asked {
				t.Errorf("asked %d times, want %d", n, c.asked)
			}
		})
	}
}

func FuzzDKIMAndDMARCRecords(f *testing.F) {
	for _, s := range []string{"", "v=DKIM1; k=rsa; p=", "v=DKIM1; p=MIGf; h=sha256:sha1; t=y:s", "v=DMARC1; p=reject; psd=y", ";;;=", "p=" + strings.Repeat("A", 400)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tags, err := parseTags(s)
		if err == nil && len(tags) > len(s) {
			t.Errorf("%d tags in %d octets", len(tags), len(s))
		}
		var fd Finding
		k := KeyIdentity{Domain: "d.example", Selector: "s", Type: "rsa", Public: "AAAA", Record: "v=DKIM1; k=rsa; p=AAAA"}
		if judgeRecord(&fd, k, s) == KeyPublished {
			t.Errorf("%q was taken for a key that cannot be read", s)
		}
		for _, r := range dmarcRecords("d.example", []string{s}) {
			w := walked{records: []policyRecord{r}}
			w.policy("d.example", false, false)
			w.policy("x.d.example", true, true)
			w.organizational("x.d.example")
		}
	})
}
