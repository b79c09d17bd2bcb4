package node

import (
	"net/netip"

	"postern/internal/warmups"
	"postern/ratelimit"
	"postern/reputation/dnsbl"
)

// newWarmups makes the gates of new source addresses, still without any.
func (n *Node) newWarmups(store ratelimit.Store) *warmups.Set {
	return warmups.New(warmups.Options{Store: store, Run: n.run, Clients: n.clientsOf, Confirmed: n.confirmed, Log: n.log})
}

// confirmed reports whether a blocklist that is asked has an address listed.
func (n *Node) confirmed(source netip.Addr) bool {
	for _, l := range n.reputation.monitor.Listings() {
		if l.Open() && l.Confirmed && l.Target == dnsbl.AddressTarget(source) {
			return true
		}
	}
	return false
}
