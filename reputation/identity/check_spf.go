package identity

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"blitiri.com.ar/go/spf"
	"github.com/miekg/dns"

	"postern/internal/resolve"
)

// spfQuestion is what one evaluation by RFC 7208 is asked about.
type spfQuestion struct {
	domain string
	local  string // local-part of the reverse-path
	helo   string
	ip     netip.Addr
	// instead is a record to evaluate in place of that of domain; "" for none.
	instead string
}

// spfVerdict is the end of an evaluation by RFC 7208.
type spfVerdict struct {
	result    spf.Result
	mechanism string // that decided
	err       error
	macros    string // letters of the macros that were expanded on the way
	question  spfQuestion
}

// evaluateSPF evaluates the record of a domain for one sender and address. A
// record that does not follow the grammar is a permerror, whatever stands
// before the fault: the library would not look at it (RFC 7208 s. 4.6).
func evaluateSPF(ctx context.Context, r *resolve.Resolver, q spfQuestion) spfVerdict {
	v := spfVerdict{question: q}
	trace := func(format string, args ...any) {
		if letter, ok := expandedMacro(format, args); ok {
			v.macros += letter
		}
		if m, ok := decision(args); ok {
			v.mechanism = m
		}
	}
	v.result, v.err = spf.CheckHostWithSender(q.ip.AsSlice(), q.helo, q.local+"@"+q.domain,
		spf.WithContext(ctx), spf.WithResolver(spfResolver{r, q}), spf.WithTraceFunc(trace))
	var syntax *spfSyntaxError
	switch {
	case v.result == spf.None || errors.Is(v.err, spf.ErrMultipleRecords):
		v.mechanism = ""
	case errors.As(v.err, &syntax):
		v.mechanism = strconv.Quote(resolve.Printable(syntax.term))
	case v.result == spf.Neutral && v.err == nil:
		v.mechanism = "the end of the record"
	}
	return v
}

// expandedMacro returns the letter of the macro that a trace line tells of.
func expandedMacro(format string, args []any) (string, bool) {
	if format != "macro %q: %q" || len(args) != 2 {
		return "", false
	}
	body, _ := args[0].(string)
	if body == "" {
		return "", false
	}
	return strings.ToLower(body[:1]), true
}

// decision returns the mechanism that a trace line tells of. The last one is
// that of the domain's own record: what is included ends before.
func decision(args []any) (string, bool) {
	switch len(args) {
	case 1:
		if res, ok := args[0].(spf.Result); ok {
			return qualifier(res) + "all", true
		}
	case 3:
		field, isText := args[0].(string)
		res, isResult := args[1].(spf.Result)
		if isText && isResult {
			if strings.Contains(field, "=") {
				return field, true // redirect
			}
			return qualifier(res) + field, true
		}
	}
	return "", false
}

func qualifier(res spf.Result) string {
	switch res {
	case spf.Fail:
		return "-"
	case spf.SoftFail:
		return "~"
	case spf.Neutral:
		return "?"
	}
	return ""
}

// spoiltSPF picks the texts that were meant as SPF records and are none, and what
// each was meant to be.
func spoiltSPF(texts []string) (spoilt, meant []string) {
	for _, t := range texts {
		at := strings.Index(strings.ToLower(t), "v=spf1")
		if at < 0 || len(spfRecords([]string{t})) > 0 {
			continue
		}
		rest := strings.TrimRight(t[at+len("v=spf1"):], "\"' ")
		spoilt, meant = append(spoilt, t), append(meant, "v=spf1 "+strings.TrimLeft(rest, ";,:\t "))
	}
	return spoilt, meant
}

// spfResolver is what the library asks.
type spfResolver struct {
	r *resolve.Resolver
	q spfQuestion
}

func (s spfResolver) lookup(ctx context.Context, name string, qtype uint16) ([]dns.RR, error) {
	return s.end(name, s.r.Ask(ctx, name, qtype))
}

func (s spfResolver) end(name string, a resolve.Answer) ([]dns.RR, error) {
	switch a.State {
	case resolve.Found:
		return a.RRs, nil
	case resolve.Fault:
		return nil, &net.DNSError{Err: errorText(a.Err), Name: name, IsTemporary: true}
	}
	return nil, &net.DNSError{Err: "no such record", Name: name, IsNotFound: true}
}

// LookupTXT returns the texts, the strings of each joined. The library asks for
// them only to find the record of a name; one that does not follow the grammar is
// an error.
func (s spfResolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if s.q.instead != "" && sameName(name, s.q.domain) {
		return []string{s.q.instead}, nil
	}
	rrs, err := s.lookup(ctx, name, dns.TypeTXT)
	all := resolve.Texts(rrs)
	if records := spfRecords(all); len(records) == 1 {
		if _, bad := parseSPF(records[0]); len(bad) > 0 {
			bad[0].domain = name
			return nil, bad[0]
		}
	}
	return all, err
}

// LookupMX returns the exchangers.
func (s spfResolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	rrs, err := s.lookup(ctx, name, dns.TypeMX)
	var mxs []*net.MX
	for _, m := range resolve.Exchangers(rrs) {
		mxs = append(mxs, &net.MX{Host: m.Mx, Pref: m.Preference})
	}
	return mxs, err
}

// LookupIPAddr returns the addresses of both families.
func (s spfResolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	rrs, err := s.end(host, s.r.Hosts(ctx, host))
	var ips []net.IPAddr
	for _, a := range resolve.Addresses(rrs) {
		ips = append(ips, net.IPAddr{IP: a.AsSlice()})
	}
	return ips, err
}

// LookupAddr returns the reverse names.
func (s spfResolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	reverse, err := dns.ReverseAddr(addr)
	if err != nil {
		return nil, err
	}
	rrs, err := s.lookup(ctx, reverse, dns.TypePTR)
	return pointers(rrs), err
}

// spfRecords picks the SPF records (RFC 7208 s. 4.5).
func spfRecords(texts []string) []string {
	var records []string
	for _, t := range texts {
		if l := strings.ToLower(t); l == "v=spf1" || strings.HasPrefix(l, "v=spf1 ") {
			records = append(records, t)
		}
	}
	return records
}
