package ratelimit

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"postern/mail"
)

// Limits are the limits of a configuration, compiled. They are immutable and
// may be shared.
type Limits struct {
	rules    []*rule // by name
	byClient map[string][]*rule
	others   []*rule // of clients that no rule names
	env      Env
}

// Env is what the rest of the configuration tells the limits.
type Env struct {
	// InternalDomains are what "internal" stands for: domains and "*.domain".
	InternalDomains []string
	// Clients and Streams are all that exist; a limit that names another one is
	// an error. Nil: names are not checked.
	Clients []EnvClient
	Streams []string
	// Providers are the groups of receivers that there are. Nil: names are not checked.
	Providers []string
	// Parse reads "local@domain", its domain into lower-case A-labels. Nil: ASCII
	// only.
	Parse func(string) (mail.Address, error)
}

// EnvClient is what Warnings and Describe need to know of a client.
type EnvClient struct {
	Name     string
	Networks bool     // it is known by its networks (perhaps among others)
	Users    []string // the SASL users it must be one of; empty: it has none
	Stream   string
	Upstream string
	SourceIP bool // its stream has source addresses of its own
}

// rule is one limit.
type rule struct {
	name      string
	cfg       RuleConfig
	dims      []Dimension
	clients   map[string]bool
	streams   map[string]bool
	senders   *mail.Patterns // nil: all
	at, notAt *mail.Patterns // of domains; nil: all, none
	in, notIn *networks      // that mail comes from; nil: all, none
	base      *numbers
	overrides overrideSet
	// perDomain: the key holds the recipient's domain.
	perDomain bool
	// perProvider: the key holds the recipient's group of receivers.
	perProvider bool
	// shared: several senders may use one key.
	shared bool
}

// numbers are the windows of a limit or of one of its overrides.
type numbers struct {
	windows []Window
	// override is the pattern they come from; "" for the limit's own.
	override string
	// key is set when the override makes one budget of all that it names.
	key string
}

// Compile makes rules of the tables [limit.NAME]. The error joins every
// problem, each as "limit.NAME.KEY: problem; fix".
func Compile(cfg map[string]RuleConfig, env Env) (*Limits, error) {
	c := compiler{env: &env, clients: env.clientNames(), streams: setOf(env.Streams)}
	rs := &Limits{env: env, byClient: map[string][]*rule{}}
	for _, name := range slices.Sorted(maps.Keys(cfg)) {
		rs.rules = append(rs.rules, c.rule(name, cfg[name]))
	}
	if err := errors.Join(c.errs...); err != nil {
		return nil, err
	}
	rs.sort()
	return rs, nil
}

// sort lists the rules of each client that one names, and of all others.
func (rs *Limits) sort() {
	for _, r := range rs.rules {
		for client := range r.clients {
			rs.byClient[client] = append(rs.byClient[client], r)
		}
		if r.clients == nil {
			rs.others = append(rs.others, r)
		}
	}
	for client, own := range rs.byClient {
		all := append(slices.Clone(rs.others), own...)
		slices.SortFunc(all, func(a, b *rule) int { return strings.Compare(a.name, b.name) })
		rs.byClient[client] = all
	}
}

// of is the rules that may concern a client.
func (rs *Limits) of(client string) []*rule {
	if rules, ok := rs.byClient[client]; ok {
		return rules
	}
	return rs.others
}

// Names lists the limits in order.
func (rs *Limits) Names() []string {
	names := make([]string, len(rs.rules))
	for i, r := range rs.rules {
		names[i] = r.name
	}
	return names
}

func (rs *Limits) rule(name string) *rule {
	i, ok := slices.BinarySearchFunc(rs.rules, name, func(r *rule, name string) int {
		return strings.Compare(r.name, name)
	})
	if !ok {
		return nil
	}
	return rs.rules[i]
}

// compiler gathers problems while it builds.
type compiler struct {
	env     *Env
	clients map[string]bool // all that exist; nil: any
	streams map[string]bool
	prefix  string // "limit.NAME."
	errs    []error
}

func (c *compiler) report(key, problem string) {
	c.errs = append(c.errs, fmt.Errorf("%s%s: %s", c.prefix, key, problem))
}

func (c *compiler) rule(name string, cfg RuleConfig) *rule {
	c.prefix = "limit." + QuoteKey(name) + "."
	if name == "" || len(name) > 100 {
		c.report("", "has no name, or one of over 100 octets; give it a short one")
	}
	cfg.Check(c.report)
	r := &rule{name: name, cfg: cfg}
	r.dims = slices.Sorted(slices.Values(cfg.Per))
	r.perDomain, r.perProvider = slices.Contains(r.dims, PerRecipientDomain), slices.Contains(r.dims, PerProvider)
	r.shared = !slices.Contains(r.dims, PerSender)
	r.clients = c.names("clients", cfg.Clients, c.clients)
	r.streams = c.names("streams", cfg.Streams, c.streams)
	r.senders = c.senders(cfg.Senders, cfg.FoldTag)
	r.at = c.domains("recipients_at", cfg.RecipientsAt)
	r.notAt = c.domains("recipients_not_at", cfg.RecipientsNotAt)
	r.in, r.notIn = newNetworks(cfg.Networks), newNetworks(cfg.NotNetworks)
	r.base = &numbers{windows: windowsOf(cfg.units(), cfg.Reserve)}
	for stream := range cfg.Reserve {
		c.names("reserve", []string{stream}, c.streams)
	}
	c.overrides(r)
	return r
}

// clientNames is the set of all clients, nil when they are not known.
func (e *Env) clientNames() map[string]bool {
	if e.Clients == nil {
		return nil
	}
	set := make(map[string]bool, len(e.Clients))
	for _, client := range e.Clients {
		set[client.Name] = true
	}
	return set
}

// setOf is the set of names, nil when names is.
func setOf(names []string) map[string]bool {
	if names == nil {
		return nil
	}
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// maxKnown is how many names are listed where one is wrong.
const maxKnown = 12

// names makes a set, nil when the list is blank; known nil: any name will do.
func (c *compiler) names(key string, list []string, known map[string]bool) map[string]bool {
	if len(list) == 0 {
		return nil
	}
	set := make(map[string]bool, len(list))
	for _, name := range list {
		if known != nil && !known[name] {
			c.report(key, fmt.Sprintf("names %q, which does not exist; %s", name, fixName(known)))
		}
		set[name] = true
	}
	return set
}

func fixName(known map[string]bool) string {
	if len(known) > maxKnown {
		return "correct the name"
	}
	return "known: " + strings.Join(slices.Sorted(maps.Keys(known)), ", ")
}

func (c *compiler) senders(list []string, tag bool) *mail.Patterns {
	if len(list) == 0 {
		return nil
	}
	set := &mail.Patterns{}
	for _, text := range list {
		p, err := c.env.sender(text, tag)
		if err != nil {
			c.report("senders", err.Error())
			continue
		}
		set.Add(p)
	}
	return set
}

func (c *compiler) domains(key string, list []string) *mail.Patterns {
	if len(list) == 0 {
		return nil
	}
	set := &mail.Patterns{}
	for _, pattern := range list {
		for _, p := range c.internal(pattern) {
			one, err := c.env.domain(strings.TrimPrefix(p, "@"))
			if err != nil {
				c.report(key, err.Error())
				continue
			}
			set.Add(one)
		}
	}
	return set
}

func (c *compiler) internal(pattern string) []string {
	if pattern == "internal" {
		return c.env.InternalDomains
	}
	return []string{pattern}
}

// windowsOf lists the windows of all units, in the order of the file.
func windowsOf(units []unitNumbers, reserve map[string]Percent) []Window {
	var windows []Window
	for _, u := range units {
		for _, n := range u.numbers {
			windows = append(windows, Window{
				Unit: u.unit, Length: n.Window, Max: n.N, Reserve: reserveOf(n.N, reserve),
			})
		}
	}
	return windows
}

// sender is the identity that the limit counts on.
func (r *rule) sender(i mail.Identity) mail.Identity {
	if r.cfg.FoldTag {
		return i.Untagged()
	}
	return i
}

// reserveOf rounds a share up: what is kept is never less than was promised.
func reserveOf(n int64, reserve map[string]Percent) []Reserve {
	var kept []Reserve
	left := n
	for _, stream := range slices.Sorted(maps.Keys(reserve)) {
		least := min(left, n/100*int64(reserve[stream])+(n%100*int64(reserve[stream])+99)/100)
		kept = append(kept, Reserve{Share: stream, Min: least})
		left -= least
	}
	return kept
}

// share is the part of a divided window that a stream counts in.
func (r *rule) share(stream string) string {
	if _, ok := r.cfg.Reserve[stream]; ok {
		return stream
	}
	return ""
}

// perRecipient reports whether the key depends on the recipient.
func (r *rule) perRecipient() bool { return r.perDomain || r.perProvider }

// perProvider reports whether any limit counts per group of receivers.
func (rs *Limits) perProvider() bool {
	return slices.ContainsFunc(rs.rules, func(r *rule) bool { return r.perProvider })
}

// counted reports whether a recipient counts.
func (r *rule) counted(to *Recipient) bool {
	return (r.cfg.Only.Strangers == "" || to.stranger(r.cfg.Only.Strangers)) && r.counts(to.Domain)
}

// shadow reports whether what the limit says of a transaction is reported only.
func (r *rule) shadow(f *Facts) bool {
	return r.cfg.Mode == Shadow || r.cfg.Only.Strangers != "" && !f.Watched
}

// late reports whether the limit goes by what only the header of a message tells: who
// its submitter is, from where that one sends, and how long it has done so.
func (r *rule) late(f *Facts) bool {
	return slices.Contains(r.dims, PerSubmitter) || f.Tells && (r.in != nil || r.notIn != nil) || f.Names && r.cfg.Only.NewSenders
}

// counts reports whether a recipient's domain counts.
func (r *rule) counts(domain string) bool {
	if r.at != nil && !r.at.MatchDomain(domain) {
		return false
	}
	return r.notAt == nil || !r.notAt.MatchDomain(domain)
}

// concerns reports whether the limit applies to a transaction at all; sender is
// as the limit knows it.
func (r *rule) concerns(f *Facts, sender mail.Identity) bool {
	if r.streams != nil && !r.streams[f.Stream] || r.cfg.Only.NewSenders && !f.NewSender || !r.placed(f) {
		return false
	}
	return r.senders == nil || r.senders.Match(sender)
}
