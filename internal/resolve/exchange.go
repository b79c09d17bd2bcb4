package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// udpSize is what fits through every network unfragmented.
const udpSize = 1232

// attempt puts a question to the servers in turn, each twice, until one gives a
// plain answer. Whatever else comes is a fault.
func (r *Resolver) attempt(ctx context.Context, q question) Answer {
	if most := r.limits.PerOwner; most > 0 {
		done, ok := r.shares.take(ctx, Owner(q.name), most)
		if !ok {
			return Answer{Name: q.name, Err: errors.New("too many questions about names of one owner are under way")}
		}
		defer done()
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return Answer{Name: q.name, Err: errors.New("too many questions are under way")}
	}
	servers, _ := r.servers.get()
	servers = r.limits.asked(servers)
	var last Answer
	for round := range 2 {
		for i, server := range servers {
			left := 2*len(servers) - round*len(servers) - i
			last = r.put(ctx, server, q, left)
			if last.State != Fault || ctx.Err() != nil {
				return last
			}
		}
	}
	return last
}

// asked are the servers that may answer. Where some are believed the others may not: what
// does not validate, or was made not to come, would be there and not signed.
func (o *Options) asked(servers []string) []string {
	other := func(s string) bool { return !isLocal(s) }
	if !o.DNSSEC || o.Trust || !slices.ContainsFunc(servers, other) {
		return servers
	}
	if local := slices.DeleteFunc(slices.Clone(servers), other); len(local) > 0 {
		return local
	}
	return servers
}

// put asks one server, with its part of the time that is left.
func (r *Resolver) put(ctx context.Context, server string, q question, attempts int) Answer {
	if deadline, ok := ctx.Deadline(); ok && attempts > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(attempts))
		defer cancel()
	}
	m, err := exchange(ctx, server, q, r.limits.DNSSEC)
	if err != nil {
		return Answer{Name: q.name, Err: fmt.Errorf("%s: %w", server, err), TTL: faultTTL}
	}
	a := read(q, m)
	a.Secure = a.State != Fault && m.AuthenticatedData && r.limits.DNSSEC && (r.limits.Trust || isLocal(server))
	if a.State == Fault {
		a.Err = fmt.Errorf("%s: %w", server, a.Err)
	}
	return a
}

// exchange sends one question over UDP, over TCP where the answer does not fit,
// and without EDNS where the server does not know it (RFC 6891 s. 6.2.2).
func exchange(ctx context.Context, server string, q question, dnssec bool) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(q.name, q.qtype)
	m.AuthenticatedData = dnssec // RFC 6840 s. 5.7: says that we want to know
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

// isLocal reports whether a server, with its port, is on this machine: nobody is on
// the way to it.
func isLocal(server string) bool {
	a, err := netip.ParseAddrPort(server)
	return err == nil && a.Addr().IsLoopback()
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
func read(q question, m *dns.Msg) Answer {
	a := Answer{Name: q.name, TTL: maxTTL}
	switch {
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return Answer{Name: q.name, Err: errors.New(rcodeText(m.Rcode)), TTL: faultTTL}
	case lame(m):
		return Answer{Name: q.name, Err: errors.New("lame: the server is not responsible and does not ask on"), TTL: faultTTL}
	}
	if err := a.chase(q.qtype, m.Answer); err != nil {
		return Answer{Name: q.name, Err: err, TTL: faultTTL}
	}
	switch {
	case len(a.RRs) > 0:
		a.State = Found
	case m.Rcode == dns.RcodeNameError:
		a.State, a.TTL = NoName, min(a.TTL, negativeTTL(m))
	default:
		a.State, a.TTL = NoData, min(a.TTL, negativeTTL(m))
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

var errCircle = errors.New("CNAMEs in a circle")

// chase follows the CNAMEs within one reply and collects the records at their
// end.
func (a *Answer) chase(qtype uint16, rrs []dns.RR) error {
	for range maxAliases + 1 {
		target := ""
		for _, rr := range rrs {
			h := rr.Header()
			if dns.CanonicalName(h.Name) != a.Name {
				continue
			}
			if c, ok := rr.(*dns.CNAME); ok && qtype != dns.TypeCNAME {
				target = dns.CanonicalName(c.Target)
			} else if h.Rrtype != qtype {
				continue
			} else {
				a.RRs = append(a.RRs, rr)
			}
			a.TTL = min(a.TTL, time.Duration(h.Ttl)*time.Second)
		}
		if len(a.RRs) > 0 || target == "" {
			return nil
		}
		if slices.Contains(a.Aliases, target) {
			return errCircle
		}
		a.Aliases = append(a.Aliases, target)
		a.Name = target
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
