package node

import (
	"maps"
	"slices"
	"time"

	"postern/internal/admin"
	"postern/internal/alert"
	"postern/internal/config"
	"postern/internal/expiry"
	"postern/outlier"
	"postern/reputation/dnsbl"
	"postern/reputation/identity"
)

// labels are the names of a configuration that metrics have from the start.
func labels(f *config.File) admin.Names {
	n := admin.Names{Clients: map[string]string{}, Limits: slices.Sorted(maps.Keys(f.Limits())), Upstreams: sortedNames(f.Upstream),
		Scanners: sortedNames(f.Scanner), Channels: sortedNames(f.Alert)}
	for name, c := range f.Client {
		n.Clients[name] = c.Stream
	}
	return n
}

// measured is what metrics tell of the node now; all that there can be is there, also
// with 0.
func (n *Node) measured() admin.Measured {
	s := admin.Measured{
		Suspensions: map[string]int{outlier.Sender: 0, outlier.User: 0, outlier.Mailbox: 0, outlier.Client: 0},
		Listings:    map[string]int{string(dnsbl.Addresses): 0, string(dnsbl.Domains): 0},
		Identity:    map[string]bool{}, Certificates: map[string]time.Time{}, Conditions: map[string]int{},
		ReloadOK: true, Reloaded: n.condition.started, Sensitivity: n.tuning.Sensitivity(),
	}
	for _, state := range n.watch.States(outlier.Suspended) {
		scope := state.Scope
		if scope == outlier.UserSender {
			scope = outlier.Sender
		}
		if !state.Shadow {
			s.Suspensions[scope]++
		}
	}
	for _, l := range n.reputation.monitor.Listings() {
		if l.Open() {
			s.Listings[string(l.Target.Kind)]++
		}
	}
	findings, _ := n.reputation.monitor.Findings()
	for i := range findings {
		f := &findings[i]
		was, seen := s.Identity[f.Check]
		s.Identity[f.Check] = f.Status != identity.Fail && (was || !seen)
	}
	for _, kind := range alert.Kinds() {
		s.Conditions[kind] = 0
	}
	for _, c := range n.alerts.board.Conditions() {
		s.Conditions[c.Kind]++
	}
	if l := n.condition.reloaded.Load(); l != nil {
		s.ReloadOK, s.Reloaded = l.OK, l.Time
	}
	s.Halves, s.Copies = countedHalves(n.halves.Counts())
	n.addCertificates(s.Certificates)
	return s
}

// addCertificates reads when the certificates of listeners end.
func (n *Node) addCertificates(ends map[string]time.Time) {
	for name, l := range n.file().Listener {
		files := []string{l.Certificate}
		for _, c := range l.Certificates {
			files = append(files, c.Certificate)
		}
		for _, file := range files {
			if file == "" {
				continue
			}
			if end, err := expiry.Read(file); err == nil && (ends[name].IsZero() || end.Before(ends[name])) {
				ends[name] = end
			}
		}
	}
}
