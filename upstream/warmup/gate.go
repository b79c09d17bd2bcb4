package warmup

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"postern/ratelimit"
	"postern/reputation/bygroup"
)

const (
	day = 24 * time.Hour
	// coldAfter is when an address that sends nothing to a group is cold again.
	coldAfter = 30 * day
	renew     = day // how often that time is put off
	// stepBack is how many steps a listing costs.
	stepBack = 2
	// endTimeout bounds what the end of a message asks of the store.
	endTimeout = time.Second
	// LimitPrefix begins the names under which the store has the counts; no [limit.NAME]
	// can have it.
	LimitPrefix = ratelimit.WarmupPrefix
)

// Options are what a Gate is made of.
type Options struct {
	Upstream string // its name
	Config   Config
	Store    ratelimit.Store
	Now      func() time.Time // nil: time.Now
	// Overflow is how mail that does not fit leaves instead; nil: it is told to come later.
	Overflow *Overflow
}

// Overflow is another way out: other source addresses with their EHLO name.
type Overflow struct {
	Sources []netip.Addr
	EHLO    string
}

// Gate holds mail of one upstream to the budgets. It is safe for concurrent use.
type Gate struct {
	name     string
	now      func() time.Time
	node     uint64
	seq      atomic.Uint64
	cfg      Config
	overflow *Overflow
	store    ratelimit.Store
	wake     chan struct{} // a step is to be written

	mu    sync.Mutex
	pairs map[Pair]*state
}

// Pair is a source address with a group of receivers.
type Pair struct {
	Source netip.Addr // zero: whichever the system chooses
	Group  string
}

// state is what is known of a pair.
type state struct {
	record
	unwritten bool // the store does not know it yet
	// stored is the reason of what the store had when it was last read; "": nothing. Who
	// writes says it, so that of two nodes that judge at once the second one reads first.
	stored    string
	witnesses bygroup.Witnesses
}

// record is what the store keeps of a pair.
type record struct {
	step  int       // from 0; the number of steps: warm
	since time.Time // of the step
	until time.Time // when it is cold again
	back  time.Time // of the last step back; zero: none
}

// New makes a gate. It knows nothing of what the store has until Refresh.
func New(o Options) *Gate {
	if o.Now == nil {
		o.Now = time.Now
	}
	g := &Gate{name: o.Upstream, now: o.Now, overflow: o.Overflow, cfg: o.Config, store: o.Store, wake: make(chan struct{}, 1), pairs: map[Pair]*state{}}
	var b [8]byte
	rand.Read(b[:]) // never fails since Go 1.24
	g.node = binary.LittleEndian.Uint64(b[:])
	return g
}

func (g *Gate) attempt() ratelimit.Attempt {
	return ratelimit.Attempt{Node: g.node, Seq: g.seq.Add(1)}
}

// Way is how mail that does not fit leaves instead; nil: it is told to come later.
func (g *Gate) Way() *Overflow {
	if g == nil {
		return nil
	}
	return g.overflow
}

// Pass is the place of one message in a budget.
type Pass struct {
	Pair
	g    *Gate
	back ratelimit.Return
}

// Take asks for a place for one message. Where the pair has no budget, p is nil and wait 0:
// the message may leave. Where there is no room, p is nil and wait is the time until there
// is, rounded up to a second. The error is the store's; nothing is known then. A nil Gate
// has no budgets.
func (g *Gate) Take(ctx context.Context, source netip.Addr, group string) (p *Pass, wait time.Duration, err error) {
	if g == nil || !g.cfg.warms(source, group) {
		return nil, 0, nil
	}
	pair := Pair{source, group}
	b := ratelimit.Batch{ID: g.attempt(), Budgets: []ratelimit.Budget{g.budget(pair, "", g.budgetOf(pair))}, Requests: []ratelimit.Request{{Recipients: 1, Refs: []int{0}}}}
	r, err := g.store.Take(ctx, &b)
	if err != nil {
		return nil, 0, err
	}
	if one := &r.Requests[0]; !one.OK {
		return nil, max((one.RetryAfter + time.Second - 1).Truncate(time.Second), time.Second), nil
	}
	return &Pass{pair, g, ratelimit.Return{Budget: b.Budgets[0], At: r.Requests[0].Charges[0].At, Messages: 1}}, 0, nil
}

// budget is one of the counts of a pair: what went out ("") or one of the tallies.
func (g *Gate) budget(p Pair, tally string, most int64) ratelimit.Budget {
	limit := LimitPrefix + g.name
	if tally != "" {
		limit += " " + tally
	}
	return ratelimit.Budget{Limit: limit, Key: []byte(p.key()), Windows: []ratelimit.Window{{Unit: ratelimit.Messages, Length: day, Max: most}}}
}

// key is that of the budgets; those of one address are in one slot of a Cluster.
func (p Pair) key() string {
	source := "any"
	if p.Source.IsValid() {
		source = p.Source.String()
	}
	return "source_ip=" + source + " provider=" + p.Group
}

// budgetOf is how many messages a pair may have in any 24 hours.
func (g *Gate) budgetOf(p Pair) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.most(g.of(p))
}

// of is the state of a pair, which is made where there is none; g.mu is held.
func (g *Gate) of(p Pair) *state {
	s := g.pairs[p]
	if s == nil {
		now := g.now()
		s = &state{record: record{since: now, until: now.Add(coldAfter)}, unwritten: true}
		g.pairs[p] = s
		g.rouse()
	}
	return s
}

// most is the budget of a step.
func (g *Gate) most(s *state) int64 {
	if s.step >= len(g.cfg.Schedule) {
		return ratelimit.MaxNumber
	}
	return int64(g.cfg.Schedule[s.step])
}

func (g *Gate) rouse() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// End is what became of a message.
type End int

// Ends of a message.
const (
	NotSent  End = iota // nothing of it left, and nobody refused it
	Taken               // or perhaps taken
	Deferred            // for the message or a recipient of it
	Refused             // likewise, for good
)

// Tallies, beside what went out.
const (
	tried    = "tried"
	deferred = "deferred"
	refused  = "refused"
)

// End ends the use of a place. sent says that the message itself has left, so that it
// counts whatever the reply was.
func (p *Pass) End(e End, sent bool) {
	if p == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	// Of a store that is away the charge stays, and nobody is told twice.
	if e != Taken && !sent {
		_ = p.g.store.Refund(ctx, p.g.attempt(), []ratelimit.Return{p.back})
	}
	if e == NotSent {
		return
	}
	names := []string{tried}
	switch e {
	case Deferred:
		names = append(names, deferred)
	case Refused:
		names = append(names, refused)
	}
	b := ratelimit.Batch{ID: p.g.attempt(), Requests: []ratelimit.Request{{Recipients: 1}}}
	for i, name := range names {
		b.Budgets = append(b.Budgets, p.g.budget(p.Pair, name, ratelimit.MaxNumber))
		b.Requests[0].Refs = append(b.Requests[0].Refs, i)
	}
	_, _ = p.g.store.Take(ctx, &b)
}

// Listing is a refusal that calls one of our addresses listed.
type Listing struct {
	Pair
	Client  string
	Clients int    // of the stream
	Domain  string // of the recipients
	// OfGroup: the host is one of the group by its name. Early: no recipient had been
	// named.
	OfGroup, Early bool
	// Confirmed: what is known besides of the address says so, too.
	Confirmed bool
}

// Listed takes note of a refusal, and reports whether the budget went back. What a host of
// the group says before a recipient is named counts at once. What it says later, and what
// hosts of domains in no group say, counts once three owners of domains have said it to
// mail of two clients; for domains in no group it must be Confirmed as well.
func (g *Gate) Listed(h *Listing) bool {
	if g == nil || !g.cfg.warms(h.Source, h.Group) {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now, s := g.now(), g.of(h.Pair)
	s.witnesses.Heard(h.Domain, h.Client, now)
	proven := h.OfGroup && h.Early
	if !proven {
		proven = s.witnesses.Proven(h.Clients, now) && (h.OfGroup || h.Confirmed)
	}
	if !proven || s.step == 0 || now.Sub(s.back) < day {
		return false
	}
	s.step, s.since, s.back, s.unwritten = max(0, min(s.step, len(g.cfg.Schedule))-stepBack), now, now, true
	g.rouse()
	return true
}
