// Package describe says in plain words what a configuration means: who may send
// what, as whom, by which way and how much.
package describe

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"postern/dkimsign"
	"postern/internal/config"
	"postern/internal/text"
	"postern/policy"
	"postern/ratelimit"
	"postern/relay/smtpd"
	"postern/upstream"
	"postern/upstream/profile"
)

// Config writes in plain words what a configuration does. The form may
// change; errors of w show at its end.
func Config(w io.Writer, f *config.File) {
	fmt.Fprintf(w, "%s is good; it means:\n\n", f.Path())
	line(w, "hostname", f.Hostname)
	for _, name := range sorted(f.Listener) {
		line(w, "listener "+name, listenerWords(f.Listener[name]))
	}
	for _, name := range sorted(f.Upstream) {
		for i, text := range providerWords(f.Upstream[name]) {
			line(w, first(i, "upstream "+name), text)
		}
	}
	x := explainer{file: f, limits: f.Limits()}
	x.byClient = config.LimitsByClient(x.limits)
	for _, c := range f.Policy().Clients() {
		fmt.Fprintln(w)
		x.client(w, c)
	}
	if len(f.Client) == 0 {
		fmt.Fprintln(w, "\nno client: nobody may send anything")
	}
	fmt.Fprintln(w)
	line(w, "limits", storeWords(f))
	for i, text := range outlierWords(f) {
		line(w, first(i, "outlier"), text)
	}
	if words := linkWords(f); words != "" {
		line(w, "links", words)
	}
	line(w, "journal", cmp.Or(f.Journal.File, "none"))
	line(w, "control", f.Control.Socket)
	line(w, "admin", addrWords(f.Admin.Address))
}

func line(w io.Writer, label, text string) {
	if label != "" {
		label += ":"
	}
	fmt.Fprintf(w, "%-14s %s\n", label, text)
}

// explainer has what the words about each client are taken from.
type explainer struct {
	file     *config.File
	limits   map[string]ratelimit.RuleConfig
	byClient config.ClientLimits
}

// client goes on where policy ends: the way out, signatures, limits.
func (x *explainer) client(w io.Writer, c *policy.Client) {
	f := x.file
	f.Policy().ExplainClient(w, c)
	told := f.Client[c.Name()].SubmitterConfig
	for i, text := range told.Setup() {
		detail(w, first(i, "submitter"), text)
	}
	if words := watchWords(f, c.Name()); words != "" {
		detail(w, "watch", words)
	}
	s := f.Stream[c.Stream()]
	detail(w, "upstream", upstreamWords(s.Upstream, f.Upstream[s.Upstream].Config))
	detail(w, "from IP", sourceWords(s))
	detail(w, "EHLO", cmp.Or(s.EHLO, f.Hostname))
	for i, text := range signingWords(f, f.Client[c.Name()], f.Way(c.Stream())) {
		detail(w, first(i, "signed"), text)
	}
	if words := attachmentWords(c); words != "" {
		detail(w, "attachments", words)
	}
	limits := x.limitWords(c.Name(), f.Client[c.Name()])
	if len(limits) == 0 {
		limits = []string{"none: it may send as much as it likes"}
	}
	for i, text := range limits {
		detail(w, first(i, "limits"), text)
	}
}

// attachmentWords says what is refused of that which messages hold; "" where nothing
// is looked at.
func attachmentWords(c *policy.Client) string {
	a, ok := c.Attachments()
	if !ok {
		return ""
	}
	var refused []string
	if len(a.RefuseAttachments) > 0 {
		refused = append(refused, strings.Join(a.RefuseAttachments, ", "))
	}
	if a.RefuseEncrypted {
		refused = append(refused, "encrypted archives and documents")
	}
	if a.RefuseAmbiguous {
		refused = append(refused, "what can be read in two ways")
	}
	return strings.Join(refused, "; ") + " refused"
}

// linkWords says what links are checked against; "" where they are not.
func linkWords(f *config.File) string {
	lists := slices.Concat(f.Links.Zones, f.Links.Files)
	if len(lists) == 0 {
		return ""
	}
	return fmt.Sprintf("held against %s: mode %s", strings.Join(lists, ", "), f.Links.Mode)
}

// detail writes one line below a client, in the form that policy has.
func detail(w io.Writer, label, text string) {
	if label != "" {
		label += ":"
	}
	fmt.Fprintf(w, "  %-12s %s\n", label, text)
}

func first(i int, label string) string {
	if i > 0 {
		return ""
	}
	return label
}

func listenerWords(l smtpd.ListenerConfig) string {
	parts := []string{l.Address.String()}
	loopback := l.Address.Addr().IsLoopback()
	switch l.TLS {
	case smtpd.TLSNone:
		parts = append(parts, "not encrypted")
	case smtpd.TLSOptional:
		parts = append(parts, "STARTTLS offered")
	case smtpd.TLSRequired:
		parts = append(parts, "STARTTLS required")
	case smtpd.TLSImplicit:
		parts = append(parts, "TLS from the start")
	}
	switch {
	case l.TLS == smtpd.TLSNone && loopback:
		parts = append(parts, "passwords taken in plain text, for it is loopback")
	case l.TLS == smtpd.TLSNone:
		parts = append(parts, "no passwords")
	default:
		parts = append(parts, "passwords under TLS")
	}
	if l.ClientCA != "" {
		parts = append(parts, "client certificates verified")
	}
	if len(l.ProxyProtocolFrom) > 0 {
		parts = append(parts, "PROXY header needed from "+joinNetworks(l.ProxyProtocolFrom))
	}
	if len(l.XClientFrom) > 0 {
		parts = append(parts, "XCLIENT taken from "+joinNetworks(l.XClientFrom))
	}
	return strings.Join(parts, ", ")
}

func upstreamWords(name string, u upstream.Config) string {
	if u.Capture != "" {
		return name + ", which keeps mail in " + u.Capture + " and sends nothing"
	}
	text := name + ", " + strings.Join(u.Hosts, ", then ")
	if u.MX {
		text = name + ", the mail exchangers of each recipient's domain"
	}
	switch {
	case u.TLS == upstream.EncryptOff:
		text += ", not encrypted"
	case u.TLS == upstream.EncryptOpportunistic:
		text += ", encrypted where it works"
	case u.TLS == upstream.EncryptRequired:
		text += ", encrypted, certificate not looked at"
	default:
		text += ", encrypted, certificate verified"
	}
	if u.Username != "" {
		text += fmt.Sprintf(", authenticated as %q", u.Username)
	}
	return text
}

// providerWords says what the provider behind an upstream wants, as far as its
// profile, or the one that it could have, knows.
func providerWords(u config.UpstreamConfig) []string {
	p, err := profile.Find(u.Profile)
	if u.Profile == "" || err != nil {
		for _, host := range u.Hosts {
			if of := profile.OfHost(host); of != nil {
				return []string{fmt.Sprintf("%s is a host of %s; profile = %q would set what that wants", host, of.Title, of.Name)}
			}
		}
		return nil
	}
	words := fmt.Sprintf("by the profile %s, %s", p.Name, p.Title)
	if u.MaxRecipients > 0 {
		words += "; " + text.Count(u.MaxRecipients, "recipient", "recipients") + " a message"
	}
	words += "; " + text.Count(u.MaxConnections, "connection", "connections") + " with " + text.Count(u.MessagesPerConnection, "message", "messages") + " each"
	return append([]string{words}, p.Quirks...)
}

func sourceWords(s config.StreamConfig) string {
	if len(s.SourceIP) == 0 {
		return "whichever the system chooses"
	}
	var all []string
	for _, a := range s.SourceIP {
		all = append(all, a.String())
	}
	return strings.Join(all, " and ") + ", never another"
}

// signingWords says for each domain that a client owns how it is signed on its way.
func signingWords(f *config.File, c policy.ClientConfig, way dkimsign.WayConfig) []string {
	var all []string
	seen := map[string]bool{}
	for _, pattern := range f.Widest(c) {
		text := pattern[strings.LastIndexByte(pattern, '@')+1:] + " is not signed"
		if domain := f.SigningDomain(pattern); domain != "" {
			text = strings.TrimSuffix(text, "is not signed") + "as " + domain + " " + keyWords(domain, f.DKIM[domain], way)
		}
		if !seen[text] {
			seen[text] = true
			all = append(all, text)
		}
	}
	if len(way.UnsignedFields) > 0 && !way.SignKeys.Is(dkimsign.SignNone) {
		all = append(all, "leaving out "+strings.Join(way.UnsignedFields, ", "))
	}
	switch way.ClientSignatures {
	case dkimsign.RemoveSignatures:
		all = append(all, "its own signatures are taken out")
	case dkimsign.RefuseSignatures:
		all = append(all, "its own signatures are refused")
	}
	return all
}

func keyWords(domain string, d dkimsign.DomainConfig, way dkimsign.WayConfig) string {
	var selectors []string
	for _, k := range d.Keys {
		if !way.SignKeys.Named() || way.SignKeys.Holds(domain, k.Selector) {
			selectors = append(selectors, k.Selector)
		}
	}
	switch {
	case way.SignKeys.Is(dkimsign.SignNone), len(selectors) == 0 && !d.Require:
		return "by nobody on this way: it leaves unsigned"
	case way.SignKeys.Is(dkimsign.SignFirst) && len(selectors) > 1:
		selectors = []string{selectors[0] + " alone, or the next one that is published"}
	}
	text := "with key " + strings.Join(selectors, " and ")
	if d.Require {
		return text + ", or it waits"
	}
	return text + ", or it leaves unsigned"
}

func storeWords(f *config.File) string {
	where := strings.Join(f.Redis.Addresses, ", ")
	switch {
	case !f.Redis.Enabled():
		return "counted in this process; other relays count for themselves"
	case f.Redis.Master != "":
		where = "the server that the Sentinels " + where + " know as " + f.Redis.Master
	case f.Redis.Cluster || len(f.Redis.Addresses) > 1:
		where = "the Cluster of " + where
	}
	return "counted in Redis, " + where + ", under " + f.Redis.Prefix + "; relays with the same prefix share them"
}

func addrWords(a netip.AddrPort) string {
	if !a.IsValid() {
		return "none"
	}
	return "http://" + a.String()
}

func joinNetworks(networks []netip.Prefix) string {
	var all []string
	for _, n := range networks {
		all = append(all, n.String())
	}
	return strings.Join(all, ", ")
}

func sorted[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
