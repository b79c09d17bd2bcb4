package redisstore

import (
	"slices"

	"postern/ratelimit"
)

// outlook is what comes of a batch if every request is charged to all that it
// touches: what quick.lua needs to know.
type outlook struct {
	totals []total // of each budget
	// mark is that of the attempt but for its time, see batch.lua; "" where
	// quick.lua cannot decide. last is the octet that ends the longest head of
	// a state with its sections, hash the one recipient that windows of distinct
	// ones count; "" for none.
	mark string
	last int
	hash string
}

// total is what a budget is charged.
type total struct {
	messages, recipients, bytes int64
}

// Octets of a state, see state.lua.
const (
	stateHead    = 30
	stateSection = 50
	stateSpare   = 400 // for sections of windows that the configuration no longer has
)

func outlookOf(b *ratelimit.Batch, skip []bool) outlook {
	o := outlook{totals: make([]total, len(b.Budgets))}
	mark := make([]byte, 0, 64)
	for i := range b.Requests {
		q := &b.Requests[i]
		mark = append(mark, 'o')
		for _, ref := range q.Refs {
			t := &o.totals[ref]
			t.recipients += q.Recipients
			t.bytes += q.Bytes
			if q.Recipients > 0 && t.messages == 0 && !b.Budgets[ref].Paid {
				t.messages = 1
				mark = append(mark, '2')
			} else {
				mark = append(mark, '1')
			}
		}
	}
	distinct, last := shapeOf(b)
	switch {
	case b.Peek || slices.Contains(skip, true):
		return o
	case distinct && (len(b.Requests) != 1 || b.Requests[0].Former != 0):
		return o
	case distinct && b.Requests[0].Distinct != 0:
		o.hash = string(be.AppendUint64(nil, b.Requests[0].Distinct))
	}
	o.mark, o.last = string(mark), last
	return o
}

// shapeOf reports whether a window of b counts distinct recipients, and which octet
// ends the longest head of a state with its sections: one for each window and
// share, and room for some of windows that the configuration no longer has.
func shapeOf(b *ratelimit.Batch) (distinct bool, last int) {
	for i := range b.Budgets {
		windows := b.Budgets[i].Windows
		size := stateHead + len(windows)*(stateSection+1) + stateSpare
		for j := range windows {
			distinct = distinct || windows[j].Unit == ratelimit.DistinctRecipients
			for _, r := range windows[j].Reserve {
				size += stateSection + len(r.Share)
			}
		}
		last = max(last, size-1)
	}
	return distinct, last
}

// isDivided reports whether a budget has windows with reserved room or of distinct
// recipients.
func isDivided(g *ratelimit.Budget) bool {
	return slices.ContainsFunc(g.Windows, func(w ratelimit.Window) bool {
		return w.Reserve != nil || w.Unit == ratelimit.DistinctRecipients
	})
}

// numberFor is what a share is told as the number of a window; see
// ratelimit.Reserve.
func numberFor(w *ratelimit.Window, share string) int64 {
	open := w.Max
	for _, r := range w.Reserve {
		if r.Share == share {
			return w.Max
		}
		open -= r.Min
	}
	return max(0, open)
}

// decodeQuick reads the answer about a batch of which all was charged.
func decodeQuick(b *ratelimit.Batch, r *reader, o *outlook, result *ratelimit.Result) error {
	at := r.number(6)
	for i := range b.Budgets {
		g, said := &b.Budgets[i], &result.Budgets[i]
		said.Paid = g.Paid || o.totals[i].messages > 0
		for j := range g.Windows {
			w := &said.Windows[j]
			w.Max, w.Used, w.Free = numberFor(&g.Windows[j], g.Share), r.number(8), 0
		}
	}
	marks := reader{rest: o.mark}
	for i := range result.Requests {
		q := &result.Requests[i]
		marks.take(1)
		*q = ratelimit.RequestResult{OK: true, Charges: q.Charges}
		marks.charges(q.Charges, at)
	}
	return r.end()
}
