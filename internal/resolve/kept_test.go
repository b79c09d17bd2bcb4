package resolve

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

// TestKeptAnswersAreThoseThatCame: who asks later is told what the first one was.
func TestKeptAnswersAreThoseThatCame(t *testing.T) {
	const name = "a.example."
	records := func(qtype uint16, values ...string) (rrs []dns.RR) {
		for _, v := range values {
			rrs = append(rrs, dnstest.Record(name, qtype, 300, v))
		}
		return rrs
	}
	many := records(dns.TypeTXT, `"`+strings.Repeat("x", 200)+`"`)
	for range 10 {
		many = append(many, many[0])
	}
	for what, c := range map[string]struct {
		a      Answer
		packed bool
	}{
		"MX":         {Answer{State: Found, Name: name, RRs: records(dns.TypeMX, "10 mx1.a.example.", "20 mx2.b.example."), TTL: 5 * time.Minute}, true},
		"null MX":    {Answer{State: Found, Name: name, RRs: records(dns.TypeMX, "0 ."), TTL: time.Hour}, true},
		"A":          {Answer{State: Found, Name: name, RRs: records(dns.TypeA, "192.0.2.1", "192.0.2.2"), TTL: time.Second}, true},
		"AAAA":       {Answer{State: Found, Name: name, RRs: records(dns.TypeAAAA, "2001:db8::1"), Secure: true}, true},
		"TXT":        {Answer{State: Found, Name: name, RRs: records(dns.TypeTXT, `"v=STSv1; id=1;" "\"\\\000\255"`), TTL: time.Hour}, true},
		"TLSA":       {Answer{State: Found, Name: name, RRs: records(dns.TypeTLSA, "3 1 1 "+strings.Repeat("ab", 32)), TTL: time.Hour, Secure: true}, true},
		"no data":    {Answer{State: NoData, Name: name, TTL: time.Minute}, true},
		"no name":    {Answer{State: NoName, Name: name, TTL: time.Minute, Secure: true}, true},
		"an alias":   {Answer{State: Found, Name: "b.example.", Aliases: []string{"b.example."}, RRs: records(dns.TypeA, "192.0.2.1"), TTL: time.Minute}, false},
		"a fault":    {Answer{Name: name, Err: errors.New("SERVFAIL"), TTL: faultTTL}, false},
		"large ones": {Answer{State: Found, Name: name, RRs: many, TTL: time.Minute}, false},
	} {
		k := keepAnswer(question{name: name}, &c.a, time.Now())
		got, records := clean(k.answer(question{name: name}))
		want, all := clean(c.a)
		if !reflect.DeepEqual(got, want) || records != all || (k.whole == nil) != c.packed {
			t.Errorf("%s: %+v with\n%swant %+v with\n%spacked %v", what, got, records, want, all, k.whole == nil)
		}
	}
}

// clean is an answer with its records as text: on the way some of them get shorter.
func clean(a Answer) (Answer, string) {
	var lines strings.Builder
	for _, rr := range a.RRs {
		lines.WriteString(rr.String() + "\n")
	}
	a.RRs = nil
	return a, lines.String()
}
