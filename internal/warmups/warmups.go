// Package warmups keeps the gate of each upstream whose source addresses are warmed up,
// over reloads, and tells it who calls such an address listed.
package warmups

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"postern/internal/config"
	"postern/mail"
	"postern/mx/provider"
	"postern/ratelimit"
	"postern/upstream/direct"
	"postern/upstream/warmup"
)

// Options are what a Set is made of.
type Options struct {
	Store ratelimit.Store
	// Run starts what runs until the relay stops.
	Run func(func(context.Context))
	// Clients is how many a stream has.
	Clients func(stream string) int
	// Confirmed reports whether an address is listed for certain.
	Confirmed func(netip.Addr) bool
	Log       *slog.Logger
}

// Set is the gates of all upstreams. It is safe for concurrent use.
type Set struct {
	Options

	using sync.Mutex // held by Use, which alone changes gates
	mu    sync.Mutex
	gates map[string]*gate // by upstream
}

// gate runs until another configuration has another one.
type gate struct {
	*warmup.Gate
	cfg  warmup.Config
	over *warmup.Overflow
	end  context.CancelFunc
}

// New makes a set without gates.
func New(o Options) *Set { return &Set{Options: o} }

// firstSteps is how long Use waits for the store to say the steps.
const firstSteps = 2 * time.Second

// Use gives each upstream the gate that a file asks for. What is unchanged is taken
// over.
func (s *Set) Use(f *config.File, upstreams map[string]*direct.Upstream) {
	s.using.Lock()
	defer s.using.Unlock()
	next := map[string]*gate{}
	for name, u := range upstreams {
		g := s.gate(name, f)
		if g == nil {
			u.UseWarmup(nil)
			continue
		}
		next[name] = g
		u.UseWarmup(g.Gate)
	}
	for name, old := range s.gates {
		if next[name] != old {
			old.end()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gates = next
}

func (s *Set) gate(name string, f *config.File) *gate {
	c := f.Upstream[name].Warmup
	if c == nil {
		return nil
	}
	over, old := f.Overflow(name), s.gates[name]
	if old != nil && reflect.DeepEqual(old.cfg, *c) && reflect.DeepEqual(old.over, over) {
		return old
	}
	ctx, cancel := context.WithTimeout(context.Background(), firstSteps)
	defer cancel()
	if old != nil {
		_ = old.Refresh(ctx) // what it has not written yet
	}
	g := warmup.New(warmup.Options{Upstream: name, Config: *c, Store: s.Store, Overflow: over})
	_ = g.Refresh(ctx) // Run asks again; until then the first steps hold
	life, end := context.WithCancel(context.Background())
	s.Run(func(ctx context.Context) {
		defer context.AfterFunc(ctx, end)()
		g.Run(life)
	})
	return &gate{g, *c, over, end}
}

// List is all budgets.
func (s *Set) List(ctx context.Context) ([]warmup.Row, error) {
	s.mu.Lock()
	gates := s.gates
	s.mu.Unlock()
	rows := []warmup.Row{}
	for _, name := range slices.Sorted(maps.Keys(gates)) {
		some, err := gates[name].List(ctx)
		if err != nil {
			return nil, err
		}
		rows = append(rows, some...)
	}
	return rows, nil
}

// Observe takes in who calls one of our new addresses listed.
func (s *Set) Observe(e *mail.Event) {
	for _, said := range e.AllSaid() {
		s.heard(e, said, provider.Other)
	}
	for i := range e.To {
		if r := &e.To[i]; r.Said != nil && r.Rule == "upstream" {
			s.heard(e, r.Said, r.Provider)
		}
	}
}

// heard takes in one refusal; group is that of the recipient's domain.
func (s *Set) heard(e *mail.Event, said *mail.Evidence, group string) {
	if said.Class != mail.ClassListedIP || said.About != mail.AboutUs || said.Remote || said.Domain == "" {
		return
	}
	s.mu.Lock()
	g := s.gates[e.Upstream]
	s.mu.Unlock()
	if g == nil {
		return
	}
	source, _ := netip.ParseAddr(said.SourceIP) // zero where the system has chosen
	h := warmup.Listing{Pair: warmup.Pair{Source: source, Group: cmp.Or(said.Provider, group)}, Client: e.Client, Clients: s.Clients(e.Stream), Domain: said.Domain,
		OfGroup: said.Provider != "", Early: said.At != "rcpt" && said.At != "dot", Confirmed: source.IsValid() && s.Confirmed(source)}
	if g.Listed(&h) {
		s.Log.Warn("the budget of a new address went back, since a receiver calls it listed", "upstream", e.Upstream, "source_ip", said.SourceIP, "provider", h.Group,
			"reply", cmp.Or(said.Reply, e.Reply))
	}
}
