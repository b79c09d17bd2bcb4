package identity

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"postern/internal/resolve"
)

func TestDMARCRemedyIsForTheBrokenRecord(t *testing.T) {
	signed := newTestKeys(t).rsa
	for _, c := range []struct {
		name    string
		domain  string
		records map[string][]string
		want    Status
		record  string // of _dmarc; "" for none
		say     string
	}{
		{"broken below a good one", "news.example.org", map[string][]string{"example.org": {"v=DMARC1; p=reject"}, "news.example.org": {"v=DMARC1; sp=reject"}},
			Fail, "news.example.org v=DMARC1; p=reject; sp=reject", "or take it out: then that of example.org holds, with p=reject"},
		{"broken below one with sp=quarantine", "news.example.org", map[string][]string{"example.org": {"v=DMARC1; p=reject; sp=quarantine"}, "news.example.org": {"v=DMARC1; t=y"}},
			Fail, "news.example.org v=DMARC1; p=quarantine; t=y", "with p=quarantine"},
		{"broken above", "news.example.org", map[string][]string{"example.org": {"v=DMARC1; pct=50; adkim=s"}},
			Fail, "example.org v=DMARC1; p=none; pct=50; adkim=s; rua=mailto:postmaster@example.org", "mend the record"},
		{"a policy with a slip of the pen", "example.org", map[string][]string{"example.org": {"v=DMARC1; p=rejct; sp=quarantine; np=Reject; ruf=mailto:x@example.org"}},
			Fail, "example.org v=DMARC1; p=reject; sp=quarantine; np=reject; ruf=mailto:x@example.org", ""},
		{"a policy for subdomains that is none", "a.example.org", map[string][]string{"example.org": {"v=DMARC1; p=reject; sp=all; psd=n"}},
			Fail, "example.org v=DMARC1; p=reject; psd=n", ""},
		{"a tag that cannot be read", "example.org", map[string][]string{"example.org": {"v=DMARC1; p=reject; ???; fo=1"}},
			Fail, "example.org v=DMARC1; p=reject; fo=1", "cannot be read"},
		{"a tag twice", "example.org", map[string][]string{"example.org": {"v=DMARC1; p=none; p=reject; pct=10; pct=20"}},
			Fail, "example.org v=DMARC1; p=reject; pct=10", "occurs twice"},
		{"two records", "example.org", map[string][]string{"example.org": {"v=DMARC1; p=none; rua=mailto:a@example.org", "v=DMARC1; p=quarantine; sp=reject"}},
			Fail, "example.org v=DMARC1; p=quarantine; sp=reject; rua=mailto:a@example.org", "2 records"},
		{"two records below a good one", "news.example.org", map[string][]string{"example.org": {"v=DMARC1; p=reject"}, "news.example.org": {"v=DMARC1; p=none", "v=DMARC1; p=none"}},
			Warn, "news.example.org v=DMARC1; p=reject", "that of example.org holds, with p=reject"},
		{"the version is not first", "example.org", map[string][]string{"example.org": {"p=reject; v=DMARC1; pct=100"}},
			Fail, "example.org v=DMARC1; p=reject; pct=100", "v=DMARC1 must be its first tag"},
		{"the version in other letters, below a good one", "news.example.org", map[string][]string{"example.org": {"v=DMARC1; p=quarantine"}, "news.example.org": {"v=dmarc1; p=none"}},
			Warn, "news.example.org v=DMARC1; p=quarantine", "is not a record"},
		{"none", "example.org", nil, Warn, "example.org v=DMARC1; p=none; rua=mailto:postmaster@example.org", "start with p=none"},
		{"none, for a subdomain", "news.example.org", nil, Warn, "news.example.org v=DMARC1; p=none; rua=mailto:postmaster@news.example.org", ""},
		{"good", "example.org", map[string][]string{"example.org": {"v=DMARC1; p=reject"}}, Pass, "", ""},
		{"good, of the parent", "news.example.org", map[string][]string{"example.org": {"v=DMARC1; p=reject"}}, Pass, "", ""},
		{"what is no record stands beside", "example.org", map[string][]string{"example.org": {"v=DMARC1; p=reject", "hello"}}, Pass, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			key := signed
			key.Domain, key.Selector = "example.org", "s1"
			z := zoneOf{"TXT s1._domainkey.example.org": {strings.TrimPrefix(txt("", key.Record), " TXT ")}, "MX " + c.domain: {"10 mail.example.org."}}
			for name, v := range c.records {
				z["TXT _dmarc."+name] = v
			}
			id := oneDomain(c.domain, "192.0.2.1")
			id.Domains[0].SignedBy, id.Keys = "example.org", []KeyIdentity{key}
			if c.records == nil && c.domain != "example.org" {
				id.Domains[0].SignedBy = c.domain
			}
			fs := z.findings(t, id, "dmarc")
			if n := len(fs); n != 1 && (n != 2 || c.want != Warn || fs[1].Status != Pass) {
				t.Fatalf("findings %+v", fs)
			}
			f, want := fs[0], "" // the worst
			if name, text, ok := strings.Cut(c.record, " "); ok {
				want = `_dmarc.` + name + `. IN TXT "` + text + `"`
			}
			if f.Status != c.want || f.Record != want || !strings.Contains(f.Seen+" | "+f.Change, c.say) {
				t.Errorf("%s: %s | %s | %s; want %s %s with %q", f.Status, f.Seen, f.Change, f.Record, c.want, want, c.say)
			}
		})
	}
}

// FuzzDMARCRemedy: whatever stands in DNS, what is offered is one record that can
// be read, with a policy that is no weaker than before.
func FuzzDMARCRemedy(f *testing.F) {
	for _, s := range []string{"v=DMARC1; sp=reject", "p=reject; v=DMARC1", "v=DMARC1; p=none; p=reject; \"x\\\"=1", "v=dmarc1;p=q;sp=;np=r", "v=DMARC1; p=reject; rua=mailto:ü@x"} {
		f.Add(s, "none")
		f.Add(s, "reject")
	}
	f.Fuzz(func(t *testing.T, text, floor string) {
		if !isPolicy(floor) || floor != strings.ToLower(floor) || len(text) > 1000 {
			return
		}
		line := mendDMARC("d.example", floor, policyRecord{domain: "d.example", text: text})
		if !IsPublishable(line) {
			t.Fatalf("%q became %s", text, line)
		}
		rr, _ := dns.NewRR(line)
		made := dmarcRecords("d.example", resolve.Texts([]dns.RR{rr}))[0]
		if strictness(made.tags["p"]) < strictness(floor) {
			t.Errorf("%s is weaker than %s", line, floor)
		}
		for _, old := range dmarcRecords("d.example", []string{text}) {
			for _, tag := range []string{"p", "sp", "np"} {
				if old.err == nil && strictness(old.tags[tag]) > strictness(made.tags[tag]) {
					t.Errorf("%q became %s", text, line)
				}
			}
		}
	})
}
