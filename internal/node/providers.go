package node

import (
	"postern/internal/admin"
)

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
