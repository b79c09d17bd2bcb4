package mx

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Self is who we are, so that no mail comes back to us.
type Self struct {
	// Names that we have: our host name and those given in EHLO.
	Names []string
	// Addresses that we have beside those of this machine's interfaces, such as
	// those that the world sees behind NAT.
	Addresses []netip.Addr
	// Listeners are the addresses that we listen on.
	Listeners []netip.AddrPort
}

// hasName reports whether a host name, without its final dot, is ours.
func (s *Self) hasName(name string) bool {
	return slices.ContainsFunc(s.Names, func(n string) bool { return strings.EqualFold(strings.TrimSuffix(n, "."), name) })
}

// listens reports whether we would answer ourselves at an address. One that is
// unspecified answers on all that this machine has.
func (s *Self) listens(at netip.AddrPort, local bool) bool {
	return slices.ContainsFunc(s.Listeners, func(l netip.AddrPort) bool {
		return l.Port() == at.Port() && (l.Addr().Unmap() == at.Addr() || l.Addr().IsUnspecified() && local)
	})
}

// interfaces are the addresses of this machine, read again now and then.
type interfaces struct {
	list func() ([]net.Addr, error)

	mu    sync.Mutex
	addrs []netip.Addr
	read  time.Time
}

// rereadEvery is how soon a new address of this machine is seen.
const rereadEvery = 30 * time.Second

func (i *interfaces) has(a netip.Addr, now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if age := now.Sub(i.read); i.read.IsZero() || age < 0 || age >= rereadEvery {
		i.reread(now)
	}
	return slices.Contains(i.addrs, a)
}

// reread keeps what was known where the system does not say.
func (i *interfaces) reread(now time.Time) {
	i.read = now
	list, err := i.list()
	if err != nil {
		return
	}
	i.addrs = i.addrs[:0]
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			i.addrs = append(i.addrs, p.Addr().Unmap().WithZone(""))
		}
	}
}

// ours reports whether we would reach ourselves at an address. An interface in
// allow_networks may be another program's, where none of our listeners is there.
func (f *Finder) ours(at netip.AddrPort) bool {
	a := at.Addr()
	local := f.interfaces.has(a, f.now()) || a.IsLoopback()
	switch {
	case slices.Contains(f.self.Addresses, a), f.self.listens(at, local):
		return true
	case slices.ContainsFunc(f.cfg.AllowNetworks, func(p netip.Prefix) bool { return p.Contains(a) }):
		return false
	}
	return f.interfaces.has(a, f.now())
}
