package mx

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"postern/internal/resolve"
)

// Owner is the registered domain that a domain or host name belongs to: its owner decides
// over all names below it.
func Owner(domain string) string { return resolve.Owner(domain) }

// Hosts returns the names of the hosts that take mail for a domain, the best preference
// first, equals by their names: all that its MX records have, else the domain itself; nil
// for an address literal and for a domain that takes no mail. The error is ErrDNS with its
// cause.
func (f *Finder) Hosts(ctx context.Context, domain string) ([]string, error) {
	if strings.HasPrefix(domain, "[") {
		return nil, nil
	}
	reply := f.resolver.Ask(ctx, domain, dns.TypeMX)
	switch reply.State {
	case resolve.Fault:
		return nil, fmt.Errorf("%w: MX of %s: %w", ErrDNS, domain, reply.Err)
	case resolve.NoName:
		return nil, nil
	case resolve.NoData:
		return []string{domain}, nil
	}
	return hostNames(resolve.Exchangers(reply.RRs)), nil
}

// KnowsHosts reports whether Hosts answers without a question to DNS.
func (f *Finder) KnowsHosts(domain string) bool {
	return strings.HasPrefix(domain, "[") || f.resolver.Knows(domain, dns.TypeMX)
}

// hostNames are the names in MX records, in the order of Hosts.
func hostNames(mxs []*dns.MX) []string {
	type host struct {
		name       string
		preference uint16
	}
	var all []host
	for _, m := range mxs {
		if name, ok := hostName(m.Mx); ok {
			all = append(all, host{name, m.Preference})
		}
	}
	slices.SortFunc(all, func(a, b host) int {
		return cmp.Or(cmp.Compare(a.preference, b.preference), cmp.Compare(a.name, b.name))
	})
	names := make([]string, 0, len(all))
	for _, h := range all {
		if len(names) == 0 || names[len(names)-1] != h.name {
			names = append(names, h.name)
		}
	}
	return names
}
