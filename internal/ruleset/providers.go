package ruleset

import (
	"context"
	"maps"
	"slices"

	"postern/internal/admin"
)

// Provider is the group of receivers that a domain is in, for mail by an upstream
// with mx = true; "" for other mail.
func (r *Set) Provider(ctx context.Context, upstream, domain string) string {
	if r.Direct[upstream] == nil || domain == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, r.File.Timeouts.DNS)
	defer cancel()
	return r.Direct[upstream].Provider(ctx, domain)
}

// Lanes are the uses of groups of receivers, over all of our addresses.
func (r *Set) Lanes() (all []admin.ProviderLane) {
	for _, name := range slices.Sorted(maps.Keys(r.Direct)) {
		at := map[string]int{}
		for _, l := range r.Direct[name].Lanes() {
			i, ok := at[l.Provider]
			if !ok {
				i = len(all)
				at[l.Provider], all = i, append(all, admin.ProviderLane{Upstream: name, Provider: l.Provider})
			}
			all[i].Sources++
			all[i].InUse += l.InUse
			all[i].Open += l.Open
			all[i].Waiting += l.Waiting
			all[i].Refused += l.Refused
		}
	}
	return all
}
