package reputation

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

func TestCheckerBelievesNoResolverThatLies(t *testing.T) {
	address := dnstest.Serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		if q.Question[0].Qtype == dns.TypeA && !strings.HasPrefix(q.Question[0].Name, "real.") {
			m.Answer = append(m.Answer, dnstest.Record(q.Question[0].Name, dns.TypeA, 60, "198.51.100.99"))
		}
		w.WriteMsg(m)
	})
	r := newTestResolver(t, 10*time.Second, address)
	r.Probe(t.Context())
	if v := NewChecker(r).Check(t.Context(), "gone.example"); v != TakesMail {
		t.Errorf("a domain was refused (%d) on the word of a resolver that lies", v)
	}
}
