package node

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/health"
	"postern/ratelimit"
	"postern/upstream"
)

// condition is what a node remembers of how it does.
type condition struct {
	started  time.Time
	serving  atomic.Bool
	draining atomic.Pointer[time.Time] // when the stop began
	reloaded atomic.Pointer[admin.ReloadStatus]

	probing sync.Mutex // held while the state folder is tried

	mu        sync.Mutex
	store     admin.StoreStatus
	listeners []admin.ListenerStatus
}

// readiness says whether this node takes mail.
func (n *Node) readiness() admin.Readiness {
	r := admin.Readiness{Reasons: []admin.Reason{}, Degraded: []admin.Reason{}}
	add := func(ready bool, reason admin.Reason) {
		if ready {
			r.Degraded = append(r.Degraded, reason)
		} else {
			r.Reasons = append(r.Reasons, reason)
		}
	}
	switch since := n.condition.draining.Load(); {
	case since != nil:
		add(false, admin.Reason{What: admin.Draining, Since: *since, Text: "the relay is stopping"})
	case !n.condition.serving.Load():
		add(false, admin.Reason{What: admin.Starting, Since: n.condition.started, Text: "the relay is starting"})
	}
	rules := n.inForce.Load()
	if s := n.storeStatus(); s.State == StoreAway {
		add(storeReason(rules.File, s))
	}
	for _, name := range slices.Sorted(maps.Keys(rules.Upstreams)) {
		if hosts := rules.Upstreams[name].Hosts(); isNeeded(rules.File, name) {
			if reason, ready := upstreamReason(name, hosts, rules.File.Admin.ReadyAfter, time.Now()); reason.What != "" {
				add(ready, reason)
			}
		}
	}
	for _, s := range rules.Scanners.States() {
		if !s.Up {
			reason, ready := scannerReason(&s, rules.File.Scanner[s.Name], rules.File.Admin.ReadyAfter, time.Now())
			add(ready, reason)
		}
	}
	if l := n.condition.reloaded.Load(); l != nil && !l.OK {
		add(true, admin.Reason{What: admin.Reload, Since: l.Time, Text: "the last reload failed; the configuration of before is in force"})
	}
	for _, h := range n.health.Reasons() {
		text := map[string]string{health.State: "the state folder cannot be written: ", health.Journal: "the journal cannot be written: ",
			health.Control: "there is no control socket: ", health.Tokens: "no token is taken: "}[h.What] + h.Text
		add(h.What != health.State, admin.Reason{What: h.What, Since: h.Since, Text: text})
	}
	r.Degraded = append(r.Degraded, n.alerts.failing()...)
	r.Ready = len(r.Reasons) == 0
	return r
}

// storeReason is that of a store that is away: mail waits if a limit says so.
func storeReason(f *config.File, s admin.StoreStatus) (ready bool, reason admin.Reason) {
	var waits []string
	for name, l := range f.Limits() {
		if l.OnStoreFailure == ratelimit.FailDefer && l.Mode != ratelimit.Shadow {
			waits = append(waits, name)
		}
	}
	slices.Sort(waits)
	reason = admin.Reason{What: admin.Store, Since: s.Since, Text: "Redis is away; each limit goes on as its on_store_failure says"}
	if len(waits) > 0 {
		reason.Text = "Redis is away, and mail waits for these limits: " + strings.Join(waits, ", ")
	}
	return len(waits) == 0, reason
}

// isNeeded reports whether the mail of a stream leaves by an upstream.
func isNeeded(f *config.File, name string) bool {
	for _, s := range f.Stream {
		if s.Upstream == name {
			return true
		}
	}
	return false
}

// upstreamReason is that of an upstream with hosts that are down; What is blank
// when there is none. The upstream keeps the relay from being ready when all of
// them have been down for longer than after.
func upstreamReason(name string, hosts []upstream.HostState, after time.Duration, now time.Time) (reason admin.Reason, ready bool) {
	var down []string
	var last, first time.Time // of the hosts that are down, when they went
	for i := range hosts {
		h := &hosts[i]
		if h.Up {
			continue
		}
		down = append(down, h.Host)
		if h.Since.After(last) {
			last = h.Since
		}
		if first.IsZero() || h.Since.Before(first) {
			first = h.Since
		}
	}
	switch {
	case len(down) == 0:
		return reason, true
	case len(down) < len(hosts):
		return admin.Reason{What: admin.Upstream, Name: name, Since: first,
			Text: fmt.Sprintf("%s of upstream %s is down; mail goes by its other hosts", strings.Join(down, ", "), name)}, true
	}
	return admin.Reason{What: admin.Upstream, Name: name, Since: last,
		Text: fmt.Sprintf("no host of upstream %s can be used: %s", name, strings.Join(down, ", "))}, now.Sub(last) < after
}
