package node

import (
	"maps"
	"os"
	"slices"
	"time"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/outlier"
)

// status is this node at the moment.
func (n *Node) status() admin.Status {
	rules := n.inForce.Load()
	f := rules.File
	s := admin.Status{
		Version: n.options.Version, Hostname: f.Hostname, Config: config.FullPath(f.Path()), PID: os.Getpid(), Started: n.condition.started,
		Readiness: n.readiness(), Upstreams: rules.Hosts(), Scanners: rules.ScannerStatus(), Store: n.storeStatus(), LastReload: n.condition.reloaded.Load(),
		Connections: n.server.Connections(), Tuning: n.tuning.Status(),
	}
	n.condition.mu.Lock()
	s.Listeners = n.condition.listeners
	n.condition.mu.Unlock()
	paused := n.receivers.backoff.Paused()
	for _, name := range slices.Sorted(maps.Keys(f.Stream)) {
		up := f.Stream[name].Upstream
		s.Streams = append(s.Streams, admin.StreamStatus{Name: name, Upstream: up, Capture: f.Upstream[up].Capture != "", Paused: paused[name]})
	}
	for _, of := range n.watch.States(outlier.Throttled) {
		switch {
		case of.Shadow:
		case of.Level == outlier.Suspended:
			s.Suspended++
		default:
			s.Throttled++
		}
	}
	return s
}

// storeStatus is the state of the store as it was told last.
func (n *Node) storeStatus() admin.StoreStatus {
	n.condition.mu.Lock()
	defer n.condition.mu.Unlock()
	return n.condition.store
}

func (n *Node) setStore(s admin.StoreStatus) {
	n.condition.mu.Lock()
	defer n.condition.mu.Unlock()
	s.Since = time.Now()
	n.condition.store = s
}

// noteListeners keeps which listeners are open; n.mu is s2, or nobody else has
// the node yet.
func (n *Node) noteListeners() {
	list := make([]admin.ListenerStatus, 0, len(n.listeners))
	for _, name := range slices.Sorted(maps.Keys(n.listeners)) {
		l := n.listeners[name]
		list = append(list, admin.ListenerStatus{Name: name, Address: l.Addr().String(), TLS: string(l.cfg.TLS)})
	}
	n.condition.mu.Lock()
	defer n.condition.mu.Unlock()
	n.condition.listeners = list
}
