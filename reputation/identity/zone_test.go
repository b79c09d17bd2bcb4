package identity

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
	"postern/internal/resolve"
)

// zoneOf is what a name server answers: values by "TYPE name".
type zoneOf map[string][]string

// resolver returns a resolver that asks a server of the zone.
func (z zoneOf) resolver(t *testing.T) *resolve.Resolver {
	t.Helper()
	z = maps.Clone(z) // questions may still come when a test changes it
	address := dnstest.Serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		name := strings.TrimSuffix(strings.ToLower(q.Question[0].Name), ".")
		for _, v := range z[dns.TypeToString[q.Question[0].Qtype]+" "+name] {
			if q.Question[0].Qtype == dns.TypeTXT && !strings.HasPrefix(v, `"`) {
				v = `"` + v + `"`
			}
			m.Answer = append(m.Answer, dnstest.Record(q.Question[0].Name, q.Question[0].Qtype, 60, v))
		}
		if len(m.Answer) == 0 {
			m.Rcode = dns.RcodeNameError
			for key := range z {
				if strings.HasSuffix(key, " "+name) {
					m.Rcode = dns.RcodeSuccess
				}
			}
		}
		w.WriteMsg(m)
	})
	return newTestResolver(t, 20*time.Second, address)
}

// findings runs the checks of an identity on the zone.
func (z zoneOf) findings(t *testing.T, id Presence, check string) (fs []Finding) {
	t.Helper()
	for _, f := range Check(t.Context(), z.resolver(t), id, time.Now).Findings {
		if f.Check == check && (check != "spf" || f.Stream == "") {
			fs = append(fs, f)
		}
	}
	return fs
}
