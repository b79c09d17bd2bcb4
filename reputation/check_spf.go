package reputation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"blitiri.com.ar/go/spf"
	"github.com/miekg/dns"
)

// spfVerdict is the end of an evaluation by RFC 7208.
type spfVerdict struct {
	result    spf.Result
	mechanism string // that decided
	err       error
}

// evaluateSPF evaluates the record of a domain for one address.
func (r *Resolver) evaluateSPF(ctx context.Context, domain string, ip netip.Addr) spfVerdict {
	var v spfVerdict
	trace := func(_ string, args ...any) {
		if m, ok := decision(args); ok {
			v.mechanism = m
		}
	}
	v.result, v.err = spf.CheckHostWithSender(ip.AsSlice(), domain, "postmaster@"+domain,
		spf.WithContext(ctx), spf.WithResolver(spfResolver{r}), spf.WithTraceFunc(trace))
	switch {
	case v.result == spf.None || errors.Is(v.err, spf.ErrMultipleRecords):
		v.mechanism = ""
	case v.result == spf.Neutral && v.err == nil:
		v.mechanism = "the end of the record"
	}
	return v
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

// spfResolver is what the library asks.
type spfResolver struct{ r *Resolver }

func (s spfResolver) lookup(ctx context.Context, name string, qtype uint16) ([]dns.RR, error) {
	return s.end(name, s.r.ask(ctx, name, qtype))
}

func (s spfResolver) end(name string, a answer) ([]dns.RR, error) {
	switch a.state {
	case found:
		return a.rrs, nil
	case fault:
		return nil, &net.DNSError{Err: errorText(a.err), Name: name, IsTemporary: true}
	}
	return nil, &net.DNSError{Err: "no such record", Name: name, IsNotFound: true}
}

// LookupTXT returns the texts, the strings of each joined.
func (s spfResolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	rrs, err := s.lookup(ctx, name, dns.TypeTXT)
	return texts(rrs), err
}

// LookupMX returns the exchangers.
func (s spfResolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	rrs, err := s.lookup(ctx, name, dns.TypeMX)
	var mxs []*net.MX
	for _, m := range exchangers(rrs) {
		mxs = append(mxs, &net.MX{Host: m.Mx, Pref: m.Preference})
	}
	return mxs, err
}

// LookupIPAddr returns the addresses of both families.
func (s spfResolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	rrs, err := s.end(host, s.r.hosts(ctx, host))
	var ips []net.IPAddr
	for _, a := range addresses(rrs) {
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

// spfOf checks that a sender domain lets one of our addresses send.
func (p *Preflight) spfOf(ctx context.Context, d DomainIdentity, ip netip.Addr) {
	f := p.spfFinding(ctx, "", d.Name, ip, p.addressesOf(d))
	p.mu.Lock()
	p.spf[d.Name+" "+ip.String()] = f.Result
	p.mu.Unlock()
	p.add(f)
}

// spfHelo does the same for the EHLO name, which stands in for the domain of
// the null reverse-path (RFC 7208 s. 2.4).
func (p *Preflight) spfHelo(ctx context.Context, s StreamIdentity, ip netip.Addr) {
	f := p.spfFinding(ctx, s.Name, strings.ToLower(strings.TrimSuffix(s.EHLO, ".")), ip, s.Addresses)
	f.Rule = "RFC 7208 s. 2.3"
	if f.Result == string(spf.None) {
		f.Status = Warn
		f.Change = "publish a record for the EHLO name: it is what mail with the null reverse-path is judged by"
		f.Record = strings.TrimSuffix(s.EHLO, ".") + `. IN TXT "v=spf1 a -all"`
	}
	p.add(f)
}

func (p *Preflight) spfFinding(ctx context.Context, stream, domain string, ip netip.Addr, all []netip.Addr) Finding {
	f := Finding{Check: "spf", Subject: domain + " from " + ip.String(), Stream: stream, Status: Pass,
		Asked: "TXT " + domain, Rule: "RFC 7208 s. 4.6"}
	v := p.resolver.evaluateSPF(ctx, domain, ip)
	f.Result, f.Mechanism = string(v.result), v.mechanism
	f.Seen = string(v.result)
	if v.mechanism != "" {
		f.Seen += " by " + v.mechanism
	}
	if v.result == spf.TempError {
		f.Status, f.Seen = Unknown, "temperror: "+errorText(v.err)
		f.Change = "nothing yet: ask again, and look at the name servers when it stays so"
		return f
	}
	records := spfRecords(texts(p.resolver.ask(ctx, domain, dns.TypeTXT).rrs))
	if len(records) > 0 {
		f.Seen += ": " + strings.Join(records, " | ")
	}
	p.judgeSPF(&f, v, domain, ip, all, records)
	return f
}

func (p *Preflight) judgeSPF(f *Finding, v spfVerdict, domain string, ip netip.Addr, all []netip.Addr, records []string) {
	switch v.result {
	case spf.Pass:
		if slices.Contains([]string{"all", "+all"}, strings.ToLower(v.mechanism)) {
			f.Status = Warn
			f.Change = "end the record with -all: this one lets everybody send"
			f.Record = spfRecord(domain, []string{"v=spf1 -all"}, all)
		}
		return
	case spf.SoftFail, spf.Neutral:
		f.Status = Warn
	default:
		f.Status = Fail
	}
	switch {
	case v.result == spf.None:
		f.Change, f.Rule = "publish an SPF record", "RFC 7208 s. 3"
	case errors.Is(v.err, spf.ErrMultipleRecords):
		f.Change, f.Rule = fmt.Sprintf("leave one SPF record; there are %d", len(records)), "RFC 7208 s. 4.5"
	case errors.Is(v.err, spf.ErrLookupLimitReached):
		f.Change, f.Rule = "the record asks for more than ten look-ups: name addresses in place of includes", "RFC 7208 s. 4.6.4"
	case errors.Is(v.err, spf.ErrVoidLookupLimitReached):
		f.Change, f.Rule = "more than two names in the record do not exist: take them out", "RFC 7208 s. 4.6.4"
	case v.result == spf.PermError:
		f.Change = fmt.Sprintf("mend the record (%v)", v.err)
	default:
		f.Change = "let " + ip.String() + " send for the domain"
	}
	f.Record = spfRecord(domain, records, all)
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

// spfRecord is the record to publish: the terms of those that are there, with
// our addresses in front. Terms that name an address of ours or everybody are
// left out, and so is what follows the first all.
func spfRecord(domain string, records []string, ours []netip.Addr) string {
	terms := []string{"v=spf1"}
	for _, ip := range ours {
		terms = append(terms, addressTerm(ip))
	}
	end := "~all"
	for _, r := range records {
		for _, term := range strings.Fields(r)[1:] {
			l := strings.ToLower(term)
			switch {
			case l == "-all":
				end = "-all"
			case l == "all" || l == "+all" || l == "~all" || l == "?all" || slices.Contains(terms, l) || slices.Contains(terms, term):
			case len(l) > 1 && l[0] == '-' && slices.Contains(terms, l[1:]):
			case strings.HasPrefix(l, "redirect="):
				end = term
			default:
				terms = append(terms, term)
			}
		}
	}
	return txtRecord(domain, strings.Join(append(terms, end), " "))
}

func addressTerm(ip netip.Addr) string {
	if ip.Is4() {
		return "ip4:" + ip.String()
	}
	return "ip6:" + ip.String()
}

// txtRecord is a TXT record in zone-file form, its value in strings of at most
// 255 octets (RFC 1035 s. 3.3.14).
func txtRecord(name, value string) string {
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(name, "."))
	b.WriteString(". IN TXT")
	for value != "" {
		n := min(len(value), 255)
		b.WriteString(` "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value[:n]) + `"`)
		value = value[n:]
	}
	return b.String()
}
