package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"

	"postern/upstream/warmup"
)

// warmups hold the tables [upstream.NAME.warmup] against the others.
func (x *crossCheck) warmups() {
	for _, name := range x.names["upstream"] {
		u, path := x.Upstream[name], join(join("upstream", name), "warmup")
		if u.Warmup == nil {
			continue
		}
		if !u.MX {
			x.d.problem(path, "does something with mx = true only; remove the table")
			continue
		}
		all := x.sourcesOf(name)
		for i, a := range u.Warmup.Sources {
			if !slices.Contains(all, a) {
				x.d.problem(join(join(path, "sources"), strconv.Itoa(i)), fmt.Sprintf("no stream of this upstream has %s in source_ip; add it there, or remove it here", a))
			}
		}
		for i, group := range u.Warmup.Providers {
			if known := x.providerNames(); known != nil && !slices.Contains(known, group) {
				x.d.problem(join(join(path, "providers"), strconv.Itoa(i)), fmt.Sprintf("%q is no group of receivers; docs/delivery.md lists those built in, or write [provider.%s]", group, group))
			}
		}
		x.overflow(join(path, "overflow"), name, u.Warmup)
	}
}

// sourcesOf are the addresses that mail of an upstream leaves from.
func (x *crossCheck) sourcesOf(upstream string) (all []netip.Addr) {
	for _, name := range x.names["stream"] {
		if s := x.Stream[name]; s.Upstream == upstream {
			all = append(all, s.SourceIP...)
		}
	}
	return all
}

// overflow checks the stream by whose addresses mail leaves that does not fit: they must
// not be warmed up themselves, and its mail must be signed alike, for what leaves has
// been signed for its own stream.
func (x *crossCheck) overflow(path, upstream string, c *warmup.Config) {
	s, ok := x.Stream[c.Overflow]
	switch {
	case c.Overflow == warmup.Defer || c.Overflow == "":
		return
	case !ok:
		x.d.problem(path, x.noSuch("stream", c.Overflow))
		return
	case s.Upstream != upstream:
		x.d.problem(path, fmt.Sprintf("stream %s leaves by upstream %s; name one that leaves by this upstream", c.Overflow, s.Upstream))
		return
	case len(s.SourceIP) == 0:
		x.d.problem(path, fmt.Sprintf("stream %s has no source_ip; give it the addresses that are warm", c.Overflow))
	}
	for _, a := range s.SourceIP {
		if len(c.Sources) == 0 || slices.Contains(c.Sources, a) {
			x.d.problem(path, fmt.Sprintf("%s of stream %s is warmed up, too; name in sources only the addresses that are cold", a, c.Overflow))
			return
		}
	}
	for _, name := range x.names["stream"] {
		if other := x.Stream[name]; other.Upstream == upstream && !reflect.DeepEqual(x.Way(name), x.Way(c.Overflow)) {
			x.d.problem(path, fmt.Sprintf("stream %s signs in another way than %s; let both sign alike", c.Overflow, name))
			return
		}
	}
}

// Overflow is how mail of an upstream leaves that does not fit into the budgets of its
// new addresses; nil: it waits.
func (f *File) Overflow(upstream string) *warmup.Overflow {
	c := f.Upstream[upstream].Warmup
	if c == nil || c.Overflow == warmup.Defer {
		return nil
	}
	s := f.Stream[c.Overflow]
	return &warmup.Overflow{Sources: s.SourceIP, EHLO: s.EHLO}
}
