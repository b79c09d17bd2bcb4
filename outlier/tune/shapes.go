package tune

import (
	"math"
	"math/rand/v2"
	"slices"

	"postern/outlier/detector"
)

// shape is a kind of attack by one account: those of bench/outlier by which an operator
// knows what a sensitivity buys.
type shape struct {
	name string
	// times are those of its messages, from a moment on; rate is how many messages the
	// account sends in an hour in which it sends.
	times func(rng *rand.Rand, moment int64, rate float64) []int64
	// known: to people who are known; else each message goes to a stranger.
	known bool
	// newSender: in a name that was never seen; elsewhere: from a network that was not.
	newSender, elsewhere bool
}

var shapes = []shape{
	{name: "burst", times: within(30, 0, 3600)},
	{name: "burst elsewhere", times: within(30, 0, 3600), elsewhere: true},
	{name: "slow", times: within(0, 5*72, 72*3600)},
	{name: "new sender", times: within(0, 200, 7200), newSender: true},
	{name: "address book", times: within(0, 60, 600), known: true},
}

// refusedShare is how many of the strangers do not exist.
const refusedShare = 0.15

// within spreads rate times so many messages, or at least so many, over a span in seconds.
func within(factor float64, least int, span int64) func(*rand.Rand, int64, float64) []int64 {
	return func(rng *rand.Rand, moment int64, rate float64) []int64 {
		n := min(max(least, int(math.Round(factor*rate))), maxAttack)
		at := make([]int64, n)
		for i := range at {
			at[i] = moment + int64(rng.Float64()*float64(span))
		}
		slices.Sort(at)
		return at
	}
}

// maxAttack bounds the messages of one attack, maxVictims the attacks of a shape.
const (
	maxAttack  = 5000
	maxVictims = 60
	// fewVictims are too few to say what is let out.
	fewVictims = 5
)

// victim is an account that an attack is added to.
type victim struct {
	like   message // one of its own at the moment
	rate   float64
	known  []uint64 // somebody whom it has written to
	weight uint64
}

// past is what is counted of an account for that.
type past struct {
	messages, hours int
	hour            int64
	first, last     int64
	known           [8]uint64
	at              message // one of those that can be the moment of an attack
	able            int
}

// enough is how many messages an account has sent before it is attacked, as with
// bench/outlier.
const enough = 30

// victims chooses accounts and a moment of each, after the days that only teach.
func (t *Trace) victims(from int64, judged func(*message) bool, rng *rand.Rand) []victim {
	all := map[account]*past{}
	var order []account
	for i := range t.messages {
		m := &t.messages[i]
		a, ok := m.account(t)
		if !ok || t.names[m.sender] == "" {
			continue
		}
		p := all[a]
		if p == nil {
			p = &past{first: m.at}
			all[a] = p
			order = append(order, a)
		}
		p.add(m, from, rng)
	}
	var list []victim
	for _, a := range order {
		p := all[a]
		if p.able == 0 || !judged(&p.at) {
			continue
		}
		v := victim{like: p.at, rate: max(1, float64(p.messages)/float64(p.hours)), weight: rng.Uint64()}
		for _, k := range p.known {
			if k != 0 {
				v.known = append(v.known, k)
			}
		}
		list = append(list, v)
	}
	slices.SortStableFunc(list, func(a, b victim) int {
		if a.weight < b.weight {
			return -1
		}
		return 1
	})
	return list[:min(len(list), maxVictims)]
}

func (p *past) add(m *message, from int64, rng *rand.Rand) {
	if h := m.at / 3600; p.hours == 0 || h != p.hour {
		p.hours, p.hour = p.hours+1, h
	}
	if p.messages >= enough && m.at >= from {
		p.able++
		if rng.IntN(p.able) == 0 {
			p.at = *m
		}
	} else {
		p.known[p.messages%len(p.known)] = m.recipients[0].Hash
	}
	p.messages++
	p.last = m.at
}

// attack is one that is added to the past.
type attack struct {
	v        *victim
	shape    *shape
	messages []message
	sender   string // the name that it sends with; "": the victim's
	out      int
	stopped  bool
}

// attacks makes those of a shape; the same ones of the same rng.
func (s *shape) attacks(victims []victim, rng *rand.Rand) (all []attack) {
	for i := range victims {
		v := &victims[i]
		a := attack{v: v, shape: s}
		for _, at := range s.times(rng, v.like.at, v.rate) {
			m := v.like
			m.at, m.sign = at, sign{}
			if s.elsewhere {
				m.sign.evidence = 1
			}
			m.recipients = []detector.Recipient{s.recipient(v, rng)}
			a.messages = append(a.messages, m)
		}
		all = append(all, a)
	}
	return all
}

func (s *shape) recipient(v *victim, rng *rand.Rand) detector.Recipient {
	if s.known && len(v.known) > 0 {
		return detector.Recipient{Hash: v.known[rng.IntN(len(v.known))], Took: true}
	}
	refused := rng.Float64() < refusedShare
	return detector.Recipient{Hash: rng.Uint64(), Refused: refused, Took: !refused}
}
