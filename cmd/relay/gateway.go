package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"postern/internal/config"
	"postern/mail"
)

// gateways are the next hops of this machine's routes. Connections that come
// from one of them have been rewritten on the way: by the bridge of containers,
// by NAT, by a load balancer that says nothing of its clients.
func gateways() []netip.Addr {
	return append(gatewaysOf("/proc/net/route", ipv4Gateway), gatewaysOf("/proc/net/ipv6_route", ipv6Gateway)...)
}

func gatewaysOf(file string, read func([]string) (netip.Addr, bool)) (as []netip.Addr) {
	f, err := os.Open(file)
	if err != nil {
		return nil // no Linux, or no such family
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		if a, ok := read(strings.Fields(in.Text())); ok && !slices.Contains(as, a) {
			as = append(as, a)
		}
	}
	return as
}

// ipv4Gateway reads a line of /proc/net/route: the third field, in the order of
// this machine's octets.
func ipv4Gateway(fields []string) (a netip.Addr, ok bool) {
	if len(fields) < 3 {
		return a, false
	}
	b, err := hex.DecodeString(fields[2])
	if err != nil || len(b) != 4 {
		return a, false
	}
	var native [4]byte
	binary.NativeEndian.PutUint32(native[:], binary.BigEndian.Uint32(b))
	a = netip.AddrFrom4(native)
	return a, !a.IsUnspecified()
}

// ipv6Gateway reads a line of /proc/net/ipv6_route: the fifth field.
func ipv6Gateway(fields []string) (a netip.Addr, ok bool) {
	if len(fields) < 5 {
		return a, false
	}
	b, err := hex.DecodeString(fields[4])
	if err != nil || len(b) != 16 {
		return a, false
	}
	a, _ = netip.AddrFromSlice(b)
	return a, !a.IsUnspecified()
}

// trustedGateways says which clients trust a network that holds a gateway:
// whoever comes through it then counts as that client.
func trustedGateways(f *config.File, gateways []netip.Addr) (warnings []string) {
	for _, name := range sorted(f.Client) {
		for _, network := range f.Client[name].Networks {
			for _, g := range gateways {
				if network.Contains(g) && len(f.Client[name].Users)+len(f.Client[name].Certificates) == 0 {
					warnings = append(warnings, fmt.Sprintf("client.%s.networks: %s contains %s, a gateway of this machine; whatever it forwards (a container bridge, NAT) counts as this client: name smaller networks, or have the proxy say who it is (proxy_protocol_from)", name, network, g))
				}
			}
		}
	}
	return warnings
}

// gatewayWatch warns once when nearly all transactions come from one gateway.
type gatewayWatch struct {
	log    *slog.Logger
	byText map[string]*gateway // those of IPv4 under two texts
	seen   atomic.Int64        // transactions since it last looked
	warned atomic.Bool

	mu  sync.Mutex // held while it looks
	all []*gateway
}

// gateway is one with what came through it since the watch last looked.
type gateway struct {
	text    string
	through atomic.Int64
}

const (
	gatewayAfter = 200 // transactions
	gatewayShare = 0.95
)

func newGatewayWatch(log *slog.Logger, gateways []netip.Addr) *gatewayWatch {
	g := &gatewayWatch{log: log, byText: map[string]*gateway{}}
	for _, ip := range gateways {
		one := &gateway{text: ip.String()}
		g.all = append(g.all, one)
		g.byText[one.text] = one
		if ip.Is4() {
			g.byText[netip.AddrFrom16(ip.As16()).String()] = one // as an IPv6 socket has it
		}
	}
	return g
}

// Observe counts where a transaction came from.
func (g *gatewayWatch) Observe(e *mail.Event) {
	if len(g.all) == 0 || e.ClientIP == "" || g.warned.Load() {
		return
	}
	if one := g.byText[e.ClientIP]; one != nil {
		one.through.Add(1)
	}
	if g.seen.Add(1) >= gatewayAfter {
		g.look()
	}
}

// look warns where it must, and begins anew.
func (g *gatewayWatch) look() {
	g.mu.Lock()
	defer g.mu.Unlock()
	seen := g.seen.Load()
	if seen < gatewayAfter || g.warned.Load() {
		return // another has just looked
	}
	for _, one := range g.all {
		if n := one.through.Load(); float64(n) >= gatewayShare*float64(seen) {
			g.warned.Store(true)
			g.log.Warn("nearly all clients arrive from one gateway, so that limits per address and networks of clients mean nothing",
				"gateway", one.text, "transactions", n, "of", seen,
				"remedy", "publish the port on the host's own network, or have the proxy send the PROXY protocol and set proxy_protocol_from")
		}
		one.through.Store(0)
	}
	g.seen.Store(0)
}
