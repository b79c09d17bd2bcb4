package ratelimit

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Rules are the limits of a configuration, compiled. They are immutable and
// may be shared.
type Rules struct {
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
	// an error. Nil: names are not held against anything.
	Clients []EnvClient
	Streams []string
	// Domain normalises a domain to lower-case A-labels. Nil: ASCII only.
	Domain func(string) (string, error)
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
	fold      fold
	dims      []Dimension
	clients   map[string]bool
	streams   map[string]bool
	senders   *senderSet // nil: all
	at, notAt *domainSet // nil: all, none
	base      *numbers
	overrides overrideSet
	// perDomain: the key holds the recipient's domain.
	perDomain bool
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
func Compile(cfg map[string]RuleConfig, env Env) (*Rules, error) {
	c := compiler{env: &env}
	rs := &Rules{env: env, byClient: map[string][]*rule{}}
	for _, name := range slices.Sorted(maps.Keys(cfg)) {
		rs.rules = append(rs.rules, c.rule(name, cfg[name]))
	}
	if err := errors.Join(c.errs...); err != nil {
		return nil, err
	}
	for _, r := range rs.rules {
		for client := range r.clients {
			rs.byClient[client] = nil
		}
	}
	for client := range rs.byClient {
		for _, r := range rs.rules {
			if r.clients == nil || r.clients[client] {
				rs.byClient[client] = append(rs.byClient[client], r)
			}
		}
	}
	for _, r := range rs.rules {
		if r.clients == nil {
			rs.others = append(rs.others, r)
		}
	}
	return rs, nil
}

// of is the rules that may concern a client.
func (rs *Rules) of(client string) []*rule {
	if rules, ok := rs.byClient[client]; ok {
		return rules
	}
	return rs.others
}

// Names lists the limits in order.
func (rs *Rules) Names() []string {
	names := make([]string, len(rs.rules))
	for i, r := range rs.rules {
		names[i] = r.name
	}
	return names
}

func (rs *Rules) rule(name string) *rule {
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
	env    *Env
	prefix string // "limit.NAME."
	errs   []error
}

func (c *compiler) report(key, problem string) {
	c.errs = append(c.errs, fmt.Errorf("%s%s: %s", c.prefix, key, problem))
}

func (c *compiler) rule(name string, cfg RuleConfig) *rule {
	c.prefix = "limit." + quoteKey(name) + "."
	if name == "" || len(name) > 100 {
		c.report("", "has no name, or one of over 100 octets; give it a short one")
	}
	cfg.Check(c.report)
	r := &rule{name: name, cfg: cfg, fold: fold{tag: cfg.FoldTag, lower: cfg.FoldCase}}
	r.dims = slices.Sorted(slices.Values(cfg.Per))
	r.perDomain = slices.Contains(r.dims, PerRecipientDomain)
	r.shared = !slices.Contains(r.dims, PerSender)
	r.clients = c.names("clients", cfg.Clients, c.clientNames())
	r.streams = c.names("streams", cfg.Streams, c.env.Streams)
	r.senders = c.senders(cfg.Senders, r.fold)
	r.at = c.domains("recipients_at", cfg.RecipientsAt)
	r.notAt = c.domains("recipients_not_at", cfg.RecipientsNotAt)
	r.base = &numbers{windows: windowsOf(cfg.units(), cfg.Reserve)}
	for stream := range cfg.Reserve {
		c.names("reserve", []string{stream}, c.env.Streams)
	}
	c.overrides(r)
	return r
}

func (c *compiler) clientNames() []string {
	if c.env.Clients == nil {
		return nil
	}
	names := []string{}
	for _, client := range c.env.Clients {
		names = append(names, client.Name)
	}
	return names
}

// names makes a set, nil when the list is blank; known nil: any name will do.
func (c *compiler) names(key string, list, known []string) map[string]bool {
	if len(list) == 0 {
		return nil
	}
	set := make(map[string]bool, len(list))
	for _, name := range list {
		if known != nil && !slices.Contains(known, name) {
			c.report(key, fmt.Sprintf("names %q, which does not exist; known: %s", name, strings.Join(known, ", ")))
		}
		set[name] = true
	}
	return set
}

func (c *compiler) senders(list []string, f fold) *senderSet {
	if len(list) == 0 {
		return nil
	}
	set := &senderSet{exact: map[string]bool{}}
	for _, pattern := range list {
		form, err := c.env.senderForm(pattern, f)
		if err != nil {
			c.report("senders", err.Error())
			continue
		}
		if domain, ok := strings.CutPrefix(form, "@"); ok {
			set.domains.add(domain)
		} else {
			set.exact[form] = true
		}
	}
	return set
}

func (c *compiler) domains(key string, list []string) *domainSet {
	if len(list) == 0 {
		return nil
	}
	set := &domainSet{}
	for _, pattern := range list {
		for _, p := range c.internal(pattern) {
			form, err := c.env.domainForm(strings.TrimPrefix(p, "@"))
			if err != nil {
				c.report(key, err.Error())
				continue
			}
			set.add(form)
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
func windowsOf(units [4]unitNumbers, reserve map[string]Percent) []Window {
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

// counts reports whether a recipient's domain counts.
func (r *rule) counts(domain string) bool {
	if r.at != nil && !r.at.match(domain) {
		return false
	}
	return r.notAt == nil || !r.notAt.match(domain)
}

// concerns reports whether the limit looks at a transaction at all; sender is
// folded.
func (r *rule) concerns(f *Facts, sender string) bool {
	if r.streams != nil && !r.streams[f.Stream] {
		return false
	}
	return r.senders == nil || r.senders.match(sender, f.SenderDomain)
}
