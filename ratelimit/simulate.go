package ratelimit

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"
)

// Past is a transaction that happened, as the journal has it, to be held
// against other rules.
type Past struct {
	Time  time.Time
	Facts Facts
	Bytes int64 // 0: no body came
	To    []PastRecipient
}

// PastRecipient is one RCPT. Those that something other than a limit refused
// before the upstream was asked do not belong here: no limit sees them.
type PastRecipient struct {
	Recipient
	// Limit is the limit that refused it then; "" when none did.
	Limit string
	// GivenBack: the charge did not stay, as for what ended in a 4yz reply.
	GivenBack bool
}

// Simulation holds past transactions against rules. Mail that was refused then
// and tried again by its client counts as often as it came: where the new rules
// let the first attempt pass, later ones count beside it. It belongs to one
// goroutine.
type Simulation struct {
	limiter *Limiter
	clock   pastClock
	ctx     context.Context
	out     []Verdict
	rs      []Recipient
	report  SimulationReport
	limits  map[string]*LimitReport
	senders map[senderOf]*SenderReport
	highs   map[highOf]*Highest
}

type (
	senderOf struct{ limit, client, sender string }
	highOf   struct {
		limit  string
		unit   Unit
		length time.Duration
	}
)

// maxReported bounds the senders that a simulation tells apart; further ones
// count for their limits only.
const maxReported = 100_000

// simulationMemory is what the counts of a simulation may take.
const simulationMemory = 512 << 20

// SimulationReport is what would have been different.
type SimulationReport struct {
	Transactions int64         `json:"transactions"`
	Recipients   int64         `json:"recipients"`
	From         time.Time     `json:"from"`
	To           time.Time     `json:"to"`
	Limits       []LimitReport `json:"limits"` // the most refusals first
	// Undecided recipients came when the memory for counts was full.
	Undecided int64 `json:"undecided,omitempty"`
}

// Change counts recipients whose end would have been another.
type Change struct {
	Refused int64 `json:"refused"` // passed then, and would be refused
	Passed  int64 `json:"passed"`  // refused by a limit then, and would pass
	Both    int64 `json:"both"`    // refused then and now
	// Shadow counts what a shadow limit would have refused.
	Shadow int64 `json:"shadow,omitempty"`
	// First holds the first moments of a refusal, FirstPassed those of a pass.
	First       []time.Time `json:"first,omitempty"`
	FirstPassed []time.Time `json:"first_passed,omitempty"`
}

// LimitReport is one limit: of the new rules, or for Passed also of the old.
type LimitReport struct {
	Limit string `json:"limit"`
	Change
	Highest []Highest      `json:"highest,omitempty"` // of each window
	Senders []SenderReport `json:"senders,omitempty"` // the most refusals first
}

// SenderReport is what a limit would have meant to one sender of a client.
type SenderReport struct {
	Client string `json:"client"`
	Sender string `json:"sender"`
	Change
}

// Highest is the fullest that a window of a limit would ever have been.
type Highest struct {
	Unit   Unit      `json:"unit"`
	Window string    `json:"window"`
	Key    string    `json:"key"`
	Used   int64     `json:"used"`
	Max    int64     `json:"max"`
	At     time.Time `json:"at"`
}

// pastClock is the time of the transaction at hand. It never goes back, as the
// journal is in the order in which transactions ended.
type pastClock struct{ at atomic.Int64 }

func (c *pastClock) now() time.Time { return time.Unix(0, c.at.Load()) }

func (c *pastClock) set(t time.Time) { c.at.Store(max(c.at.Load(), t.UnixNano())) }

// NewSimulation begins with empty counts.
func NewSimulation(rules *Rules) *Simulation {
	s := &Simulation{
		ctx: context.Background(), limits: map[string]*LimitReport{},
		senders: map[senderOf]*SenderReport{}, highs: map[highOf]*Highest{},
	}
	store := NewEmbedded(StoreConfig{Memory: simulationMemory}, s.clock.now)
	s.limiter = NewLimiter(store, rules, s.clock.now)
	for _, name := range rules.Names() {
		s.limits[name] = &LimitReport{Limit: name}
	}
	return s
}

// Add takes the next transaction; p may be used again afterwards.
func (s *Simulation) Add(p *Past) {
	s.clock.set(p.Time)
	if s.report.From.IsZero() || p.Time.Before(s.report.From) {
		s.report.From = p.Time
	}
	if p.Time.After(s.report.To) {
		s.report.To = p.Time
	}
	s.report.Transactions++
	s.report.Recipients += int64(len(p.To))
	a := s.limiter.Begin(p.Facts)
	defer a.End()
	s.rs = s.rs[:0]
	for i := range p.To {
		s.rs = append(s.rs, p.To[i].Recipient)
	}
	s.out = a.Recipients(s.ctx, s.rs, s.out[:0])
	s.shadows(a, p)
	s.body(a, p)
	s.noteHighs(a, p.Time)
	for i := range p.To {
		if s.out[i].OK && p.To[i].GivenBack {
			a.Refund(s.ctx, i)
		}
		s.compare(p, i)
	}
}

// body charges the octets; without room all recipients fail.
func (s *Simulation) body(a *Account, p *Past) {
	if p.Bytes <= 0 || !slices.ContainsFunc(s.out, func(v Verdict) bool { return v.OK }) {
		return
	}
	v := a.Body(s.ctx, p.Bytes)
	if v.OK {
		return
	}
	a.RefundAll(s.ctx)
	for i := range s.out {
		if s.out[i].OK {
			s.out[i] = v
		}
	}
}

// shadows counts what shadow limits would have refused of what passes.
func (s *Simulation) shadows(a *Account, p *Past) {
	for i := range a.batch.Requests {
		q := &a.batch.Requests[i]
		if !q.OK {
			continue
		}
		for _, ref := range q.Refs {
			if g := &a.batch.Budgets[ref.Budget]; g.Shadow && !ref.Charged {
				s.each(p, g.Limit, func(c *Change) {
					c.Shadow++
					c.First = addMoment(c.First, p.Time)
				})
			}
		}
	}
}

func (s *Simulation) compare(p *Past, i int) {
	v, then := &s.out[i], p.To[i].Limit
	switch {
	case v.StoreDown:
		s.report.Undecided++
	case !v.OK && then != "":
		s.each(p, v.Limit, func(c *Change) { c.Both++ })
	case !v.OK:
		s.each(p, v.Limit, func(c *Change) {
			c.Refused++
			c.First = addMoment(c.First, p.Time)
		})
	case then != "":
		s.each(p, then, func(c *Change) {
			c.Passed++
			c.FirstPassed = addMoment(c.FirstPassed, p.Time)
		})
	}
}

func addMoment(list []time.Time, t time.Time) []time.Time {
	if len(list) < 3 {
		return append(list, t)
	}
	return list
}

// each calls f with the counts of a limit, and of a sender under it.
func (s *Simulation) each(p *Past, limit string, f func(*Change)) {
	l := s.limits[limit]
	if l == nil {
		l = &LimitReport{Limit: limit}
		s.limits[limit] = l
	}
	f(&l.Change)
	key := senderOf{limit, p.Facts.Client, p.Facts.Sender}
	one := s.senders[key]
	if one == nil {
		if len(s.senders) >= maxReported {
			return
		}
		one = &SenderReport{Client: p.Facts.Client, Sender: p.Facts.Sender}
		s.senders[key] = one
	}
	f(&one.Change)
}

// noteHighs remembers the fullest moment of every window.
func (s *Simulation) noteHighs(a *Account, at time.Time) {
	for i := range a.budgets {
		st := &a.budgets[i]
		for j := range st.looks {
			r, w := &st.looks[j], &st.Windows[j]
			if !st.asked || r.Used == 0 {
				continue
			}
			key := highOf{st.Limit, w.Unit, w.Length}
			h := s.highs[key]
			if h == nil {
				h = &Highest{Unit: w.Unit, Window: FormatWindow(w.Length)}
				s.highs[key] = h
			}
			if fuller(r, h) {
				h.Used, h.Max, h.At, h.Key = r.Used, r.Max, at, string(st.Key)
			}
		}
	}
}

// fuller compares Used/Max without dividing; the products fit, being of use
// and number in one window.
func fuller(r *WindowResult, h *Highest) bool {
	return h.Used == 0 || float64(r.Used)*float64(h.Max) > float64(h.Used)*float64(r.Max)
}

// Report is what has been found so far.
func (s *Simulation) Report() SimulationReport {
	for key, one := range s.senders {
		l := s.limits[key.limit]
		l.Senders = append(l.Senders, *one)
	}
	for key, h := range s.highs {
		l := s.limits[key.limit]
		l.Highest = append(l.Highest, *h)
	}
	report := s.report
	for _, l := range s.limits {
		slices.SortFunc(l.Senders, func(a, b SenderReport) int {
			return cmp.Or(a.compare(&b.Change), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Sender, b.Sender))
		})
		slices.SortFunc(l.Highest, func(a, b Highest) int {
			return cmp.Or(cmp.Compare(a.Unit, b.Unit), cmp.Compare(len(a.Window), len(b.Window)), cmp.Compare(a.Window, b.Window))
		})
		report.Limits = append(report.Limits, *l)
		l.Senders, l.Highest = nil, nil
	}
	slices.SortFunc(report.Limits, func(a, b LimitReport) int {
		return cmp.Or(a.compare(&b.Change), cmp.Compare(a.Limit, b.Limit))
	})
	return report
}

// compare orders by how much would change.
func (c *Change) compare(d *Change) int {
	return cmp.Or(cmp.Compare(d.Refused, c.Refused), cmp.Compare(d.Passed, c.Passed), cmp.Compare(d.Shadow, c.Shadow), cmp.Compare(d.Both, c.Both))
}
