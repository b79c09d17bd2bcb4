package node

import (
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"

	"postern/mail"
)

// gatewayWatch warns once when nearly all transactions come from one gateway.
type gatewayWatch struct {
	log    *slog.Logger
	byText map[string]*gateway // those of IPv4 under two texts
	seen   atomic.Int64        // transactions since it last looked
	warn   rate.Sometimes

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
	g := &gatewayWatch{log: log, byText: map[string]*gateway{}, warn: rate.Sometimes{First: 1}}
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
	if len(g.all) == 0 || e.ClientIP == "" {
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
	if seen < gatewayAfter {
		return // another has just looked
	}
	for _, one := range g.all {
		if n := one.through.Load(); float64(n) >= gatewayShare*float64(seen) {
			g.warn.Do(func() {
				g.log.Warn("nearly all clients arrive from one gateway, so that limits per address and networks of clients mean nothing",
					"gateway", one.text, "transactions", n, "of", seen,
					"remedy", "publish the port on the host's own network, or have the proxy send the PROXY protocol and set proxy_protocol_from")
			})
		}
		one.through.Store(0)
	}
	g.seen.Store(0)
}
