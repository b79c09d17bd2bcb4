package reputation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// udpSize is what fits through every network unfragmented.
const udpSize = 1232

// attempt puts a question to the servers in turn, each twice, until one gives a
// plain answer. Whatever else comes is a fault.
func (r *Resolver) attempt(ctx context.Context, q question) answer {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return answer{name: q.name, err: errors.New("too many questions are under way")}
	}
	servers, _ := r.servers.get()
	var last answer
	for round := range 2 {
		for i, server := range servers {
			left := 2*len(servers) - round*len(servers) - i
			last = r.put(ctx, server, q, left)
			if last.state != fault || ctx.Err() != nil {
				return last
			}
		}
	}
	return last
}

// put asks one server, with its part of the time that is left.
func (r *Resolver) put(ctx context.Context, server string, q question, attempts int) answer {
	if deadline, ok := ctx.Deadline(); ok && attempts > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(attempts))
		defer cancel()
	}
	m, err := exchange(ctx, server, q)
	if err != nil {
		return answer{name: q.name, err: fmt.Errorf("%s: %w", server, err), ttl: faultTTL}
	}
	a := read(q, m)
	if a.state == fault {
		a.err = fmt.Errorf("%s: %w", server, a.err)
	}
	return a
}

// exchange sends one question over UDP, over TCP where the answer does not fit,
// and without EDNS where the server does not know it (RFC 6891 s. 6.2.2).
func exchange(ctx context.Context, server string, q question) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(q.name, q.qtype)
	m.SetEdns0(udpSize, false)
	reply, err := send(ctx, "udp", server, m)
	if err == nil && (reply.Rcode == dns.RcodeFormatError || reply.Rcode == dns.RcodeNotImplemented) {
		m.Extra = nil
		reply, err = send(ctx, "udp", server, m)
	}
	if reply != nil && reply.Truncated {
		if reply, err = send(ctx, "tcp", server, m); err == nil && reply.Truncated {
			return nil, errors.New("answer truncated over TCP")
		}
		if err != nil {
			return nil, fmt.Errorf("answer truncated, and TCP: %w", err)
		}
	}
	if err != nil {
		return nil, err
	}
	if len(reply.Question) != 1 || dns.CanonicalName(reply.Question[0].Name) != q.name || reply.Question[0].Qtype != q.qtype {
		return nil, errors.New("answer to another question")
	}
	return reply, nil
}

func send(ctx context.Context, network, server string, m *dns.Msg) (*dns.Msg, error) {
	c := dns.Client{Net: network, UDPSize: udpSize}
	if deadline, ok := ctx.Deadline(); ok {
		c.Timeout = time.Until(deadline)
	}
	reply, _, err := c.ExchangeContext(ctx, m, server)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return reply, errors.New("no answer in time")
	}
	return reply, err
}

// read says what a reply means.
func read(q question, m *dns.Msg) answer {
	a := answer{name: q.name, ttl: maxTTL}
	switch {
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return answer{name: q.name, err: errors.New(rcodeText(m.Rcode)), ttl: faultTTL}
	case lame(m):
		return answer{name: q.name, err: errors.New("lame: the server is not responsible and does not ask on"), ttl: faultTTL}
	}
	if err := a.chase(q.qtype, m.Answer); err != nil {
		return answer{name: q.name, err: err, ttl: faultTTL}
	}
	switch {
	case len(a.rrs) > 0:
		a.state = found
	case m.Rcode == dns.RcodeNameError:
		a.state, a.ttl = noName, min(a.ttl, negativeTTL(m))
	default:
		a.state, a.ttl = noData, min(a.ttl, negativeTTL(m))
	}
	return a
}

func rcodeText(rcode int) string {
	if s, ok := dns.RcodeToString[rcode]; ok {
		return s
	}
	return fmt.Sprintf("RCODE %d", rcode)
}

// lame reports whether the server neither is responsible for the name nor asks
// on, and so knows nothing.
func lame(m *dns.Msg) bool {
	return !m.Authoritative && !m.RecursionAvailable && len(m.Answer) == 0
}

// chase follows the CNAMEs within one reply and collects the records at their
// end.
func (a *answer) chase(qtype uint16, rrs []dns.RR) error {
	for range maxAliases + 1 {
		target := ""
		for _, rr := range rrs {
			h := rr.Header()
			if dns.CanonicalName(h.Name) != a.name {
				continue
			}
			if c, ok := rr.(*dns.CNAME); ok && qtype != dns.TypeCNAME {
				target = dns.CanonicalName(c.Target)
			} else if h.Rrtype != qtype {
				continue
			} else {
				a.rrs = append(a.rrs, rr)
			}
			a.ttl = min(a.ttl, time.Duration(h.Ttl)*time.Second)
		}
		if len(a.rrs) > 0 || target == "" {
			return nil
		}
		if slices.Contains(a.aliases, target) {
			return errors.New("CNAMEs in a circle")
		}
		a.aliases = append(a.aliases, target)
		a.name = target
	}
	return fmt.Errorf("more than %d CNAMEs in a row", maxAliases)
}

// negativeTTL is how long an answer without records may be kept (RFC 2308
// s. 5); a minute where it does not say.
func negativeTTL(m *dns.Msg) time.Duration {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			ttl := time.Duration(min(soa.Hdr.Ttl, soa.Minttl)) * time.Second
			return min(ttl, maxNegative)
		}
	}
	return time.Minute
}

// unescape undoes the presentation form in which the library holds the strings
// of a TXT record: \" \\ and \DDD.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\\' || i+1 == len(s):
			b = append(b, s[i])
		case i+3 < len(s) && isDigit(s[i+1]) && isDigit(s[i+2]) && isDigit(s[i+3]):
			b = append(b, (s[i+1]-'0')*100+(s[i+2]-'0')*10+s[i+3]-'0')
			i += 3
		default:
			i++
			b = append(b, s[i])
		}
	}
	return string(b)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
