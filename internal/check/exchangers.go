package check

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"postern/internal/config"
	"postern/internal/phrase"
	"postern/mx"
	"postern/mx/provider"
	"postern/mx/sts"
	"postern/ratelimit"
	"postern/reputation/identity"
	"postern/upstream"
	"postern/upstream/direct"
)

// tryDNS asks for the exchangers of our own domain, as with mx = true every mail
// needs an answer of DNS.
func tryDNS(ctx context.Context, f *config.File, stream string) identity.Finding {
	s := f.Stream[stream]
	finding := identity.Finding{Check: "upstream", Subject: s.Upstream, Stream: stream, Status: identity.Pass, Asked: "MX " + f.Hostname, Seen: "DNS answers"}
	finder, err := finderOf(f, stream)
	if err == nil {
		defer finder.Close()
		_, err = finder.Find(ctx, f.Hostname, mx.Families{IPv4: true, IPv6: true})
	}
	if err != nil && !errors.Is(err, mx.ErrFamily) {
		finding.Status, finding.Seen = identity.Fail, phrase.Printable(err.Error())
		finding.Change = fmt.Sprintf("see that the DNS servers answer, or name others as resolvers in [upstream.%s]", s.Upstream)
	}
	return finding
}

// finderOf finds exchangers as the mail of a stream does.
func finderOf(f *config.File, stream string) (*mx.Finder, error) {
	cfg := f.Upstream[f.Stream[stream].Upstream].Config.Config
	return mx.New(mx.Options{Config: cfg, Self: f.Self(), DNSTimeout: f.Reputation.Timeout})
}

// Exchangers writes who takes mail for a domain, in A-labels, and in which order a
// stream would try them; with connect also what each of them answers to a session
// up to where MAIL may come. running is called with the domain's provider, to write
// what a running relay knows; nil: nothing. ok is false where no mail could be delivered now.
func Exchangers(ctx context.Context, w io.Writer, f *config.File, stream, domain string, connect bool, running func(provider string)) (ok bool, err error) {
	s := f.Stream[stream]
	cfg := f.Upstream[s.Upstream].Config
	families := cfg.Families(s.SourceIP)
	finder, err := finderOf(f, stream)
	if err != nil {
		return false, err
	}
	defer finder.Close()
	find, cancel := context.WithTimeout(ctx, cfg.FindTimeout)
	defer cancel()
	own, excepted := cfg.Domain[domain]
	a, findErr := findOwn(find, finder, &own, domain, families)
	fmt.Fprintf(w, "%s, as stream %s delivers by upstream %s over %s\n", domain, stream, s.Upstream, families)
	if !cfg.MX {
		fmt.Fprintf(w, "note: upstream %s has no mx = true; its mail goes elsewhere\n", s.Upstream)
	}
	writeExchangers(w, &a)
	if len(a.Hosts) > 0 {
		writeProvider(w, f, stream, f.Groups().Of(a.Hosts), running)
	}
	if excepted {
		fmt.Fprintf(w, "the configuration has an exception for it%s\n", ownWords(&own))
	} else {
		own.SetDefaults()
	}
	cfg.TLS = cmp.Or(own.TLS, cfg.TLS)
	if cfg.MX && cfg.MTASTS && own.MTASTS && !a.Named {
		writePolicy(find, w, finder, &cfg, &a)
	}
	if why := undeliverable(&a, findErr); why != "" {
		fmt.Fprintln(w, why)
		return false, nil
	}
	fmt.Fprintln(w, "to be tried in this order:")
	try := trial{w: w, file: f, stream: stream, domain: domain, finder: finder, cfg: &cfg, own: &own, connect: connect}
	for i, t := range a.Targets {
		ok = try.target(ctx, i+1, t) || ok
	}
	if try.leftOut == len(a.Targets) {
		fmt.Fprintln(w, "mail waits (451 4.7.5): DNS does not say which TLSA records there are")
		return false, nil
	}
	return ok || !connect, nil
}

// writeProvider writes which group of receivers the hosts are of; nil: of none.
func writeProvider(w io.Writer, f *config.File, stream string, g *provider.Group, running func(provider string)) {
	fmt.Fprintf(w, "provider %s%s\n", provider.NameOf(g), groupWords(g))
	writeLimits(w, f, stream)
	if running != nil {
		running(provider.NameOf(g))
	}
}

// undeliverable says why no mail could leave now; "" when it could.
func undeliverable(a *mx.Answer, err error) string {
	switch {
	case err != nil:
		return "mail waits (451): " + phrase.Printable(err.Error())
	case a.Problem == mx.None && len(a.Targets) == 0:
		return "mail waits (451 4.7.5): the policy names none of these hosts"
	case a.Problem != mx.None:
		return "mail is refused: " + problemWords[a.Problem]
	}
	return ""
}

// trial is what all addresses of a domain are written, and tried, with.
type trial struct {
	w              io.Writer
	file           *config.File
	stream, domain string
	finder         *mx.Finder
	cfg            *upstream.Config    // with the TLS that the domain's exception and policy ask for
	own            *upstream.Exception // for the domain
	connect        bool
	leftOut        int // targets whose TLSA records are not known
}

// target writes one address, and tries it where that is asked for.
func (r *trial) target(ctx context.Context, number int, t mx.Target) (ok bool) {
	cfg := *r.cfg
	if g := r.file.Groups().OfHost(t.Host); g != nil && r.own.TLS == "" && cfg.TLS == upstream.EncryptOpportunistic && g.TLS != "" {
		cfg.TLS = upstream.TLSPolicy(g.TLS)
	}
	from, has := direct.Source(r.file.Stream[r.stream].SourceIP, r.domain, t.Address.Addr())
	var tlsa *mx.TLSA
	var err error
	if r.own.DANE != mx.DANEOff {
		tlsa, err = r.finder.TLSA(ctx, r.domain, t)
	}
	fmt.Fprintf(r.w, "  %d  %s%s%s\n", number, t, fromWords(from, has), daneWords(t, tlsa, err))
	if err != nil {
		r.leftOut++
	}
	cfg.TLS = withTLSA(cfg.TLS, tlsa)
	return r.connect && has && err == nil && tryTarget(ctx, r.w, r.file, &cfg, r.stream, t, from, tlsa)
}

// withTLSA is what must be of TLS with a host, given what must be without its records. Where
// none of them can be used they take nothing away.
func withTLSA(without upstream.TLSPolicy, tlsa *mx.TLSA) upstream.TLSPolicy {
	if tlsa == nil || len(tlsa.Records) == 0 && without == upstream.EncryptVerified {
		return without
	}
	return upstream.EncryptRequired
}

// troubleWords say why a policy that a domain announces is not known.
var troubleWords = map[sts.Trouble]string{
	sts.NotFetched:     "; the one that it announces cannot be fetched",
	sts.Invalid:        "; what its policy host gives is not a policy",
	sts.BadCertificate: "; the certificate of its policy host is not valid",
}

// writePolicy writes the policy of MTA-STS that a domain has, and leaves only the
// hosts that it allows.
func writePolicy(ctx context.Context, w io.Writer, finder *mx.Finder, cfg *upstream.Config, a *mx.Answer) {
	roots, err := upstream.LoadRoots(cfg.CA)
	if err != nil {
		fmt.Fprintf(w, "MTA-STS: %s\n", phrase.Printable(err.Error()))
		return
	}
	store := sts.New(sts.Options{Resolver: finder.Resolver(), Refused: finder.Refused, Roots: roots})
	defer store.Close()
	p, ok := store.Policy(ctx, a.Domain)
	if !ok {
		fmt.Fprintf(w, "MTA-STS: no policy%s\n", troubleWords[store.Trouble(a.Domain)])
		return
	}
	fmt.Fprintf(w, "MTA-STS: mode %s, mx %s, max_age %s\n", p.Mode, strings.Join(p.MX, " "), p.MaxAge)
	if p.Mode == sts.Enforce {
		finder.Only(a, p.Matches)
		cfg.TLS = upstream.EncryptVerified
	}
}

// findOwn finds the hosts of a domain as the mail to it does.
func findOwn(ctx context.Context, finder *mx.Finder, own *upstream.Exception, domain string, families mx.Families) (mx.Answer, error) {
	if hosts := own.Named(); len(hosts) > 0 {
		return finder.FindNamed(ctx, domain, hosts, families)
	}
	return finder.Find(ctx, domain, families)
}

// ownWords say what the configuration has for a domain.
func ownWords(own *upstream.Exception) string {
	words := ""
	if own.TLS != "" {
		words += ", tls " + string(own.TLS)
	}
	if len(own.Hosts) > 0 {
		words += ", hosts " + strings.Join(own.Hosts, " ")
	}
	if !own.MTASTS {
		words += ", without MTA-STS"
	}
	if own.DANE == mx.DANEOff {
		words += ", without DANE"
	}
	return words
}

// writeLimits names the limits that count what a stream sends to a group of receivers.
func writeLimits(w io.Writer, f *config.File, stream string) {
	for _, name := range slices.Sorted(maps.Keys(f.Limit)) {
		l := f.Limit[name]
		if !slices.Contains(l.Per, ratelimit.PerProvider) || len(l.Streams) > 0 && !slices.Contains(l.Streams, stream) {
			continue
		}
		var numbers []string
		for unit, all := range map[string]ratelimit.Numbers{"messages": l.Messages, "recipients": l.Recipients, "bytes": l.Bytes, "distinct recipients": l.DistinctRecipients,
			"strangers": l.Strangers, "strangers of new senders": l.StrangersNew} {
			for _, n := range all {
				numbers = append(numbers, n.String()+" "+unit)
			}
		}
		slices.Sort(numbers)
		fmt.Fprintf(w, "limit %s per %s: %s\n", name, l.Per, strings.Join(numbers, ", "))
	}
}

// groupWords say what a group of receivers wants.
func groupWords(g *provider.Group) string {
	if g == nil || g.String() == "" {
		return ""
	}
	return ": " + g.String()
}

var problemWords = map[mx.Problem]string{
	mx.NoDomain:  "the domain does not exist (550 5.1.2)",
	mx.NullMX:    "the domain says that it takes no mail (null MX, 556 5.1.10)",
	mx.NoAddress: "none of its hosts has an address that mail may be sent to (550 5.4.4)",
	mx.Loop:      "the best of its hosts is this relay (554 5.4.6)",
}

func writeExchangers(w io.Writer, a *mx.Answer) {
	if a.Named {
		fmt.Fprintln(w, "its hosts are those of the configuration")
	}
	if a.Implicit {
		fmt.Fprintln(w, "no MX record, so that the domain is its own host")
	}
	for i := range a.Exchangers {
		e := &a.Exchangers[i]
		note := ""
		switch {
		case e.Ours:
			note = ", which is this relay"
		case e.Skipped:
			note = ", left out: this relay is a host of this preference or a better one"
		case e.Err != nil:
			note = ", address not known: " + phrase.Printable(e.Err.Error())
		case len(e.Addresses) == 0:
			note = ", without an address"
		}
		fmt.Fprintf(w, "host %s, preference %d%s\n", e.Name, e.Preference, note)
		for _, ip := range e.Addresses {
			fmt.Fprintf(w, "  %s%s\n", ip.IP, addressWords(ip))
		}
	}
	if a.Left > 0 {
		fmt.Fprintf(w, "%d further hosts were not looked at\n", a.Left)
	}
}

func addressWords(a mx.Address) string {
	switch {
	case a.Refused != "":
		return ", no mail goes there: " + a.Refused
	case a.Ours:
		return ", which is this relay"
	}
	return ""
}

func daneWords(t mx.Target, tlsa *mx.TLSA, err error) string {
	switch {
	case err != nil:
		return ", left out: " + phrase.Printable(err.Error())
	case tlsa != nil:
		return fmt.Sprintf(", DANE with %d usable records", len(tlsa.Records))
	case t.Secure:
		return ", signed by DNSSEC"
	}
	return ""
}

func fromWords(from netip.Addr, has bool) string {
	switch {
	case !has:
		return ", but source_ip has no address of its family"
	case from.IsValid():
		return " from " + from.String()
	}
	return ""
}

// tryTarget makes a session with one address and writes what came of it.
func tryTarget(ctx context.Context, w io.Writer, f *config.File, of *upstream.Config, stream string, t mx.Target, from netip.Addr, tlsa *mx.TLSA) bool {
	s, cfg, o := f.Stream[stream], *of, upstream.Options{Hostname: f.Hostname, Strangers: true}
	if tlsa != nil && len(tlsa.Records) > 0 {
		cfg.TLS, o.Verify = upstream.EncryptVerified, tlsa.Verify
	}
	cfg.MX, cfg.Hosts = false, []string{t.Address.String()}
	if cfg.TLS == upstream.EncryptVerified {
		cfg.ServerName = t.Host
	}
	u, err := upstream.New(s.Upstream, cfg, o)
	if err != nil {
		fmt.Fprintf(w, "     %s\n", phrase.Printable(err.Error()))
		return false
	}
	defer u.Close(ctx)
	via := upstream.Route{EHLO: s.EHLO}
	if from.IsValid() {
		via.SourceIPs = []netip.Addr{from}
	}
	for _, got := range u.Try(ctx, via) {
		if got.Err != nil {
			fmt.Fprintf(w, "     %s\n", phrase.Printable(got.Err.Error()))
			return false
		}
		greeting, _, _ := strings.Cut(got.Greeting, "\n")
		words := "in plain text"
		if got.TLS != nil {
			words = strings.Replace(tls.VersionName(got.TLS.Version), " ", "v", 1)
		}
		fmt.Fprintf(w, "     220 %s; takes mail %s, from %s\n", phrase.Printable(greeting), words, got.Source)
	}
	return true
}
