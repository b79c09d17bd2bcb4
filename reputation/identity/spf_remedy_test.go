package identity

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestSPFRemedyKeepsWhatIsThere(t *testing.T) {
	z := zoneOf{
		"TXT _spf.x.example": {"v=spf1 ip4:198.51.100.0/24 ~all"}, "A d.example": {"198.51.100.1"}, "MX d.example": {"10 m.example."},
		"TXT none.example": {"hello"}, "TXT broken.example": {"v=spf1 ipv4:1.2.3.4 -all"}, "TXT two.example": {"v=spf1 -all", "v=spf1 a -all"},
		"TXT loop.example": {"v=spf1 include:d.example -all"}, "TXT deep.example": {"v=spf1 ip4:198.51.100.7 include:broken.example -all"},
		"TXT six.example":   {"v=spf1 a:d.example a:d.example a:d.example a:d.example a:d.example -all"},
		"TXT seven.example": {"v=spf1 include:six.example -all include:six.example"}, "A v3.example": {"198.51.100.3"},
	}
	for i := range 11 {
		z["MX many.example"] = append(z["MX many.example"], fmt.Sprintf("10 m%d.example.", i))
	}
	ours := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	const front = "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 "
	many := strings.Repeat(" ip4:198.51.100.1", 30)
	for _, c := range []struct {
		name    string
		records []string
		want    string // "" for none
		say     string // in what is left out, or in why there is none
	}{
		{"nothing", nil, front + "~all", ""},
		{"an include", []string{"v=spf1 include:_spf.x.example -all"}, front + "include:_spf.x.example -all", ""},
		{"two records", []string{"v=spf1 a -all", "v=spf1 mx a ~all"}, front + "a mx -all", ""},
		{"an end that is neutral", []string{"v=spf1 mx ?all"}, front + "mx ?all", ""},
		{"no end", []string{"v=spf1 mx"}, front + "mx", ""},
		{"everybody", []string{"v=spf1 -ip4:192.0.2.1 mx +all"}, front + "mx ~all", "lets everybody send"},
		{"a redirect", []string{"v=spf1 redirect=_spf.x.example"}, front + "redirect=_spf.x.example", ""},
		{"a redirect that all outdoes", []string{"v=spf1 mx -all redirect=_spf.x.example"}, front + "mx -all", ""},
		{"a redirect beside another record", []string{"v=spf1 redirect=_spf.x.example", "v=spf1 mx -all"}, front + "mx include:_spf.x.example -all", ""},
		{"a modifier and an explanation behind all", []string{"v=spf1 mx -all exp=why.example moo=1"}, front + "mx exp=why.example moo=1 -all", ""},
		{"what follows all stays out", []string{"v=spf1 mx -all ip4:203.0.113.0/24"}, front + "mx -all", ""},
		{"our address, another mask", []string{"v=spf1 -ip4:192.0.2.1/32 ip4:192.0.2.1/31 -all"}, front + "ip4:192.0.2.1/31 -all", ""},
		{"a word that is none", []string{"v=spf1 ip4:192.0.2.1 ipv4:192.0.2.1 -all"}, front + "-all", `"ipv4:192.0.2.1", which is neither`},
		{"an address behind a blank", []string{"v=spf1 ip4: 192.0.2.1 -all"}, front + "-all", `"ip4:"`},
		{"a comma", []string{"v=spf1 ip4:198.51.100.9, mx -all"}, front + "mx -all", "not an address"},
		{"a second explanation", []string{"v=spf1 exp=a.example exp=b.example -all"}, front + "exp=a.example -all", "once only"},
		{"itself", []string{"v=spf1 include:d.example mx -all"}, front + "mx -all", "leads back to itself"},
		{"itself, by redirect", []string{"v=spf1 mx redirect=D.example."}, front + "mx ~all", "leads back to itself"},
		{"an include without a record", []string{"v=spf1 include:none.example mx -all"}, front + "mx -all", "without an SPF record"},
		{"an include that does not exist", []string{"v=spf1 include:gone.example mx -all"}, front + "mx -all", "without an SPF record"},
		{"an include with two records", []string{"v=spf1 include:two.example mx -all"}, front + "mx -all", "2 SPF records"},
		{"an include that cannot be read", []string{"v=spf1 include:broken.example mx -all"}, front + "mx -all", "ipv4:1.2.3.4"},
		{"a loop of two", []string{"v=spf1 include:loop.example mx -all"}, "", "leads to include:d.example, which leads back"},
		{"a fault two records away", []string{"v=spf1 include:deep.example mx -all"}, "", "have that mended first"},
		{"three names without an answer", []string{"v=spf1 a:v1.example a:v2.example a:v3.example a:v4.example -all"}, front + "a:v3.example -all", "a:v4.example, which names what does not exist"},
		{"two names without an answer", []string{"v=spf1 a:v1.example a:v2.example -all"}, front + "a:v1.example a:v2.example -all", ""},
		{"more than ten look-ups", []string{"v=spf1 include:six.example include:seven.example -all"}, "", "include:six.example 6, include:seven.example 7"},
		{"eleven MX", []string{"v=spf1 mx:many.example a -all"}, front + "a -all", "names 11 MX"},
		{"a macro", []string{"v=spf1 exists:%{l}.x.example -all"}, front + "exists:%{l}.x.example -all", ""},
		{"a long record", []string{"v=spf1" + strings.ReplaceAll(many, ".1 ", ".2 ") + " mx:" + strings.Repeat("a", 60) + ".example." + strings.Repeat("b", 60) + ".example." + strings.Repeat("c", 60) + ".example -all"}, "split", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := z.resolver(t)
			m := remedySPF(t.Context(), r, "d.example", c.records, ours)
			want := ""
			if c.want != "" {
				want = `d.example. IN TXT "` + c.want + `"`
			}
			if c.want == "split" {
				if want = m.record; strings.Count(want, `"`) != 4 || !IsPublishable(want) {
					t.Errorf("got %s", want)
				}
			}
			if m.record != want || !strings.Contains(m.advice("x"), c.say) || c.say == "" && len(m.without) > 0 {
				t.Errorf("%s with %s; want %s with %q", m.record, m.advice("x"), want, c.say)
			}
			if m.record != "" && !IsPublishable(m.record) {
				t.Errorf("%s cannot be published", m.record)
			}
		})
	}
}

// TestSPFOfRealSenders: macros of the sender and of EHLO are filled with those
// of the configuration; where nobody has listed the senders, that is told.
func TestSPFOfRealSenders(t *testing.T) {
	z := zoneOf{
		"TXT l.example": {"v=spf1 exists:%{l}._spf.l.example -all"}, "A anna._spf.l.example": {"127.0.0.2"}, "A postmaster._spf.l.example": {"127.0.0.2"},
		"TXT s.example": {"v=spf1 include:%{l}._spf.s.example ?all"}, "TXT anna._spf.s.example": {"v=spf1 ip4:192.0.2.1 -all"}, "TXT bert._spf.s.example": {"v=spf1 -all"},
		"TXT h.example": {"v=spf1 exists:%{h}._h.h.example ~all"}, "A mail.pass.example._h.h.example": {"127.0.0.2"},
		"TXT p.example":                   {"v=spf1 exists:%{p}.p.example ip4:192.0.2.1 -all"},
		"TXT o.example":                   {"v=spf1 exists:%{o}.%{i}.x.example -all"},
		"A o.example.192.0.2.1.x.example": {"127.0.0.2"},
		"TXT late.example":                {"v=spf1 ip4:192.0.2.1 exists:%{l}.x.example -all"},
		"TXT inc.example":                 {"v=spf1 ip4:192.0.2.1 include:l.example -all"},
		"TXT quote.example":               {`"\"v=spf1 include:l.example -all\""`}, "TXT semi.example": {` v=spf1; a -all`},
		"TXT bad.example":    {"v=spf1 ip4:192.0.2.1 ipv4:198.51.100.1 -all"},
		"TXT incbad.example": {"v=spf1 include:bad.example ip4:192.0.2.1 -all"},
	}
	for _, c := range []struct {
		name, domain string
		senders      []string
		open         bool
		want         Status
		result, say  string
	}{
		{"the only sender is known to the record", "l.example", []string{"anna"}, false, Pass, "pass", "for anna@l.example"},
		{"one of two is not", "l.example", []string{"anna", "bert"}, false, Fail, "fail", "for bert@l.example"},
		{"one of two has another record", "s.example", []string{"anna", "bert"}, false, Warn, "neutral", "for bert@s.example"},
		{"one of two has none", "s.example", []string{"anna", "carl"}, false, Fail, "permerror", "for carl@s.example"},
		{"any sender, and the stand-in passes", "l.example", nil, true, Warn, "pass", "any may send here"},
		{"any sender, and the stand-in fails", "s.example", nil, false, Unknown, "permerror", "any may send here"},
		{"any sender, and a listed one fails", "l.example", []string{"bert"}, true, Fail, "fail", "for bert@l.example"},
		{"the EHLO name", "h.example", nil, false, Pass, "pass", "EHLO mail.pass.example"},
		{"the name of the address", "p.example", nil, false, Warn, "pass", "%{p}"},
		{"the domain and the address", "o.example", nil, false, Pass, "pass", ""},
		{"a macro behind our address", "late.example", nil, true, Pass, "pass", ""},
		{"quotes in the text", "quote.example", nil, true, Fail, "none", `is not a record, which begins with v=spf1 and a blank | publish an SPF record | quote.example. IN TXT "v=spf1 ip4:192.0.2.1 include:l.example -all"`},
		{"a blank in front and a semicolon", "semi.example", nil, true, Fail, "none", `semi.example. IN TXT "v=spf1 ip4:192.0.2.1 a -all"`},
		{"a fault behind our address", "bad.example", nil, true, Fail, "permerror", `of which receivers read nothing: "ipv4:198.51.100.1" is neither a mechanism nor a modifier. The record below leaves out "ipv4:198.51.100.1"`},
		{"a fault behind our address in an include", "incbad.example", nil, true, Fail, "permerror", "have the record of bad.example mended"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := oneDomain(c.domain, "192.0.2.1")
			id.Domains[0].Senders, id.Domains[0].Open = c.senders, c.open
			fs := z.findings(t, id, "spf")
			if len(fs) != 1 {
				t.Fatalf("%d findings", len(fs))
			}
			f := fs[0]
			if all := f.Seen + " | " + f.Change + " | " + f.Record; f.Status != c.want || f.Result != c.result || !strings.Contains(all, c.say) || f.Status != Pass && f.Change == "" {
				t.Errorf("%s %s: %s; want %s %s with %q", f.Status, f.Result, all, c.want, c.result, c.say)
			}
		})
	}
}
