package resolve

import (
	"math"
	"time"

	"github.com/miekg/dns"
)

// kept is an answer in the cache. Most are packed as they came over the wire: there are
// tens of thousands, and each would take three times as much otherwise.
type kept struct {
	wire   string  // of the records; "" where there are none
	whole  *Answer // what is not packed; nil: it is
	until  int64   // Unix time in nanoseconds
	size   int32
	ttl    uint32 // in seconds
	state  AnswerState
	secure bool
}

// maxPacked is how many octets are unpacked for each who asks again.
const maxPacked = 1 << 10

// keepAnswer makes the entry of an answer to a question.
func keepAnswer(q question, a *Answer, until time.Time) kept {
	k := kept{until: until.UnixNano(), size: int32(a.size()), ttl: uint32(min(a.TTL/time.Second, math.MaxUint32)), state: a.State, secure: a.Secure}
	ok := a.State != Fault && a.Name == q.name && len(a.Aliases) == 0 && a.TTL%time.Second == 0
	if ok {
		k.wire, ok = pack(a.RRs)
	}
	if !ok {
		whole := *a
		k.whole = &whole
	}
	return k
}

// answer is what was kept.
func (k *kept) answer(q question) Answer {
	if k.whole != nil {
		return *k.whole
	}
	return Answer{State: k.state, Name: q.name, RRs: unpack(k.wire), TTL: time.Duration(k.ttl) * time.Second, Secure: k.secure}
}

// pack writes records one after another; ok is false for what had better stay as it is.
func pack(rrs []dns.RR) (wire string, ok bool) {
	var b [maxPacked]byte
	at := 0
	for _, rr := range rrs {
		next, err := dns.PackRR(rr, b[:], at, nil, false)
		if err != nil {
			return "", false
		}
		at = next
	}
	return string(b[:at]), true
}

// unpack reads what pack wrote.
func unpack(wire string) (rrs []dns.RR) {
	b := []byte(wire)
	for at := 0; at < len(b); {
		rr, next, err := dns.UnpackRR(b, at)
		if err != nil {
			return rrs // pack wrote it
		}
		rrs, at = append(rrs, rr), next
	}
	return rrs
}
