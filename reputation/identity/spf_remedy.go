package identity

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"blitiri.com.ar/go/spf"
	"github.com/miekg/dns"

	"postern/internal/resolve"
)

// spfRemedy is the SPF record to publish: what stands there, with our addresses
// in front.
type spfRemedy struct {
	record  string // in zone-file form; "" where none can be offered
	without []leftOut
	// blocked says why none can be offered; "" where one is.
	blocked string
}

// leftOut is a term of the old record that the new one has not.
type leftOut struct{ term, why string }

// advice is a Change with what is to be known about the record.
func (m *spfRemedy) advice(change string) string {
	var out []string
	for _, w := range m.without {
		if !strings.Contains(change, w.why) || !strings.Contains(change, w.term) {
			out = append(out, w.term+", which "+w.why)
		} else {
			out = append(out, w.term)
		}
	}
	switch {
	case len(out) > 0 && m.blocked != "":
		change += "; take out " + strings.Join(out, "; ")
	case len(out) > 0:
		change += ". The record below leaves out " + strings.Join(out, "; ")
	}
	if m.blocked != "" {
		change += ". No record is offered here: " + m.blocked
	}
	return change
}

// maxSPFLookups and maxSPFVoid are the bounds of RFC 7208 s. 4.6.4.
const (
	maxSPFLookups = 10
	maxSPFVoid    = 2
)

// remedySPF makes the record to publish. It keeps all that can be kept,
// authorizes nobody but our addresses in addition, and is evaluated before it is
// shown.
func remedySPF(ctx context.Context, r *resolve.Resolver, domain string, records []string, ours []netip.Addr) spfRemedy {
	var m spfRemedy
	terms, end := m.keep(records, ours)
	walk := &spfWalk{resolver: r}
	terms = m.leaveOut(ctx, walk, domain, append(terms, end...))
	if m.blocked != "" {
		return m
	}
	words := []string{"v=spf1"}
	for _, ip := range ours {
		words = append(words, addressTerm(ip))
	}
	for _, t := range terms {
		words = append(words, t.text)
	}
	if len(end) > 0 && !slices.Contains(terms, end[0]) {
		words = append(words, "~all") // in place of a redirect that was left out
	}
	text := strings.Join(words, " ")
	if m.blocked = problemOfSPF(ctx, r, domain, text, ours); m.blocked == "" {
		m.record = txtRecord(domain, text)
	}
	return m
}

// problemOfSPF says what is wrong with a record that is about to be printed; ""
// when our addresses pass by it.
func problemOfSPF(ctx context.Context, r *resolve.Resolver, domain, text string, ours []netip.Addr) string {
	if _, bad := parseSPF(text); len(bad) > 0 {
		return bad[0].Error()
	}
	for _, ip := range ours {
		v := evaluateSPF(ctx, r, spfQuestion{domain: domain, local: "postmaster", helo: domain, ip: ip, instead: text})
		if v.result != spf.Pass {
			return fmt.Sprintf("%s would not pass by it (%s)", ip, v.result)
		}
	}
	return ""
}

// keep returns the terms of the old records that stay and those that end the
// record. What follows all is never evaluated and so stays out: in front of all
// it would let in more than before.
func (m *spfRemedy) keep(records []string, ours []netip.Addr) (terms, end []spfTerm) {
	var all, redirects []spfTerm
	seen := map[string]bool{}
	add := func(t spfTerm) {
		key := strings.ToLower(strings.TrimPrefix(t.text, "+"))
		if t.name == "exp" {
			key = "exp"
		}
		if !seen[key] && !namesOurs(t, ours) {
			terms = append(terms, t)
		}
		seen[key] = true
	}
	for _, record := range records {
		read, bad := parseSPF(record)
		for _, b := range bad {
			m.without = append(m.without, leftOut{strconv.Quote(resolve.Printable(b.term)), b.problem})
		}
		ended := slices.IndexFunc(read, func(t spfTerm) bool { return t.name == "all" })
		for i, t := range read {
			switch {
			case t.name == "redirect" && ended < 0:
				redirects = append(redirects, t)
			case t.name == "redirect" || t.qualifier != 0 && ended >= 0 && i > ended:
			case t.name == "all":
				all = append(all, t)
			default:
				add(t)
			}
		}
	}
	if len(redirects) > 0 && (len(all) > 0 || len(redirects) > 1) {
		for _, t := range redirects { // beside all it would count for nothing
			add(spfTerm{text: "include:" + t.value, qualifier: '+', name: "include", value: t.value})
		}
		redirects = nil
	}
	if len(records) == 0 {
		all = []spfTerm{{text: "~all", qualifier: '~', name: "all"}}
	}
	if len(all) > 0 {
		return terms, []spfTerm{m.strictest(all)}
	}
	return terms, redirects
}

// strictest returns the term that asks for most; one that lets everybody send
// becomes ~all.
func (m *spfRemedy) strictest(all []spfTerm) spfTerm {
	const order = "-~?+"
	t := slices.MinFunc(all, func(a, b spfTerm) int {
		return strings.IndexByte(order, a.qualifier) - strings.IndexByte(order, b.qualifier)
	})
	if t.qualifier != '+' {
		return t
	}
	m.without = append(m.without, leftOut{t.text, "lets everybody send"})
	return spfTerm{text: "~all", qualifier: '~', name: "all"}
}

// namesOurs reports whether t names one of our addresses and nothing else: such a
// term says again, or denies, what now stands in front.
func namesOurs(t spfTerm, ours []netip.Addr) bool {
	if t.name != "ip4" && t.name != "ip6" {
		return false
	}
	if ip, err := netip.ParseAddr(t.value); err == nil {
		return slices.Contains(ours, ip)
	}
	n, err := netip.ParsePrefix(t.value)
	return err == nil && n.IsSingleIP() && slices.Contains(ours, n.Addr())
}

// leaveOut takes out the terms that make the record a permerror whoever sends,
// and says when the rest cannot be offered either.
func (m *spfRemedy) leaveOut(ctx context.Context, walk *spfWalk, domain string, terms []spfTerm) (kept []spfTerm) {
	var void []spfTerm
	var costs []string
	total := 0
	for _, t := range terms {
		if !t.asks() {
			kept = append(kept, t)
			continue
		}
		c := walk.cost(ctx, t, domain, []string{domain})
		switch {
		case c.problem != "" && !c.deep:
			m.without = append(m.without, leftOut{t.text, c.problem})
			continue
		case c.problem != "":
			m.blocked = fmt.Sprintf("%s %s; have that mended first", t.text, c.problem)
			return nil
		case c.void:
			void = append(void, t)
		}
		total += c.lookups
		costs = append(costs, fmt.Sprintf("%s %d", t.text, c.lookups))
		kept = append(kept, t)
	}
	if walk.voids > maxSPFVoid {
		for _, t := range void {
			m.without = append(m.without, leftOut{t.text, "names what does not exist"})
		}
		kept = slices.DeleteFunc(kept, func(t spfTerm) bool { return slices.Contains(void, t) })
		total -= len(void)
	}
	if total > maxSPFLookups {
		m.blocked = fmt.Sprintf("it would ask for %d look-ups, and %d are allowed (%s); put addresses in place of names first",
			total, maxSPFLookups, strings.Join(costs, ", "))
	}
	return kept
}

// spfWalk counts what a record asks of DNS when nothing in it matches.
type spfWalk struct {
	resolver *resolve.Resolver
	asked    int
	voids    int // look-ups without an answer, over all terms
}

// maxSPFAsked bounds the questions of one walk. A record that needs more is far
// beyond what is allowed.
const maxSPFAsked = 40

// spfCost is what one term asks for.
type spfCost struct {
	lookups int
	void    bool   // its own name does not exist
	problem string // that makes the record a permerror
	deep    bool   // the problem lies behind another record
}

// cost counts a term of a record of domain. path are the domains on the way.
// Names that hold a macro are not followed.
func (w *spfWalk) cost(ctx context.Context, t spfTerm, domain string, path []string) spfCost {
	target := strings.ToLower(strings.TrimSuffix(t.value, "."))
	w.asked++
	switch {
	case strings.Contains(target, "%") || w.asked > maxSPFAsked || t.name == "ptr":
		return spfCost{lookups: 1}
	case t.name == "include" || t.name == "redirect":
		return w.below(ctx, target, path)
	case target == "":
		target = domain
	}
	a := w.resolver.Hosts(ctx, target)
	if t.name == "mx" {
		a = w.resolver.Ask(ctx, target, dns.TypeMX)
	}
	c := spfCost{lookups: 1, void: a.State == resolve.NoName || a.State == resolve.NoData}
	if c.void {
		w.voids++
	}
	if n := len(resolve.Exchangers(a.RRs)); t.name == "mx" && n > maxSPFLookups {
		c.problem = fmt.Sprintf("names %d MX, and %d are allowed", n, maxSPFLookups)
	}
	return c
}

// below counts the record of a domain that is included or redirected to.
func (w *spfWalk) below(ctx context.Context, domain string, path []string) spfCost {
	c := spfCost{lookups: 1}
	if slices.Contains(path, domain) {
		c.problem = "leads back to itself"
		return c
	}
	a := w.resolver.Ask(ctx, domain, dns.TypeTXT)
	if a.State == resolve.Fault {
		return c // nothing is known
	}
	records := spfRecords(resolve.Texts(a.RRs))
	if len(records) == 0 {
		c.problem = "names a domain without an SPF record"
		return c
	}
	if len(records) > 1 {
		c.problem = fmt.Sprintf("names a domain with %d SPF records", len(records))
		return c
	}
	terms, bad := parseSPF(records[0])
	if len(bad) > 0 {
		c.problem = "names a record that cannot be read: " + resolve.Printable(bad[0].Error())
		return c
	}
	ended := slices.IndexFunc(terms, func(t spfTerm) bool { return t.name == "all" })
	for i, t := range terms {
		if !t.asks() || ended >= 0 && (i > ended || t.name == "redirect") {
			continue
		}
		next := w.cost(ctx, t, domain, append(slices.Clone(path), domain))
		c.lookups += next.lookups
		if next.problem != "" && c.problem == "" {
			c.problem, c.deep = fmt.Sprintf("leads to %s, which %s", t.text, next.problem), true
		}
	}
	return c
}

func addressTerm(ip netip.Addr) string {
	if ip.Is4() {
		return "ip4:" + ip.String()
	}
	return "ip6:" + ip.String()
}
