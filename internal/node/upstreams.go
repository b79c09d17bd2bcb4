package node

import (
	"maps"
	"slices"
	"time"

	"postern/internal/admin"
)

// meetWait is how long a start waits for the first answers of upstream hosts.
const meetWait = time.Second

// meet has each upstream speak with hosts of which nothing is known yet, on the way
// of the first stream that uses it. It waits for their answers, not longer than wait.
func (r *ruleset) meet(wait time.Duration) {
	met := map[string]bool{}
	var all []<-chan struct{}
	for _, stream := range slices.Sorted(maps.Keys(r.snapshot.Routes)) {
		if route := r.snapshot.Routes[stream]; route.Upstream != nil && !met[route.Name] {
			met[route.Name] = true
			all = append(all, route.Upstream.Meet(route.Via))
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for _, done := range all {
		select {
		case <-done:
		case <-timer.C:
			return
		}
	}
}

// hosts are the states of all upstream hosts, for metrics and status.
func (r *ruleset) hosts() (all []admin.UpstreamHost) {
	for _, name := range slices.Sorted(maps.Keys(r.upstreams)) {
		for _, h := range r.upstreams[name].Hosts() {
			all = append(all, admin.UpstreamHost{
				Upstream: name, Host: h.Host, Up: h.Up, Since: h.Since, LastSuccess: h.LastSuccess,
				LastFailure: h.LastFailure, LastError: h.LastError, Surplus: h.Surplus,
				PerConnection: h.PerConnection, DSN: h.DSN,
			})
		}
	}
	return all
}
