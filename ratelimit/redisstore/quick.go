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
	// a state with a section for each window.
	mark string
	last int
}

// total is what a budget is charged.
type total struct {
	messages, recipients, bytes int64
}

// Octets of a state, see state.lua.
const (
	stateHead    = 30
	stateSection = 50
)

func outlookOf(b *ratelimit.Batch, skip []bool) outlook {
	o := outlook{totals: make([]total, len(b.Budgets))}
	mark := make([]byte, 0, 64)
	for i := range b.Requests {
		q := &b.Requests[i]
		mark = append(mark, 'o')
		for _, ref := range q.Refs {
			t := &o.totals[ref.Budget]
			t.recipients += q.Recipients
			t.bytes += q.Bytes
			if q.Recipients > 0 && t.messages == 0 && !b.Budgets[ref.Budget].Paid {
				t.messages = 1
				mark = append(mark, '2')
			} else {
				mark = append(mark, '1')
			}
		}
	}
	if windows := plainWindows(b); windows > 0 && !b.Peek && !slices.Contains(skip, true) {
		o.mark, o.last = string(mark), stateHead+windows*stateSection-1
	}
	return o
}

// plainWindows is the number of windows of the budget that has most, 0 when one
// of them is more than a sum.
func plainWindows(b *ratelimit.Batch) (most int) {
	for i := range b.Budgets {
		windows := b.Budgets[i].Windows
		for j := range windows {
			if windows[j].Unit == ratelimit.DistinctRecipients || windows[j].Reserve != nil {
				return 0
			}
		}
		most = max(most, len(windows))
	}
	return most
}

// decodeQuick fills in the out fields of a batch of which all was charged.
func decodeQuick(b *ratelimit.Batch, r *reader, o *outlook) error {
	at := r.number(6)
	for i := range b.Budgets {
		g := &b.Budgets[i]
		g.Paid = g.Paid || o.totals[i].messages > 0
		for j := range g.Windows {
			w := &g.Results[j]
			w.Max, w.Used, w.Free = g.Windows[j].Max, r.number(8), 0
		}
	}
	marks := reader{rest: o.mark}
	for i := range b.Requests {
		q := &b.Requests[i]
		marks.take(1)
		q.OK, q.Down, q.Never, q.RetryAfter, q.Budget, q.Window = true, false, false, 0, 0, 0
		marks.refs(q.Refs, at)
	}
	return r.end()
}
