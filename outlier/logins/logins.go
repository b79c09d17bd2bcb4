// Package logins asks blocklists about the addresses that users log in from.
//
// Such a list (AuthBL) has hosts that were seen guessing or using stolen passwords. That
// one has the address of a user is evidence and nothing more, for addresses are shared
// and change hands. So nobody waits for an answer: Listed tells what is known, and has
// asked what is not. Answers of a zone count only while its test entries answer as they
// must (RFC 5782 s. 5), and a zone that does not answer says nothing.
//
// Questions are bounded: a client has so many a minute, and what does not fit into the
// queue is asked with a later message.
package logins

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"postern/internal/resolve"
	"postern/outlier/fair"
	"postern/reputation/dnsbl"
)

// Bounds of what is remembered and asked.
const (
	maxKept     = 20_000 // addresses
	maxQueued   = 1000
	perMinute   = 100 // questions of one client
	askers      = 4
	keep        = time.Hour       // an answer
	keepUnknown = 5 * time.Minute // that there was none
	proveEvery  = 15 * time.Minute
	proveAgain  = time.Minute // after a test entry did not answer as it must
)

// Setup is what a configuration says.
type Setup struct {
	Zones  []string                    // blank: nobody is asked
	Tables map[string]dnsbl.ZoneConfig // [reputation.dnsbl], with keys, controls and codes
	// Servers are DNS servers, as in [reputation]. Blank: the system's.
	Servers []string
}

// Asker knows what blocklists say of addresses. It is safe for concurrent use.
type Asker struct {
	now   func() time.Time
	told  func(zone string, why error)
	queue chan question

	mu     sync.Mutex
	lists  *lists // nil: nobody is asked
	known  *fair.Map[netip.Addr, answer]
	minute int64
	asked  map[string]int // by client, in this minute
}

// question is one about an address, for the lists that were in force then.
type question struct {
	client string
	addr   netip.Addr
	lists  *lists
}

// answer is what is known of an address.
type answer struct {
	zone  string // the first that lists it, with its codes; "": none
	until time.Time
}

// lists are the zones of a configuration.
type lists struct {
	zones    []*zone
	resolver *resolve.Resolver
}

// zone is one, and how far it is believed.
type zone struct {
	*dnsbl.Zone
	mu     sync.Mutex
	proven map[bool]proof // by whether for IPv6
}

// proof is whether the test entries answered as they must.
type proof struct {
	err   error
	until time.Time
}

// New makes an asker that asks nobody before Use. told hears when a zone begins or ceases
// to be believed; why is nil when it is. now is time.Now where it is nil.
func New(now func() time.Time, told func(zone string, why error)) *Asker {
	if now == nil {
		now = time.Now
	}
	return &Asker{now: now, told: told, queue: make(chan question, maxQueued), known: newKnown(), asked: map[string]int{}}
}

func newKnown() *fair.Map[netip.Addr, answer] {
	return fair.New[netip.Addr](maxKept, func(a, b answer) bool { return a.until.Before(b.until) }, nil)
}

// Use puts other zones in force, of which nothing is known yet. On an error those of
// before stay.
func (a *Asker) Use(s Setup) error {
	next, err := newLists(s)
	if err != nil {
		return err
	}
	a.mu.Lock()
	old := a.lists
	a.lists, a.known = next, newKnown()
	a.mu.Unlock()
	if old != nil {
		old.resolver.Close()
	}
	return nil
}

func newLists(s Setup) (*lists, error) {
	if len(s.Zones) == 0 {
		return nil, nil
	}
	l := &lists{}
	for _, name := range s.Zones {
		z, err := newZone(name, s.Tables)
		if err != nil {
			return nil, fmt.Errorf("outlier.networks.zones: %s: %w", name, err)
		}
		l.zones = append(l.zones, z)
	}
	var err error
	if l.resolver, err = resolve.New(resolve.Options{Servers: s.Servers}); err != nil {
		return nil, fmt.Errorf("outlier.networks.zones: %w", err)
	}
	return l, nil
}

// newZone makes a zone with its table, if it has one.
func newZone(name string, tables map[string]dnsbl.ZoneConfig) (*zone, error) {
	c := dnsbl.ConfigOf(name, tables)
	c.Of = []dnsbl.Kind{dnsbl.Addresses}
	made, err := dnsbl.NewZone(name, c)
	return &zone{Zone: made, proven: map[bool]proof{}}, err
}

// Listed is the zone that lists an address of a client's user, with the codes of its
// answer, as far as is known now; "" where none does. It does not wait.
func (a *Asker) Listed(client string, addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if !addr.IsGlobalUnicast() || addr.IsPrivate() {
		return ""
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	had, known := a.known.Get(client, addr)
	if a.lists == nil || known && now.Before(had.until) {
		return had.zone
	}
	if a.mayAsk(client, now) {
		select {
		case a.queue <- question{client, addr, a.lists}:
			had.until = now.Add(keepUnknown) // asked, and until then what was known holds
			a.known.Put(client, addr, had)
		default:
		}
	}
	return had.zone
}

// mayAsk counts a question of a client.
func (a *Asker) mayAsk(client string, now time.Time) bool {
	if m := now.Unix() / 60; m != a.minute {
		a.minute = m
		clear(a.asked)
	}
	if a.asked[client] >= perMinute {
		return false
	}
	a.asked[client]++
	return true
}

// Run asks until ctx ends.
func (a *Asker) Run(ctx context.Context) {
	var tasks sync.WaitGroup
	for range askers {
		tasks.Go(func() {
			for {
				select {
				case q := <-a.queue:
					a.ask(ctx, q)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	tasks.Wait()
	_ = a.Use(Setup{}) // closes the resolver
}

// ask asks all zones about an address, one after the other, until one lists it.
func (a *Asker) ask(ctx context.Context, q question) {
	found, all := answer{}, true
	for _, z := range q.lists.zones {
		if err := a.prove(ctx, q.lists, z, q.addr.Is6()); err != nil {
			all = false
			continue
		}
		said := z.LookupCached(ctx, q.lists.resolver, dnsbl.AddressTarget(q.addr))
		if said.State == dnsbl.Listed {
			found.zone = z.Name + " (" + strings.Join(said.Codes, ", ") + ")"
			break
		}
		all = all && said.State == dnsbl.Clean
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lists != q.lists {
		return // others are in force
	}
	found.until = a.now().Add(keepUnknown)
	if found.zone != "" || all {
		found.until = a.now().Add(keep)
	}
	a.known.Put(q.client, q.addr, found)
}

// prove says why a zone is not believed for addresses of a family; nil when it is.
func (a *Asker) prove(ctx context.Context, l *lists, z *zone, v6 bool) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	had, now := z.proven[v6], a.now()
	if now.Before(had.until) {
		return had.err
	}
	control := "127.0.0.2"
	if v6 {
		control = "::ffff:7f00:2"
	}
	err := z.Believed(ctx, l.resolver, dnsbl.FamilyOf(dnsbl.Target{Kind: dnsbl.Addresses, Name: control}))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	again := proveEvery
	if err != nil {
		again = proveAgain
	}
	if a.told != nil && (err == nil) != (had.err == nil) {
		a.told(z.Name, err)
	}
	z.proven[v6] = proof{err, now.Add(again)}
	return err
}
