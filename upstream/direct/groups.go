package direct

import (
	"context"
	"sync"

	"postern/mx/provider"
)

// maxKnown is of how many domains the group is remembered.
const maxKnown = 20_000

// groupsKnown remembers which domains are in a group of receivers, longer than DNS has
// their answers be kept. Without it a client could move its mail out of the budget of a
// group: by asking for so many other domains that no question is left, or by slow DNS of a
// domain of its own. The zero value is ready.
type groupsKnown struct {
	mu sync.Mutex
	of map[string]string // by domain; never provider.Other
}

// note remembers the group of a domain, or that it is in none any more.
func (k *groupsKnown) note(domain, group string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.of[domain] == group:
		return
	case group == provider.Other:
		delete(k.of, domain)
		return
	case k.of == nil:
		k.of = map[string]string{}
	case len(k.of) >= maxKnown:
		for d := range k.of { // some; those that still get mail come again
			if delete(k.of, d); len(k.of) < maxKnown*9/10 {
				break
			}
		}
	}
	k.of[domain] = group
}

// group is that of a domain as it was last; provider.Other where none is known.
func (k *groupsKnown) group(domain string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if g, ok := k.of[domain]; ok {
		return g
	}
	return provider.Other
}

// Provider is the name of the group of receivers that a domain is in: provider.Other
// where none claims it. Where DNS does not say in time, or ctx has ended, it is the group
// that it was in last, as far as that is remembered. It asks DNS where the answer is not
// kept any more, see KnowsProvider.
func (u *Upstream) Provider(ctx context.Context, domain string) string {
	hosts, err := u.finder.Hosts(ctx, domain)
	if err != nil {
		return u.known.group(domain)
	}
	group := provider.NameOf(u.opt.Groups.Of(hosts))
	u.known.note(domain, group)
	return group
}

// LastProvider is the group that a domain was in when it was last known; provider.Other
// where it never was. It asks nobody.
func (u *Upstream) LastProvider(domain string) string { return u.known.group(domain) }

// KnowsProvider reports whether Provider answers without a question to DNS.
func (u *Upstream) KnowsProvider(domain string) bool { return u.finder.KnowsHosts(domain) }
