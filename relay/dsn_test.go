package relay

import (
	"net/netip"
	"testing"

	"postern/mail"
	"postern/upstream/direct"
)

// TestDSNIsNotOfferedForExchangers: whoever takes the mail there is not known before
// a recipient is, and is another for the next one.
func TestDSNIsNotOfferedForExchangers(t *testing.T) {
	r := newRig(t)
	r.set("", "route.met true")
	r.start()
	peer := &mail.Peer{Addr: netip.MustParseAddrPort("127.0.0.1:1"), Listener: "test"}
	if !r.server.offersDSN(peer, false) {
		t.Fatal("not offered for a host that offers it")
	}
	next := *r.server.snapshot()
	next.Routes = map[string]*Route{"main": {Name: "world", Direct: new(direct.Upstream)}}
	for name, routes := range map[string]map[string]*Route{"exchangers": next.Routes, "no route": {}} {
		next := next
		next.Routes = routes
		old := r.server.snapshot()
		r.server.Reload(&next)
		if r.server.offersDSN(peer, false) {
			t.Errorf("offered for %s", name)
		}
		r.server.Reload(old)
	}
	if r.server.offersDSN(&mail.Peer{Addr: netip.MustParseAddrPort("203.0.113.5:1"), Listener: "test"}, false) {
		t.Error("offered to who can become no client")
	}
}
