package ruleset

import (
	"maps"
	"slices"
	"time"

	"postern/internal/admin"
)

// Meet has each upstream speak with hosts of which nothing is known yet, on the way
// of the first stream that uses it. It waits for their answers, not longer than wait.
func (r *Set) Meet(wait time.Duration) {
	met := map[string]bool{}
	var all []<-chan struct{}
	for _, stream := range slices.Sorted(maps.Keys(r.Snapshot.Routes)) {
		if route := r.Snapshot.Routes[stream]; route.Upstream != nil && !met[route.Name] {
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

// Hosts are the states of all upstream hosts, for metrics and status.
func (r *Set) Hosts() (all []admin.UpstreamHost) {
	for _, name := range slices.Sorted(maps.Keys(r.Upstreams)) {
		for _, h := range r.Upstreams[name].Hosts() {
			all = append(all, admin.UpstreamHost{
				Upstream: name, Host: h.Host, Up: h.Up, Since: h.Since, LastSuccess: h.LastSuccess,
				LastFailure: h.LastFailure, LastError: h.LastError, Surplus: h.Surplus,
				PerConnection: h.PerConnection, DSN: h.DSN, InUse: h.InUse, Idle: h.Idle, Max: h.Max,
			})
		}
	}
	return all
}
