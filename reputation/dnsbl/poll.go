package dnsbl

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"postern/internal/resolve"
)

// Poller asks the blocklists in turn, and says when a listing begins or ends:
// two polls in a row must agree.
type Poller struct {
	resolver *resolve.Resolver
	now      func() time.Time
	Zones    []*PolledZone
}

// PolledZone is a zone that a Poller asks, and what it has said of each target.
type PolledZone struct {
	Zone
	next    time.Time
	problem [3]string // by family; "" while it is believed
	polls   int
	states  map[Target]*polledTarget
}

type polledTarget struct {
	listed bool
	since  time.Time
	codes  []string
	text   string
	agreed int // polls in a row that say the opposite of listed
}

// Change is what one poll has changed.
type Change struct {
	Zone   *Zone
	Target Target
	Listed bool
	Codes  []string
	Text   string
	// Problem says why the zone is no longer believed for Family; Believed says that it is
	// believed again. Both are zero where the change is about a target.
	Problem  string
	Believed bool
	Family   Family
}

const (
	pollParallel  = 16
	agreeing      = 2
	soonestAgain  = 30 * time.Second
	latestAgain   = 5 * time.Minute
	maxPolled     = 2000 // targets
	MaxReasonSize = 300  // octets that are kept of a Reason
)

// NewPoller makes a poller that has asked nothing yet; now must not be nil. It is not safe
// for concurrent use.
func NewPoller(r *resolve.Resolver, zones []*Zone, now func() time.Time) *Poller {
	p := &Poller{resolver: r, now: now}
	start := now()
	for _, z := range zones {
		// Not all at once, and not at the same second on all our nodes.
		first := start.Add(rand.N(min(z.Config.Every/10, 5*time.Second) + 1))
		p.Zones = append(p.Zones, &PolledZone{Zone: *z, next: first, states: map[Target]*polledTarget{}})
	}
	return p
}

// Due is when the next poll is; ok is false where there is no zone.
func (p *Poller) Due() (at time.Time, ok bool) {
	for _, z := range p.Zones {
		if !ok || z.next.Before(at) {
			at, ok = z.next, true
		}
	}
	return at, ok
}

// Asked is what a zone that was due has answered.
type Asked struct {
	zone    *PolledZone
	needed  [3]bool
	problem [3]string // by family
	targets []Target
	answers []Answer
}

// Ask asks every zone whose time has come about all targets. It changes
// nothing.
func (p *Poller) Ask(ctx context.Context, targets []Target) []Asked {
	now := p.now()
	targets = targets[:min(len(targets), maxPolled)]
	var due []Asked
	for _, z := range p.Zones {
		if !z.next.After(now) {
			due = append(due, Asked{zone: z})
		}
	}
	var wg sync.WaitGroup
	for i := range due {
		wg.Go(func() { due[i].ask(ctx, p.resolver, targets) })
	}
	wg.Wait()
	return due
}

func (a *Asked) ask(ctx context.Context, r *resolve.Resolver, targets []Target) {
	z := a.zone
	for _, t := range targets {
		if z.Asks(t.Kind) {
			a.needed[FamilyOf(t)] = true
		}
	}
	for f := ipv4; f <= names; f++ {
		if !a.needed[f] {
			continue
		}
		if err := z.Believed(ctx, r, f); err != nil {
			a.problem[f] = resolve.Printable(err.Error())
		}
	}
	for _, t := range targets {
		if f := FamilyOf(t); a.needed[f] && z.Asks(t.Kind) && a.problem[f] == "" {
			a.targets = append(a.targets, t)
		}
	}
	a.answers = z.lookAll(ctx, r, a.targets)
}

// Settle counts the answers and returns what has changed. targets are all that
// are ours.
func (p *Poller) Settle(due []Asked, targets []Target) (changes []Change) {
	now := p.now()
	for i := range due {
		changes = append(changes, due[i].settle(targets, now)...)
	}
	return changes
}

func (a *Asked) settle(targets []Target, now time.Time) (changes []Change) {
	z := a.zone
	z.polls++
	for f := ipv4; f <= names; f++ {
		if !a.needed[f] {
			continue
		}
		if (a.problem[f] == "") != (z.problem[f] == "") {
			changes = append(changes, Change{Zone: &z.Zone, Problem: a.problem[f], Believed: a.problem[f] == "", Family: f})
		}
		if z.problem[f] = a.problem[f]; a.problem[f] != "" {
			z.doubt(f)
		}
	}
	var again time.Duration // the time after which an answer can be another
	for i, t := range a.targets {
		c, undecided := z.settle(t, a.answers[i], now)
		if undecided {
			again = max(again, a.answers[i].ttl, soonestAgain)
		}
		if c != nil {
			changes = append(changes, *c)
		}
	}
	changes = append(changes, z.forget(targets)...)
	z.next = now.Add(z.pause(again))
	return changes
}

// doubt makes two polls agree anew.
func (z *PolledZone) doubt(f Family) {
	for t, s := range z.states {
		if FamilyOf(t) == f {
			s.agreed = 0
		}
	}
}

// pause is the time to the next poll: soon when one answer waits for a second.
func (z *PolledZone) pause(again time.Duration) time.Duration {
	d := z.Config.Every
	if again > 0 {
		d = min(d, max(again, min(z.Config.Every/10, latestAgain)))
	}
	return d + rand.N(d/5+1) - d/10
}

func (z *Zone) lookAll(ctx context.Context, r *resolve.Resolver, targets []Target) []Answer {
	answers := make([]Answer, len(targets))
	slots := make(chan struct{}, pollParallel)
	var wg sync.WaitGroup
	for i, t := range targets {
		slots <- struct{}{}
		wg.Go(func() {
			answers[i] = z.Lookup(ctx, r, t)
			<-slots
		})
	}
	wg.Wait()
	return answers
}

// settle counts an answer. An unknown one says nothing, and two must then agree
// anew.
func (z *PolledZone) settle(t Target, a Answer, now time.Time) (c *Change, undecided bool) {
	s := z.states[t]
	if s == nil {
		s = &polledTarget{}
		z.states[t] = s
	}
	switch {
	case a.State == Unknown || (a.State == Listed) == s.listed:
		s.agreed = 0
		if a.State == Listed {
			s.codes = a.Codes
		}
		return nil, false
	case s.agreed+1 < agreeing:
		s.agreed++
		return nil, true
	}
	s.agreed = 0
	s.listed = !s.listed
	s.since = now
	s.codes = a.Codes
	return &Change{Zone: &z.Zone, Target: t, Listed: s.listed, Codes: a.Codes}, false
}

// forget drops targets that are no longer ours; what was listed of them ends.
func (z *PolledZone) forget(targets []Target) (changes []Change) {
	ours := make(map[Target]bool, len(targets))
	for _, t := range targets {
		ours[t] = true
	}
	for t, s := range z.states {
		if ours[t] {
			continue
		}
		if s.listed {
			changes = append(changes, Change{Zone: &z.Zone, Target: t})
		}
		delete(z.states, t)
	}
	return changes
}

// ZoneStatus is what is known of one blocklist.
type ZoneStatus struct {
	Zone    string    `json:"zone"`
	Polls   int       `json:"polls"`
	Next    time.Time `json:"next"`
	Listed  []Target  `json:"listed,omitempty"`
	Problem string    `json:"problem,omitempty"` // why its answers are not believed
	Muted   bool      `json:"muted,omitempty"`
}

// Status returns what is known of each zone, in the order of Zones.
func (p *Poller) Status() []ZoneStatus {
	var list []ZoneStatus
	for _, z := range p.Zones {
		s := ZoneStatus{Zone: z.Name, Polls: z.polls, Next: z.next, Muted: z.Config.Mute}
		for _, problem := range z.problem {
			if problem != "" {
				s.Problem = problem
			}
		}
		for t, st := range z.states {
			if st.listed {
				s.Listed = append(s.Listed, t)
			}
		}
		list = append(list, s)
	}
	return list
}

// Inherit takes over what an earlier poller knew of the zones that p has too, and returns
// p.
func (p *Poller) Inherit(before *Poller) *Poller {
	if before == nil {
		return p
	}
	for _, z := range p.Zones {
		if old := before.ZoneNamed(z.Name); old != nil {
			z.states, z.problem, z.polls = old.states, old.problem, old.polls
		}
	}
	return p
}

// ZoneNamed is the zone of that name, nil when it is not asked.
func (p *Poller) ZoneNamed(name string) *PolledZone {
	for _, z := range p.Zones {
		if name != "" && z.Name == name {
			return z
		}
	}
	return nil
}

// Knows reports whether the zone was asked about a target before.
func (z *PolledZone) Knows(t Target) bool { return z.states[t] != nil }

// Mark notes a listing that was learnt otherwise than by a poll.
func (z *PolledZone) Mark(t Target, since time.Time, codes []string, text string) {
	z.states[t] = &polledTarget{listed: true, since: since, codes: codes, text: text}
}
