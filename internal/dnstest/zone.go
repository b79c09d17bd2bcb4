package dnstest

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// Zone is what a name server of our own answers. A test may change it.
type Zone struct {
	// Address of the server, as host:port.
	Address string

	mu      sync.Mutex
	records map[string][]dns.RR // by name
	broken  map[string]int      // names with the RCODE to answer
	asked   map[string]int
	// signed: answers are said to be validated where the question asks for that,
	// except for those of names in unsigned.
	signed   bool
	unsigned map[string]bool
}

// Sign has answers said to be validated, except for those of some names.
func (z *Zone) Sign(except ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.signed, z.unsigned = true, map[string]bool{}
	for _, name := range except {
		z.unsigned[dns.CanonicalName(name)] = true
	}
}

// StartZone serves records in the form of a zone file, with full names. Names that
// it does not hold do not exist.
func StartZone(t *testing.T, records ...string) *Zone {
	t.Helper()
	z := &Zone{records: map[string][]dns.RR{}, broken: map[string]int{}, asked: map[string]int{}}
	z.Add(records...)
	z.Address = Serve(t, z.answer)
	return z
}

// Add puts records into the zone; it panics where one is none.
func (z *Zone) Add(records ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil || rr == nil {
			panic(fmt.Sprintf("record %q: %v", text, err))
		}
		name := dns.CanonicalName(rr.Header().Name)
		z.records[name] = append(z.records[name], rr)
	}
}

// Set puts records in the place of all that the zone has for a name.
func (z *Zone) Set(name string, records ...string) {
	z.mu.Lock()
	delete(z.records, dns.CanonicalName(name))
	z.mu.Unlock()
	z.Add(records...)
}

// Break has questions for a name answered by an RCODE, such as SERVFAIL; -1 ends
// that.
func (z *Zone) Break(name string, rcode int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.broken[dns.CanonicalName(name)] = rcode
	if rcode < 0 {
		delete(z.broken, dns.CanonicalName(name))
	}
}

// Asked is how many questions for a name have come.
func (z *Zone) Asked(name string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked[dns.CanonicalName(name)]
}

func (z *Zone) answer(w dns.ResponseWriter, q *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable, m.Compress = true, true
	m.AuthenticatedData = z.signed && q.AuthenticatedData
	name, qtype := dns.CanonicalName(q.Question[0].Name), q.Question[0].Qtype
	z.asked[name]++
	if rcode, ok := z.broken[name]; ok {
		m.Rcode = rcode
		w.WriteMsg(m)
		return
	}
	if !z.holds(name) {
		m.Rcode = dns.RcodeNameError
	}
	for range 10 {
		target := ""
		m.AuthenticatedData = m.AuthenticatedData && !z.unsigned[name]
		for _, rr := range z.records[name] {
			if c, ok := rr.(*dns.CNAME); ok && qtype != dns.TypeCNAME {
				target = dns.CanonicalName(c.Target)
			} else if rr.Header().Rrtype != qtype {
				continue
			}
			m.Answer = append(m.Answer, rr)
		}
		if target == "" {
			break
		}
		name = target
	}
	w.WriteMsg(m)
}

// holds reports whether a name or one below it is in the zone.
func (z *Zone) holds(name string) bool {
	for n := range z.records {
		if n == name || strings.HasSuffix(n, "."+name) {
			return true
		}
	}
	return false
}
