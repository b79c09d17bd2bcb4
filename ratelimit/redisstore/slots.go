package redisstore

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"postern/ratelimit"
)

// A key's hash tag is the first part of the budget's key, such as {client=shop}. One
// tag for all keys would make this file needless, but give every budget another
// name: an upgrade would forget all counts, and a Cluster would decide on one
// server alone.

// slotOf is the part of a key that decides where a Cluster keeps it.
func slotOf(key []byte) []byte {
	b := ratelimit.Budget{Key: key}
	return b.Slot()
}

func oneSlot(budgets []ratelimit.Budget) bool {
	for i := 1; i < len(budgets); i++ {
		if !bytes.Equal(budgets[i].Slot(), budgets[0].Slot()) {
			return false
		}
	}
	return true
}

// slotGroup is what has the same slot, by index.
type slotGroup struct {
	slot    []byte
	members []int
	part    int // of all that cutGroups made
}

// bySlot sorts n things by slot; without a Cluster all go together.
func bySlot(n int, cluster bool, slot func(int) []byte) []*slotGroup {
	var groups []*slotGroup
next:
	for i := range n {
		s := slot(i)
		for _, g := range groups {
			if !cluster || bytes.Equal(g.slot, s) {
				g.members = append(g.members, i)
				continue next
			}
		}
		groups = append(groups, &slotGroup{slot: s, members: []int{i}})
	}
	return groups
}

// cutGroups cuts groups into pieces of at most n members.
func cutGroups(groups []*slotGroup, n int) (cut []*slotGroup) {
	for _, g := range groups {
		for rest := g.members; len(rest) > 0; {
			k := min(n, len(rest))
			cut = append(cut, &slotGroup{g.slot, rest[:k], len(cut)})
			rest = rest[k:]
		}
	}
	return cut
}

// together calls f for all parts at the same time.
func together[P any](parts []*P, f func(*P) error) error {
	if len(parts) == 1 {
		return f(parts[0])
	}
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		wg.Go(func() { errs[i] = f(p) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// slotPart is what a batch asks of one slot: all requests, but only the budgets
// of that slot, and the refs to them.
type slotPart struct {
	batch   ratelimit.Batch
	result  ratelimit.Result // its windows are those of the whole
	budgets []int            // of each budget of batch: its index in the whole
	refs    [][]int          // of each request, of each ref: its index in the whole
}

func splitBatch(b *ratelimit.Batch) []*slotPart {
	groups := bySlot(len(b.Budgets), true, func(i int) []byte { return b.Budgets[i].Slot() })
	parts := make([]*slotPart, len(groups))
	for i, g := range groups {
		p := &slotPart{batch: ratelimit.Batch{ID: b.ID, Peek: b.Peek}, budgets: g.members, refs: make([][]int, len(b.Requests))}
		local := make([]int, len(b.Budgets))
		for j, whole := range g.members {
			local[whole] = j + 1
			p.batch.Budgets = append(p.batch.Budgets, b.Budgets[whole])
		}
		for j := range b.Requests {
			q := b.Requests[j]
			var refs []int
			for k, ref := range q.Refs {
				if l := local[ref]; l > 0 {
					refs = append(refs, l-1)
					p.refs[j] = append(p.refs[j], k)
				}
			}
			q.Refs = refs
			p.batch.Requests = append(p.batch.Requests, q)
		}
		parts[i] = p
	}
	return parts
}

// maxRounds bounds how often requests are asked again that were refused only
// because of others that another slot refused.
const maxRounds = 4

// takeSlots decides a batch of several slots. Every slot is asked at the same
// time and charges what it has room for; a request is OK when all say so, and
// is taken back elsewhere when one refused. A later request may have been
// refused because of one that was then taken back: it is asked again.
func (r *Store) takeSlots(ctx context.Context, b *ratelimit.Batch, result *ratelimit.Result) error {
	parts := splitBatch(b)
	for _, p := range parts {
		p.answerInto(result)
	}
	skip := make([]bool, len(b.Requests))
	for round := range maxRounds {
		if err := together(parts, func(p *slotPart) error { return r.take(ctx, &p.batch, round, skip, &p.result) }); err != nil {
			return err
		}
		again := joinVerdicts(result, parts, skip, !b.Peek && round+1 < maxRounds)
		if !b.Peek {
			if err := r.takeBack(ctx, parts, b.ID, result, skip, round); err != nil {
				return err
			}
		}
		finish(result, parts, skip)
		if b.Peek || !askOnly(skip, again) {
			return nil
		}
	}
	return nil
}

// answerInto makes the result of the part, which shares the windows of the whole.
func (p *slotPart) answerInto(whole *ratelimit.Result) {
	p.result = ratelimit.NewResult(&p.batch)
	for i, at := range p.budgets {
		p.result.Budgets[i].Windows = whole.Budgets[at].Windows
	}
}

// askOnly leaves only the requests of again to be asked; false when there are none.
func askOnly(skip []bool, again []int) bool {
	for i := range skip {
		skip[i] = true
	}
	for _, i := range again {
		skip[i] = false
	}
	return len(again) > 0
}

// joinVerdicts sets what became of every request that was asked. With more it
// lists those to be asked again: an earlier request, refused elsewhere, had
// been charged where they had no room.
func joinVerdicts(result *ratelimit.Result, parts []*slotPart, skip []bool, more bool) (again []int) {
	crowded := make([]bool, len(parts))
	for i := range result.Requests {
		if skip[i] {
			continue
		}
		q := &result.Requests[i]
		q.OK, q.Down, q.Never, q.RetryAfter = true, false, false, 0
		doubt := false
		for j, p := range parts {
			l := &p.result.Requests[i]
			if crowded[j] && !l.Never && !allCharged(l) {
				doubt = more
			}
			if !l.OK {
				joinRefusal(q, l, p.budgets)
			}
		}
		if doubt {
			q.OK = false // for now; so it is taken back
			again = append(again, i)
		}
		if q.OK {
			continue
		}
		for j, p := range parts {
			crowded[j] = crowded[j] || p.result.Requests[i].OK && len(p.refs[i]) > 0
		}
	}
	return again
}

// allCharged reports whether the request was charged to all that it touches,
// shadows included.
func allCharged(q *ratelimit.RequestResult) bool {
	for _, c := range q.Charges {
		if !c.Made {
			return false
		}
	}
	return true
}

// joinRefusal keeps the longest wait; one that never ends comes first, and of
// equal ones the first window.
func joinRefusal(q, l *ratelimit.RequestResult, budgets []int) {
	budget := budgets[l.Budget]
	first := q.OK
	q.OK = false
	same := l.Never == q.Never && l.RetryAfter == q.RetryAfter
	if first || l.Never && !q.Never || l.Never == q.Never && l.RetryAfter > q.RetryAfter || same && budget < q.Budget {
		q.Never, q.RetryAfter, q.Budget, q.Window = l.Never, l.RetryAfter, budget, l.Window
	}
}

// takeBack gives back, in every slot, what was charged there for requests that
// another slot refused.
func (r *Store) takeBack(ctx context.Context, parts []*slotPart, id ratelimit.Attempt, result *ratelimit.Result, skip []bool, round int) error {
	var owing []*slotPart
	for _, p := range parts {
		if p.drop(result, skip) {
			owing = append(owing, p)
		}
	}
	if len(owing) == 0 {
		return nil
	}
	// A client that hangs up takes nothing away from what is owed; but the time
	// that a decision may take holds, and Undo gives back what it cut off.
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	return together(owing, func(p *slotPart) error {
		args := []any{encodeBatch(&p.batch, make([]total, len(p.batch.Budgets)), nil), p.marks(result, skip), fieldOf(id, round)}
		_, err := r.run(ctx, &r.scripts.undo, r.batchKeys(&p.batch), args...)
		return err
	})
}

// drop clears the charges of requests that were refused elsewhere, and reports
// whether there were any. A message that such a request had paid passes to the
// next request of the same budget.
func (p *slotPart) drop(result *ratelimit.Result, skip []bool) (any bool) {
	heir := make([]*ratelimit.Charge, len(p.batch.Budgets)) // first charge of the round that stays
	unpaid := make([]bool, len(p.batch.Budgets))
	for i := range p.batch.Requests {
		q := &p.batch.Requests[i]
		if skip[i] {
			continue
		}
		for k, budget := range q.Refs {
			c := &p.result.Requests[i].Charges[k]
			switch {
			case !c.Made:
			case result.Requests[i].OK:
				if heir[budget] == nil && q.Recipients > 0 {
					heir[budget] = c
				}
			default:
				any = true
				unpaid[budget] = unpaid[budget] || c.Message
				p.lower(q, budget)
				c.Made, c.Message = false, false
			}
		}
	}
	for g, lost := range unpaid {
		switch {
		case lost && heir[g] != nil:
			heir[g].Message = true
		case lost:
			p.result.Budgets[g].Paid = p.batch.Budgets[g].Paid
			p.lowerMessage(g)
		}
	}
	return any
}

// lower corrects what a window was said to hold.
func (p *slotPart) lower(q *ratelimit.Request, budget int) {
	g := &p.batch.Budgets[budget]
	for j := range g.Windows {
		switch g.Windows[j].Unit {
		case ratelimit.Recipients:
			lower(&p.result.Budgets[budget].Windows[j], q.Recipients)
		case ratelimit.Bytes:
			lower(&p.result.Budgets[budget].Windows[j], q.Bytes)
		}
	}
}

func (p *slotPart) lowerMessage(budget int) {
	g := &p.batch.Budgets[budget]
	for j := range g.Windows {
		if g.Windows[j].Unit == ratelimit.Messages {
			lower(&p.result.Budgets[budget].Windows[j], 1)
		}
	}
}

// lower takes n off what a window was said to hold.
func lower(w *ratelimit.WindowResult, n int64) {
	w.Used -= n
	w.Near = w.Near && w.Used*5 >= w.Max*4
}

// marks is the mark of the round as it is to stand, see batch.lua.
func (p *slotPart) marks(result *ratelimit.Result, skip []bool) string {
	var m []byte
	for i := range p.result.Requests {
		verdict := byte('x')
		if !skip[i] && result.Requests[i].OK {
			verdict = 'o'
		}
		m = append(m, verdict)
		for _, c := range p.result.Requests[i].Charges {
			switch {
			case skip[i] || !c.Made:
				m = append(m, '0')
			case c.Message:
				m = append(m, '2')
			default:
				m = append(m, '1')
			}
		}
	}
	return string(m)
}

// finish copies what a round paid and charged into the whole; what it paid holds
// for the next round.
func finish(result *ratelimit.Result, parts []*slotPart, skip []bool) {
	for _, p := range parts {
		for i, whole := range p.budgets {
			paid := p.result.Budgets[i].Paid
			result.Budgets[whole].Paid, p.batch.Budgets[i].Paid = paid, paid
		}
		for i := range p.result.Requests {
			if skip[i] {
				continue
			}
			for k, whole := range p.refs[i] {
				result.Requests[i].Charges[whole] = p.result.Requests[i].Charges[k]
			}
		}
	}
}
