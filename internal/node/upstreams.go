package node

import (
	"maps"
	"slices"

	"postern/internal/admin"
)

// hosts are the states of all upstream hosts, for metrics and status.
func (r *ruleset) hosts() (all []admin.UpstreamHost) {
	for _, name := range slices.Sorted(maps.Keys(r.upstreams)) {
		for _, h := range r.upstreams[name].Hosts() {
			all = append(all, admin.UpstreamHost{
				Upstream: name, Host: h.Host, Up: h.Up, Since: h.Since, LastSuccess: h.LastSuccess,
				LastFailure: h.LastFailure, LastError: h.LastError, Surplus: h.Surplus,
				PerConnection: h.PerConnection,
			})
		}
	}
	return all
}
