package reputation

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// poller asks the blocklists in turn, and says when a listing begins or ends:
// two polls in a row must agree.
type poller struct {
	resolver *Resolver
	now      func() time.Time
	zones    []*polledZone
}

type polledZone struct {
	zone
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

// zoneChange is what one poll has changed.
type zoneChange struct {
	zone   *zone
	target Target
	listed bool
	codes  []string
	text   string
	// problem: the zone is no longer believed for a family, or again ("").
	problem  string
	believed bool
	family   family
}

const (
	pollParallel  = 16
	agreeing      = 2
	soonestAgain  = 30 * time.Second
	latestAgain   = 5 * time.Minute
	maxPolled     = 2000 // targets
	maxReasonSize = 300
)

func newPoller(r *Resolver, zones []*zone, now func() time.Time) *poller {
	p := &poller{resolver: r, now: now}
	start := now()
	for _, z := range zones {
		// Not all at once, and not at the same second on all our nodes.
		first := start.Add(rand.N(min(z.config.Every/10, 5*time.Second) + 1))
		p.zones = append(p.zones, &polledZone{zone: *z, next: first, states: map[Target]*polledTarget{}})
	}
	return p
}

// due is when the next poll is.
func (p *poller) due() (at time.Time, ok bool) {
	for _, z := range p.zones {
		if !ok || z.next.Before(at) {
			at, ok = z.next, true
		}
	}
	return at, ok
}

// asked is what the zones that were due have answered.
type asked struct {
	zone    *polledZone
	needed  [3]bool
	problem [3]string // by family
	targets []Target
	answers []zoneAnswer
}

// ask asks every zone whose time has come about all targets. It changes
// nothing.
func (p *poller) ask(ctx context.Context, targets []Target) []asked {
	now := p.now()
	targets = targets[:min(len(targets), maxPolled)]
	var due []asked
	for _, z := range p.zones {
		if !z.next.After(now) {
			due = append(due, asked{zone: z})
		}
	}
	var wg sync.WaitGroup
	for i := range due {
		wg.Go(func() { due[i].ask(ctx, p.resolver, targets) })
	}
	wg.Wait()
	return due
}

func (a *asked) ask(ctx context.Context, r *Resolver, targets []Target) {
	z := a.zone
	for _, t := range targets {
		if z.asks(t.Kind) {
			a.needed[familyOf(t)] = true
		}
	}
	for f := ipv4; f <= names; f++ {
		if !a.needed[f] {
			continue
		}
		if err := z.believed(ctx, r, f); err != nil {
			a.problem[f] = printable(err.Error())
		}
	}
	for _, t := range targets {
		if f := familyOf(t); a.needed[f] && z.asks(t.Kind) && a.problem[f] == "" {
			a.targets = append(a.targets, t)
		}
	}
	a.answers = z.lookAll(ctx, r, a.targets)
}

// settle counts the answers and returns what has changed. targets are all that
// are ours.
func (p *poller) settle(due []asked, targets []Target) (changes []zoneChange) {
	now := p.now()
	for i := range due {
		changes = append(changes, due[i].settle(targets, now)...)
	}
	return changes
}

func (a *asked) settle(targets []Target, now time.Time) (changes []zoneChange) {
	z := a.zone
	z.polls++
	for f := ipv4; f <= names; f++ {
		if !a.needed[f] {
			continue
		}
		if (a.problem[f] == "") != (z.problem[f] == "") {
			changes = append(changes, zoneChange{zone: &z.zone, problem: a.problem[f], believed: a.problem[f] == "", family: f})
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
func (z *polledZone) doubt(f family) {
	for t, s := range z.states {
		if familyOf(t) == f {
			s.agreed = 0
		}
	}
}

// pause is the time to the next poll: soon when one answer waits for a second.
func (z *polledZone) pause(again time.Duration) time.Duration {
	d := z.config.Every
	if again > 0 {
		d = min(d, max(again, min(z.config.Every/10, latestAgain)))
	}
	return d + rand.N(d/5+1) - d/10
}

func (z *zone) lookAll(ctx context.Context, r *Resolver, targets []Target) []zoneAnswer {
	answers := make([]zoneAnswer, len(targets))
	slots := make(chan struct{}, pollParallel)
	var wg sync.WaitGroup
	for i, t := range targets {
		slots <- struct{}{}
		wg.Go(func() {
			answers[i] = z.look(ctx, r, t)
			<-slots
		})
	}
	wg.Wait()
	return answers
}

// settle counts an answer. An unknown one says nothing, and two must then agree
// anew.
func (z *polledZone) settle(t Target, a zoneAnswer, now time.Time) (c *zoneChange, undecided bool) {
	s := z.states[t]
	if s == nil {
		s = &polledTarget{}
		z.states[t] = s
	}
	switch {
	case a.state == listUnknown || (a.state == listListed) == s.listed:
		s.agreed = 0
		if a.state == listListed {
			s.codes = a.codes
		}
		return nil, false
	case s.agreed+1 < agreeing:
		s.agreed++
		return nil, true
	}
	s.agreed = 0
	s.listed = !s.listed
	s.since = now
	s.codes = a.codes
	return &zoneChange{zone: &z.zone, target: t, listed: s.listed, codes: a.codes}, false
}

// forget drops targets that are no longer ours; what was listed of them ends.
func (z *polledZone) forget(targets []Target) (changes []zoneChange) {
	ours := make(map[Target]bool, len(targets))
	for _, t := range targets {
		ours[t] = true
	}
	for t, s := range z.states {
		if ours[t] {
			continue
		}
		if s.listed {
			changes = append(changes, zoneChange{zone: &z.zone, target: t})
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

func (p *poller) status() []ZoneStatus {
	var list []ZoneStatus
	for _, z := range p.zones {
		s := ZoneStatus{Zone: z.name, Polls: z.polls, Next: z.next, Muted: z.config.Mute}
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
