package auth

import (
	"context"
	"errors"
	"net/netip"
	"testing"
)

func TestGateLetsOnlySoManyIn(t *testing.T) {
	g := newGate(2)
	from := networkOf(home)
	first, err := g.enter(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.enter(t.Context(), from); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.enter(gone, from); !errors.Is(err, context.Canceled) {
		t.Errorf("third: %v", err)
	}
	first()
	if _, err := g.enter(t.Context(), from); err != nil {
		t.Errorf("after one left: %v", err)
	}
	if g.waiting != 2 {
		t.Errorf("%d inside, want 2", g.waiting)
	}
}

func TestGateBoundsWhoWaits(t *testing.T) {
	g := newGate(1)
	from := networkOf(home)
	for range maxWaitingPerAddr + 1 {
		if !g.admit(from) {
			t.Fatal("refused too early")
		}
	}
	if _, err := g.enter(t.Context(), from); !errors.Is(err, errBusy) {
		t.Errorf("one too many from one address: %v", err)
	}
	addr := home
	for g.waiting < maxWaiting+1 {
		addr = addr.Next()
		if !g.admit(networkOf(addr)) {
			t.Fatal("refused another address")
		}
	}
	if _, err := g.enter(t.Context(), netip.Prefix{}); !errors.Is(err, errBusy) {
		t.Errorf("one too many in all: %v", err)
	}
}

func TestLocalForgetsTheOldest(t *testing.T) {
	c := newClock()
	var cfg Config
	cfg.SetDefaults()
	l := NewLocal(cfg, c.now)
	addr := netip.MustParseAddr("10.0.0.0")
	for range remembers + 1 {
		addr = addr.Next()
		l.Failed(t.Context(), networkOf(addr), addr.String())
	}
	if len(l.addrs.entries) != remembers || len(l.users.entries) != remembers || l.addrs.recent.Len() != remembers {
		t.Errorf("%d addresses, %d users", len(l.addrs.entries), len(l.users.entries))
	}
	if n, _ := l.Failed(t.Context(), networkOf(netip.MustParseAddr("10.0.0.1")), "new"); n.Addr != 1 {
		t.Errorf("the oldest was not forgotten: %+v", n)
	}
	if n, _ := l.Failed(t.Context(), networkOf(addr), "new"); n.Addr != 2 {
		t.Errorf("the newest was forgotten: %+v", n)
	}
}
