package identity

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestPublishedRecordsMend: what is offered is put into the zone as it stands,
// and the same check then passes.
func TestPublishedRecordsMend(t *testing.T) {
	key := newTestKeys(t).rsa
	key.Domain, key.Selector = "d.example", "s1"
	quoted := func(value string) string { return strings.TrimPrefix(strings.TrimSpace(txt("", value)), "TXT ") }
	good := func() zoneOf {
		return zoneOf{"TXT d.example": {"v=spf1 ip4:192.0.2.1 -all"}, "MX d.example": {"10 mail.d.example."}, "A mail.d.example": {"192.0.2.1"},
			"PTR 1.2.0.192.in-addr.arpa": {"mail.d.example."}, "TXT mail.d.example": {"v=spf1 a -all"},
			"TXT _dmarc.d.example": {"v=DMARC1; p=reject"}, "TXT s1._domainkey.d.example": {quoted(key.Record)}}
	}
	for name, spoil := range map[string]func(z zoneOf){
		"no SPF record": func(z zoneOf) { delete(z, "TXT d.example") },
		"an SPF record with faults": func(z zoneOf) {
			z["TXT d.example"] = []string{"v=spf1 ipv4:1.1.1.1, include:d.example a: mx//129 +redirect=x.example exp=a exp=b moo=%{z} -all"}
		},
		"two SPF records": func(z zoneOf) {
			z["TXT d.example"] = []string{"v=spf1 mx redirect=x.example", "v=spf1 a ?all exp=x.example"}
		},
		"an SPF record of 900 octets": func(z zoneOf) {
			z["TXT d.example"] = []string{quoted("v=spf1" + strings.Repeat(" ip4:198.51.100.1/31", 4) + " ip6:" + strings.Repeat("2001:db8::1 ip6:", 50) + "2001:db8::2 -all")}
		},
		"no SPF record of the EHLO name":  func(z zoneOf) { z["TXT mail.d.example"] = nil },
		"no key":                          func(z zoneOf) { delete(z, "TXT s1._domainkey.d.example") },
		"a key cut short":                 func(z zoneOf) { z["TXT s1._domainkey.d.example"] = []string{key.Record[:200]} },
		"a key that is tested":            func(z zoneOf) { z["TXT s1._domainkey.d.example"] = []string{quoted(key.Record + "; t=y:s")} },
		"no DMARC record":                 func(z zoneOf) { delete(z, "TXT _dmarc.d.example") },
		"a broken DMARC record":           func(z zoneOf) { z["TXT _dmarc.d.example"] = []string{"v=DMARC1; p = ; sp=rejected; x; rua=https://x"} },
		"two DMARC records":               func(z zoneOf) { z["TXT _dmarc.d.example"] = []string{"v=DMARC1; p=none", "v=DMARC1; p=reject"} },
		"a DMARC record in other letters": func(z zoneOf) { z["TXT _dmarc.d.example"] = []string{"V=dmarc1; P=Reject"} },
		"no reverse name":                 func(z zoneOf) { delete(z, "PTR 1.2.0.192.in-addr.arpa") },
		"no address of the EHLO name":     func(z zoneOf) { z["A mail.d.example"] = nil },
		"no MX":                           func(z zoneOf) { delete(z, "MX d.example") },
	} {
		t.Run(name, func(t *testing.T) {
			z := good()
			spoil(z)
			id := Presence{Hostname: "mail.d.example", Keys: []KeyIdentity{key}}
			id.Streams = oneStream("mail.d.example", "192.0.2.1").Streams
			id.Domains = []DomainIdentity{{Name: "d.example", Open: true, Streams: []string{"main"}, SignedBy: "d.example"}}
			put := 0
			for _, check := range []string{"spf", "dkim", "dmarc", "ptr", "ehlo", "mx"} {
				for _, f := range z.all(t, id, check) {
					for line := range strings.SplitSeq(f.Record, "\n") {
						if line != "" {
							z.publish(t, line)
							put++
						}
					}
				}
			}
			if put == 0 {
				t.Fatal("nothing was offered")
			}
			for _, check := range []string{"spf", "dkim", "dmarc", "ptr", "ehlo", "mx"} {
				for _, f := range z.all(t, id, check) {
					if f.Status != Pass {
						t.Errorf("afterwards %s %s: %s; %s; %s", f.Status, f.Check, f.Seen, f.Change, f.Record)
					}
				}
			}
		})
	}
}

// all is findings with those of EHLO names.
func (z zoneOf) all(t *testing.T, id Presence, check string) (fs []Finding) {
	t.Helper()
	for _, f := range Check(t.Context(), z.resolver(t), id, time.Now).Findings {
		if f.Check == check {
			fs = append(fs, f)
		}
	}
	return fs
}

// publish puts a line of a zone file in place of what has its name and type.
func (z zoneOf) publish(t *testing.T, line string) {
	t.Helper()
	rr, err := dns.NewRR(line)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	name := strings.TrimSuffix(rr.Header().Name, ".")
	z[dns.TypeToString[rr.Header().Rrtype]+" "+name] = []string{strings.TrimPrefix(rr.String(), rr.Header().String())}
}

func TestWhatCannotBePublished(t *testing.T) {
	key := newTestKeys(t).rsa
	key.Domain, key.Selector = "d.example", "s1"
	good := []string{
		`d.example. IN TXT "v=spf1 -all"`, `_dmarc.d.example. IN TXT "v=DMARC1; p=none"`, `1.2.0.192.in-addr.arpa. IN PTR mail.d.example.`,
		"s1._domainkey.d.example. IN TXT ( " + strings.TrimPrefix(txt("", key.Record), " TXT ") + " )",
	}
	for _, line := range good {
		if !IsPublishable(strings.ReplaceAll(line, "\n", ""), key) {
			t.Errorf("%s was refused", line)
		}
	}
	for _, line := range []string{
		"", "d.example.", `d.example. IN TXT "v=spf1 ipv4:1.2.3.4 -all"`, `d.example. IN TXT "v=spf1 -all`, `d.example. IN TXT "` + strings.Repeat("a", 256) + `"`,
		`d..example. IN TXT "v=spf1 -all"`, strings.Repeat("a", 64) + `.example. IN TXT "v=spf1 -all"`, `d.example. IN A 192.0.2.300`, `d.example. IN PTR [192.0.2.1]..`,
		`_dmarc.d.example. IN TXT "v=DMARC1"`, `_dmarc.d.example. IN TXT "v=DMARC1; p=rejected"`, `_dmarc.d.example. IN TXT "p=none; v=DMARC1"`, `_dmarc.d.example. IN TXT "v=DMARC1; p=none; p=none"`,
		`s1._domainkey.d.example. IN TXT "v=DKIM1; p="`, `s2._domainkey.d.example. IN TXT "` + key.Record[:200] + `"`, `s1._domainkey.d.example. IN TXT "` + key.Record[:200] + `"`,
	} {
		if IsPublishable(line, key) {
			t.Errorf("%s was taken", line)
		}
	}
}
