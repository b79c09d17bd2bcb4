package identity

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
	"golang.org/x/net/publicsuffix"

	"postern/internal/resolve"
)

// ptr checks the reverse name of an address: there is one, it points back, it
// is the EHLO name, and it does not look generated.
func (p *Preflight) ptr(ctx context.Context, s StreamIdentity, ip netip.Addr) {
	reverse, _ := dns.ReverseAddr(ip.String())
	f := Finding{Check: "ptr", Status: Pass, Subject: ip.String(), Stream: s.Name, Asked: "PTR " + reverse, Rule: "RFC 1912 s. 2.1"}
	p.reach(s, ip)
	a := p.resolver.Ask(ctx, reverse, dns.TypePTR)
	if a.State == resolve.Fault {
		p.add(unknown("ptr", ip.String(), s.Name, f.Asked, a))
		return
	}
	want := ptrRecord(reverse, s.EHLO)
	if !strings.Contains(strings.TrimSuffix(s.EHLO, "."), ".") || !resolve.IsHostName(strings.TrimSuffix(s.EHLO, ".")) {
		want = "" // the check of the EHLO name tells of it
	}
	names := pointers(a.RRs)
	if len(names) == 0 {
		f.Status, f.Seen = Fail, seenNothing(a)
		f.Change = "have the owner of the address publish the reverse name"
		f.Record = want
		p.add(f)
		return
	}
	p.judgePTR(ctx, &f, s, ip, names, want)
	p.add(f)
}

func (p *Preflight) judgePTR(ctx context.Context, f *Finding, s StreamIdentity, ip netip.Addr, names []string, want string) {
	f.Seen = strings.Join(names, ", ")
	confirmed, doubt := p.confirm(ctx, ip, names)
	switch {
	case len(confirmed) == 0 && doubt != nil:
		*f = unknown("ptr", f.Subject, f.Stream, f.Asked+", then its address", *doubt)
	case len(confirmed) == 0:
		f.Status = Fail
		f.Asked += ", then its address"
		f.Seen += ", which does not resolve to " + ip.String()
		f.Change = "publish the address of that name, or change the reverse name"
		f.Record = addressRecord(names[0], ip)
		f.Rule = "RFC 8601 s. 2.7.3"
	case generated(confirmed[0], ip) != "" && !sameName(confirmed[0], s.EHLO):
		f.Status = Warn
		f.Seen += ", which looks generated: " + generated(confirmed[0], ip)
		f.Change = "have the owner of the address publish a name of yours; many receivers refuse generated ones"
		f.Record = want
	case !slices.ContainsFunc(confirmed, func(n string) bool { return sameName(n, s.EHLO) }):
		f.Status = Warn
		f.Seen += fmt.Sprintf(", but EHLO says %s", s.EHLO)
		f.Change = fmt.Sprintf("set ehlo = %q in [stream.%s], or the reverse name to the EHLO name; nothing where the addresses are the provider's", confirmed[0], s.Name)
		f.Record = want
		f.Rule = "RFC 5321 s. 4.1.4"
	case generated(s.EHLO, ip) != "":
		f.Status = Warn
		f.Seen += ", which looks generated: " + generated(s.EHLO, ip)
		f.Change = "choose a name without that, such as mail.example.org, for EHLO and reverse name"
	case len(names) > 1:
		f.Status = Warn
		f.Seen += " (several reverse names)"
		f.Change = "leave one reverse name; receivers look at any one of them"
		f.Record = want
	}
}

// confirm returns the names that resolve to ip, and an answer that failed.
func (p *Preflight) confirm(ctx context.Context, ip netip.Addr, names []string) (confirmed []string, doubt *resolve.Answer) {
	for _, n := range names[:min(len(names), 10)] { // as RFC 7208 s. 4.6.4 does
		a := p.resolver.Ask(ctx, n, addressType(ip))
		if a.State == resolve.Fault {
			doubt = &a
		}
		if slices.Contains(resolve.Addresses(a.RRs), ip) {
			confirmed = append(confirmed, n)
		}
	}
	return confirmed, doubt
}

// reach tells of an address that the world cannot see.
func (p *Preflight) reach(s StreamIdentity, ip netip.Addr) {
	if !ip.IsPrivate() && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() && !carrierNAT.Contains(ip) {
		return
	}
	p.add(Finding{Check: "address", Status: Warn, Subject: ip.String(), Stream: s.Name,
		Asked: "the configuration for public addresses", Seen: "a private address, which receivers do not see",
		Change: fmt.Sprintf("set public_ips in [stream.%s] or [reputation] to the addresses that receivers see", s.Name),
		Rule:   "RFC 6890 s. 2.2"})
}

var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")

// ehlo checks that the EHLO name is a full one and resolves to the addresses of
// its stream.
func (p *Preflight) ehlo(ctx context.Context, s StreamIdentity) {
	f := Finding{Check: "ehlo", Status: Pass, Subject: s.EHLO, Stream: s.Name, Asked: "A and AAAA " + s.EHLO, Rule: "RFC 5321 s. 2.3.5"}
	if name := strings.TrimSuffix(s.EHLO, "."); !resolve.IsHostName(name) || !strings.Contains(name, ".") {
		f.Status, f.Asked = Fail, "the configuration for the EHLO name"
		f.Seen = fmt.Sprintf("%q is not fully qualified", s.EHLO)
		f.Change = fmt.Sprintf("set ehlo in [stream.%s] or hostname to a full name, such as mail.example.org", s.Name)
		p.add(f)
		return
	}
	a := p.resolver.Hosts(ctx, s.EHLO)
	if a.State == resolve.Fault {
		p.add(unknown("ehlo", s.EHLO, s.Name, f.Asked, a))
		return
	}
	if a.State != resolve.Found {
		f.Status, f.Seen = Fail, seenNothing(a)
		f.Change = "publish the addresses of the EHLO name"
		f.Record = addressRecords(s.EHLO, s.Addresses)
		p.add(f)
		return
	}
	p.judgeEHLO(ctx, &f, s, resolve.Addresses(a.RRs), len(a.Aliases) > 0)
	p.add(f)
}

func (p *Preflight) judgeEHLO(ctx context.Context, f *Finding, s StreamIdentity, seen []netip.Addr, alias bool) {
	f.Seen = joinAddresses(seen)
	var missing []netip.Addr
	for _, ip := range s.Addresses {
		if !slices.Contains(seen, ip) {
			missing = append(missing, ip)
		}
	}
	switch {
	case len(missing) > 0:
		f.Status = Fail
		f.Seen += ", without " + joinAddresses(missing)
		f.Change = "publish every address that the stream leaves from"
		f.Record = addressRecords(s.EHLO, missing)
		if p.foreign(ctx, s, missing) {
			f.Status = Warn
			f.Change = "nothing where the addresses are the provider's and it greets receivers by its own name; else publish them"
		}
	case alias:
		f.Status = Warn
		f.Seen += " (through a CNAME)"
		f.Change = "publish the addresses themselves instead of a CNAME"
		f.Record = addressRecords(s.EHLO, s.Addresses)
	}
}

// foreign reports whether all addresses have confirmed names of somebody else:
// then a provider stands in between, and receivers hear its EHLO name.
func (p *Preflight) foreign(ctx context.Context, s StreamIdentity, ips []netip.Addr) bool {
	for _, ip := range ips {
		reverse, _ := dns.ReverseAddr(ip.String())
		confirmed, _ := p.confirm(ctx, ip, pointers(p.resolver.Ask(ctx, reverse, dns.TypePTR).RRs))
		if len(confirmed) == 0 || slices.ContainsFunc(confirmed, func(n string) bool { return relatedName(n, s.EHLO) }) {
			return false
		}
	}
	return true
}

// relatedName reports whether two names lie in one registered domain.
func relatedName(a, b string) bool {
	_, first := RegisteredDomain(a)
	_, second := RegisteredDomain(b)
	return first == second
}

// RegisteredDomain parts a host name into the labels that its owner chose and the
// domain that is registered: the suffix of a registry and one label more. The
// suffixes that companies let others have names under are not registries': a
// provider makes names below them, too.
func RegisteredDomain(name string) (host, domain string) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	suffix, icann := publicsuffix.PublicSuffix(name)
	for !icann && strings.Contains(suffix, ".") {
		_, above, _ := strings.Cut(suffix, ".")
		suffix, icann = publicsuffix.PublicSuffix(above)
	}
	rest := strings.TrimSuffix(strings.TrimSuffix(name, suffix), ".")
	i := strings.LastIndexByte(rest, '.')
	if i < 0 {
		return "", name
	}
	return rest[:i], name[i+1:]
}

// generated says by what a host name looks like one that a provider makes for
// its dial-up and other customers: the address or such a word stands below the
// registered domain. It returns "" for other names.
func generated(name string, ip netip.Addr) string {
	host, _ := RegisteredDomain(name)
	if holdsAddress(host, ip) {
		return "it holds the address"
	}
	for _, word := range strings.FieldsFunc(host, func(c rune) bool { return c < 'a' || c > 'z' }) {
		if generatedWords[word] {
			return fmt.Sprintf("by the word %q", word)
		}
	}
	return ""
}

var generatedWords = map[string]bool{
	"dyn": true, "dynamic": true, "dynip": true, "dynamicip": true, "pool": true, "pools": true, "dhcp": true,
	"dsl": true, "adsl": true, "sdsl": true, "xdsl": true, "vdsl": true, "ppp": true, "pppoe": true,
	"dial": true, "dialup": true, "dialin": true, "cable": true, "catv": true, "fttx": true, "ftth": true,
	"broadband": true, "cust": true, "customer": true, "customers": true, "client": true, "clients": true,
	"res": true, "residential": true, "unassigned": true, "unused": true, "generic": true, "nat": true, "cgnat": true,
}

// holdsAddress reports whether at least three octets of an IPv4 address stand
// in the name in a row, in either order, or the whole address in hexadecimal;
// of an IPv6 address, its last four groups or its digits.
func holdsAddress(host string, ip netip.Addr) bool {
	b := ip.AsSlice()
	squeezed := strings.NewReplacer("-", "", ".", "", "_", "").Replace(host)
	if strings.Contains(squeezed, fmt.Sprintf("%x", b)) {
		return true
	}
	if !ip.Is4() {
		return strings.Contains(squeezed, fmt.Sprintf("%x", b[8:])) || strings.Contains(host, strings.ReplaceAll(ip.String(), ":", "-"))
	}
	numbers := strings.FieldsFunc(host, func(c rune) bool { return c < '0' || c > '9' })
	for i, n := range numbers {
		numbers[i] = strings.TrimLeft(n, "0")
	}
	joined := "." + strings.Join(numbers, ".") + "."
	octet := func(i int) string { return strings.TrimLeft(fmt.Sprint(b[i]), "0") }
	for _, run := range [][3]int{{0, 1, 2}, {1, 2, 3}, {3, 2, 1}, {2, 1, 0}} {
		if strings.Contains(joined, "."+octet(run[0])+"."+octet(run[1])+"."+octet(run[2])+".") {
			return true
		}
	}
	padded := fmt.Sprintf("%03d%03d%03d%03d", b[0], b[1], b[2], b[3])
	return strings.Contains(squeezed, padded)
}

func addressType(ip netip.Addr) uint16 {
	if ip.Is4() {
		return dns.TypeA
	}
	return dns.TypeAAAA
}

// pointers returns the names of PTR records without their final dots.
func pointers(rrs []dns.RR) []string {
	var names []string
	for _, rr := range rrs {
		if v, ok := rr.(*dns.PTR); ok {
			names = append(names, strings.TrimSuffix(strings.ToLower(v.Ptr), "."))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func sameName(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}

func seenNothing(a resolve.Answer) string {
	if a.State == resolve.NoName {
		return "the name does not exist (NXDOMAIN)"
	}
	return "no such record"
}

func joinAddresses(as []netip.Addr) string {
	words := make([]string, len(as))
	for i, a := range as {
		words[i] = a.String()
	}
	return strings.Join(words, ", ")
}

func ptrRecord(reverse, name string) string {
	return reverse + " IN PTR " + strings.TrimSuffix(name, ".") + "."
}

func addressRecord(name string, ip netip.Addr) string {
	return strings.TrimSuffix(name, ".") + ". IN " + dns.TypeToString[addressType(ip)] + " " + ip.String()
}

func addressRecords(name string, ips []netip.Addr) string {
	lines := make([]string, len(ips))
	for i, ip := range ips {
		lines[i] = addressRecord(name, ip)
	}
	return strings.Join(lines, "\n")
}
