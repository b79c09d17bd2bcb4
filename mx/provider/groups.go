package provider

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"postern/internal/text"
)

// Other is the name of the group of all domains that no group claims.
const Other = "other"

// Group is a large receiver with the hosts by which it is known.
type Group struct {
	Name string
	// MX are the names of its hosts, exact or "*.NAME".
	MX []string
	// Connections, MessagesPerConnection, Rate and TLS are as in Config; their zero
	// values want nothing.
	Connections           int
	MessagesPerConnection int
	Rate                  Rate
	TLS                   TLS
}

// Groups are all groups of a configuration. They are immutable.
type Groups struct {
	byName map[string]*Group
	hosts  map[string]*Group // by exact name
	below  map[string]*Group // by the NAME of "*.NAME"
}

// New makes groups of the built-in table and of [provider.NAME], which adds to it
// or overrides it key by key. A name or pattern that the configuration gives to one
// group goes to no other. The error joins every problem, each as
// "provider.NAME.KEY: problem; fix".
func New(cfg map[string]Config) (*Groups, error) {
	g := &Groups{byName: map[string]*Group{}, hosts: map[string]*Group{}, below: map[string]*Group{}}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(cfg)) {
		c := cfg[name]
		one := &Group{Name: name}
		if b := builtIn(name); b != nil {
			*one = *b
		}
		one.override(&c)
		switch {
		case name == Other:
			errs = append(errs, fmt.Errorf("provider.%s: is the group of all that no other has; choose another name", name))
		case len(one.MX) == 0:
			errs = append(errs, fmt.Errorf(`provider.%s.mx: missing; name the MX hosts, such as mx = ["*.example.net"]`, name))
		}
		g.byName[name] = one
		if len(c.MX) > 0 {
			errs = append(errs, g.claim(one))
		}
	}
	for i := range table {
		b := &table[i]
		own, overridden := cfg[b.Name]
		if !overridden {
			g.byName[b.Name] = b
		}
		if len(own.MX) == 0 {
			_ = g.claim(g.byName[b.Name]) // what is taken stays with the configuration's group
		}
	}
	return g, errors.Join(errs...)
}

func builtIn(name string) *Group {
	if i := slices.IndexFunc(table, func(g Group) bool { return g.Name == name }); i >= 0 {
		return &table[i]
	}
	return nil
}

// override puts what c says in place of what g has.
func (g *Group) override(c *Config) {
	if len(c.MX) > 0 {
		g.MX = c.MX
	}
	g.Connections = cmp.Or(c.Connections, g.Connections)
	g.MessagesPerConnection = cmp.Or(c.MessagesPerConnection, g.MessagesPerConnection)
	g.Rate, g.TLS = cmp.Or(c.Rate, g.Rate), cmp.Or(c.TLS, g.TLS)
}

// claim gives its hosts to a group, except for those that another one has.
func (g *Groups) claim(one *Group) error {
	var errs []error
	for i, text := range one.MX {
		p, err := normal(text)
		if err != nil {
			continue // Check has said so
		}
		name, below := strings.CutPrefix(p, "*.")
		to := g.hosts
		if below {
			to = g.below
		}
		if other := to[name]; other != nil {
			errs = append(errs, fmt.Errorf("provider.%s.mx.%d: %q stands in [provider.%s], too; remove one", one.Name, i, text, other.Name))
			continue
		}
		to[name] = one
	}
	return errors.Join(errs...)
}

// OfHost is the group of an MX host; nil where none claims it. The most specific
// name or pattern decides. name is that of the MX record, in any case, with or
// without a final dot.
func (g *Groups) OfHost(name string) *Group {
	if g == nil {
		return nil
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if one := g.hosts[name]; one != nil {
		return one
	}
	for {
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			return nil
		}
		if one := g.below[rest]; one != nil {
			return one
		}
		name = rest
	}
}

// Of is the group of a domain with these MX hosts, the one of the best preference
// first: that of the first host which a group claims. So a domain of which a part
// of the mail goes to a group is in it. Nil where none claims any of them.
func (g *Groups) Of(hosts []string) *Group {
	for _, h := range hosts {
		if one := g.OfHost(h); one != nil {
			return one
		}
	}
	return nil
}

// Named is the group with that name; nil where there is none.
func (g *Groups) Named(name string) *Group {
	if g == nil {
		return nil
	}
	return g.byName[name]
}

// Names returns the names of all groups in order, Other as the last.
func (g *Groups) Names() []string { return append(slices.Sorted(maps.Keys(g.byName)), Other) }

// NameOf is the name of a group; Other for nil.
func NameOf(g *Group) string {
	if g == nil {
		return Other
	}
	return g.Name
}

// String says what a group wants, such as "5 connections, 50 messages on each, TLS
// required".
func (g *Group) String() string {
	var words []string
	if g.Connections > 0 {
		words = append(words, text.Count(g.Connections, "connection", "connections"))
	}
	if g.MessagesPerConnection > 0 {
		words = append(words, text.Count(g.MessagesPerConnection, "message", "messages")+" on each")
	}
	if g.Rate.N > 0 {
		words = append(words, "pace "+g.Rate.String())
	}
	if g.TLS != "" {
		words = append(words, "TLS "+string(g.TLS))
	}
	return strings.Join(words, ", ")
}
