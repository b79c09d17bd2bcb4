package node

import (
	"context"

	"postern/internal/admin"
)

// providerOf is the group of receivers that a domain is in, for mail by an upstream
// with mx = true; "" for other mail.
func (n *Node) providerOf(ctx context.Context, upstream, domain string) string {
	r := n.inForce.Load()
	if r == nil || r.direct[upstream] == nil || domain == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, r.file.Timeouts.DNS)
	defer cancel()
	return r.direct[upstream].Provider(ctx, domain)
}

// lanes are the uses of groups of receivers, over all of our addresses.
func (r *ruleset) lanes() (all []admin.ProviderLane) {
	for _, name := range sortedNames(r.direct) {
		at := map[string]int{}
		for _, l := range r.direct[name].Lanes() {
			i, ok := at[l.Provider]
			if !ok {
				i = len(all)
				at[l.Provider], all = i, append(all, admin.ProviderLane{Upstream: name, Provider: l.Provider})
			}
			all[i].InUse += l.InUse
			all[i].Waiting += l.Waiting
			all[i].Refused += l.Refused
		}
	}
	return all
}
