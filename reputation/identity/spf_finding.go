package identity

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"blitiri.com.ar/go/spf"
	"github.com/miekg/dns"

	"postern/internal/resolve"
	"postern/internal/text"
)

// spfSubject is whose mail one SPF check is about.
type spfSubject struct {
	stream string // of an EHLO name; "" for the domain of senders
	domain string
	ip     netip.Addr
	all    []netip.Addr // ours, for the record to publish
	locals []string     // local-parts to ask for, at least one
	// open: other local-parts are used, too, and nobody has listed them.
	open  bool
	helos []string // EHLO names that the address is used with, at least one
}

// spfOf checks that a sender domain lets one of our addresses send.
func (p *Preflight) spfOf(ctx context.Context, d DomainIdentity, ip netip.Addr) {
	s := spfSubject{domain: d.Name, ip: ip, all: p.addressesOf(d), locals: d.Senders, open: d.Open || len(d.Senders) == 0}
	if s.open {
		s.locals = append([]string{standIn}, s.locals...)
	}
	for _, stream := range p.id.Streams {
		if slices.Contains(d.Streams, stream.Name) && slices.Contains(stream.Addresses, ip) && !slices.Contains(s.helos, stream.EHLO) {
			s.helos = append(s.helos, stream.EHLO)
		}
	}
	f := p.spfFinding(ctx, s)
	p.mu.Lock()
	p.spf[d.Name+" "+ip.String()] = f
	p.mu.Unlock()
	p.add(f)
}

// standIn is the local-part that is asked for where any may send.
const standIn = "postmaster"

// spfHelo does the same for the EHLO name, which stands in for the domain of
// the null reverse-path (RFC 7208 s. 2.4).
func (p *Preflight) spfHelo(ctx context.Context, s StreamIdentity, ip netip.Addr) {
	name := strings.ToLower(strings.TrimSuffix(s.EHLO, "."))
	f := p.spfFinding(ctx, spfSubject{stream: s.Name, domain: name, ip: ip, all: s.Addresses, locals: []string{"postmaster"}, helos: []string{name}})
	f.Rule = "RFC 7208 s. 2.3"
	if f.Result == string(spf.None) {
		f.Status = Warn
		f.Change = "publish a record for the EHLO name: it is what mail with the null reverse-path is judged by"
		f.Record = strings.Replace(f.Record, ` ~all"`, ` -all"`, 1) // no person sends by that name
	}
	p.add(f)
}

func (p *Preflight) spfFinding(ctx context.Context, s spfSubject) Finding {
	f := Finding{Check: "spf", Subject: s.domain + " from " + s.ip.String(), Stream: s.stream, Status: Pass,
		Asked: "TXT " + s.domain, Rule: "RFC 7208 s. 4.6"}
	v := p.worst(ctx, s)
	f.Result, f.Mechanism = string(v.result), v.mechanism
	f.Seen = string(v.result)
	if v.mechanism != "" {
		f.Seen += " by " + v.mechanism
	}
	if who := v.askedAs(); who != "" {
		f.Seen += " for " + who
	}
	if v.result == spf.TempError {
		f.Status, f.Seen = Unknown, "temperror: "+errorText(v.err)
		f.Change = "nothing yet: ask again, and look at the name servers when it stays so"
		return f
	}
	a := p.resolver.Ask(ctx, s.domain, dns.TypeTXT)
	records := spfRecords(resolve.Texts(a.RRs))
	if len(records) > 0 {
		f.Seen += ": " + strings.Join(records, " | ")
	}
	if spoilt, meant := spoiltSPF(resolve.Texts(a.RRs)); len(records) == 0 && len(spoilt) > 0 {
		f.Seen += fmt.Sprintf("; %q is not a record, which begins with v=spf1 and a blank", text.Clip(spoilt[0], 200))
		records = meant
	}
	p.judgeSPF(ctx, &f, v, s, records)
	f.Change += inPlaceOf(f.Record, a)
	s.judgeMacros(&f, v)
	return f
}

// MaxSPFSenders is for how many senders and EHLO names one SPF record is evaluated at most;
// further ones are left out.
const MaxSPFSenders = 32

// worst evaluates the record, again for each sender and EHLO name where the
// outcome hangs on them, and returns the worst verdict.
func (p *Preflight) worst(ctx context.Context, s spfSubject) spfVerdict {
	if len(s.helos) == 0 {
		s.helos = []string{p.id.Hostname}
	}
	first := evaluateSPF(ctx, p.resolver, spfQuestion{domain: s.domain, local: s.locals[0], helo: s.helos[0], ip: s.ip})
	worst, n := first, 0
	for _, local := range s.locals {
		for _, helo := range s.helos {
			same := (local == s.locals[0] || !strings.ContainsAny(first.macros, "ls")) && (helo == s.helos[0] || !strings.Contains(first.macros, "h"))
			if n++; same || n > MaxSPFSenders {
				continue
			}
			v := evaluateSPF(ctx, p.resolver, spfQuestion{domain: s.domain, local: local, helo: helo, ip: s.ip})
			if slices.Index(spfOrder, v.result) < slices.Index(spfOrder, worst.result) {
				worst = v
			}
		}
	}
	return worst
}

// spfOrder has the results from the worst to the best.
var spfOrder = []spf.Result{spf.PermError, spf.Fail, spf.None, spf.TempError, spf.SoftFail, spf.Neutral, spf.Pass}

// askedAs names the sender and EHLO name of a verdict that hangs on them.
func (v *spfVerdict) askedAs() string {
	var words []string
	if strings.ContainsAny(v.macros, "ls") {
		words = append(words, v.question.local+"@"+v.question.domain)
	}
	if strings.Contains(v.macros, "h") {
		words = append(words, "EHLO "+v.question.helo)
	}
	return strings.Join(words, ", ")
}

// judgeMacros tells of a record whose result for other mail than that which was
// asked for is not known.
func (s *spfSubject) judgeMacros(f *Finding, v spfVerdict) {
	var doubt string
	switch {
	case s.open && strings.ContainsAny(v.macros, "ls") && v.question.local == standIn:
		doubt = "the record depends on the local-part of the sender (%{l} or %{s}), and any may send here: asked for " + standIn + "@ only"
	case len(s.locals) > MaxSPFSenders && strings.ContainsAny(v.macros, "ls"):
		doubt = fmt.Sprintf("the record depends on the local-part of the sender (%%{l} or %%{s}): asked for the first %d only", MaxSPFSenders)
	case strings.Contains(v.macros, "p"):
		doubt = "the record depends on %{p}, which receivers need not look up (RFC 7208 s. 7.3)"
	default:
		return
	}
	f.Seen += "; " + doubt
	if f.Status == Pass || f.Status == Warn {
		f.Status = Warn
	} else {
		f.Status = Unknown // another sender may pass
	}
	if f.Change == "" {
		f.Change = "name the addresses in the record, or list the senders one by one in the configuration (at most " + strconv.Itoa(MaxSPFSenders) + "), so that each is asked for"
	}
	f.Rule = "RFC 7208 s. 7"
}

func (p *Preflight) judgeSPF(ctx context.Context, f *Finding, v spfVerdict, s spfSubject, records []string) {
	var change string
	switch v.result {
	case spf.Pass:
		if !slices.Contains([]string{"all", "+all"}, strings.ToLower(v.mechanism)) {
			return
		}
		f.Status = Warn
		change = "end the record with ~all, later with -all: this one lets everybody send"
	case spf.SoftFail, spf.Neutral:
		f.Status = Warn
		change = "let " + s.ip.String() + " send for the domain"
	case spf.None:
		f.Status = Fail
		change, f.Rule = "publish an SPF record", "RFC 7208 s. 3"
	case spf.PermError:
		f.Status = Fail
		change = v.permError(f, s.domain, records)
	default:
		f.Status = Fail
		change = "let " + s.ip.String() + " send for the domain"
	}
	m := remedySPF(ctx, p.resolver, s.domain, records, s.all)
	f.Change, f.Record = m.advice(change), m.record
}

// permError says what to mend in a record that cannot be evaluated.
func (v *spfVerdict) permError(f *Finding, domain string, records []string) (change string) {
	var syntax *spfSyntaxError
	f.Rule = "RFC 7208 s. 4.6"
	switch {
	case errors.As(v.err, &syntax) && sameName(syntax.domain, domain):
		return fmt.Sprintf("mend the record, of which receivers read nothing: %q %s", resolve.Printable(syntax.term), syntax.problem)
	case errors.As(v.err, &syntax):
		return fmt.Sprintf("have the record of %s mended, or leave it out: %q %s", resolve.Printable(syntax.domain), resolve.Printable(syntax.term), syntax.problem)
	case errors.Is(v.err, spf.ErrMultipleRecords) && len(records) > 1:
		f.Rule = "RFC 7208 s. 4.5"
		return fmt.Sprintf("leave one SPF record; there are %d", len(records))
	case errors.Is(v.err, spf.ErrMultipleRecords):
		return "a domain that the record names has several SPF records: have that mended, or leave it out"
	case errors.Is(v.err, spf.ErrNoResult):
		return "a domain that the record includes has no SPF record: leave it out"
	case errors.Is(v.err, spf.ErrLookupLimitReached):
		f.Rule = "RFC 7208 s. 4.6.4"
		return "the record asks for more than ten look-ups: name addresses in place of includes"
	case errors.Is(v.err, spf.ErrVoidLookupLimitReached):
		f.Rule = "RFC 7208 s. 4.6.4"
		return "more than two names in the record do not exist: take them out"
	}
	return fmt.Sprintf("mend the record (%v)", v.err)
}
