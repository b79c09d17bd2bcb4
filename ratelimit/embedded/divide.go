package embedded

import (
	"time"

	"postern/ratelimit"
)

// divided is a window that streams share, with room reserved for some of them;
// the arithmetic stands at Reserve.
type divided struct {
	max   int64
	sum   int64 // used by all shares
	open  int64 // max less all that is reserved
	taken int64 // of open
	// own is what the budget's share has used of its min; both 0 for share "".
	own, min int64
	shared   bool // the share is ""
}

// divideBy works out a division from what each share has used.
func divideBy(w *ratelimit.Window, most int64, share string, used func(share string) int64, sum int64) divided {
	d := divided{max: most, sum: sum, open: most, shared: true}
	rest := sum
	for _, r := range w.Reserve {
		u := used(r.Share)
		d.open -= r.Min
		d.taken += max(0, u-r.Min)
		rest -= u
		if r.Share == share {
			d.own, d.min, d.shared = u, r.Min, false
		}
	}
	d.open = max(0, d.open)
	d.taken += rest
	return d
}

// room is how much more the share may take.
func (d *divided) room() int64 {
	free := max(0, d.open-d.taken)
	if d.shared {
		return min(d.open-d.taken, d.max-d.sum)
	}
	return min(d.max-d.sum, max(0, d.min-d.own)+free)
}

func (d *divided) fits(n int64) bool { return n <= d.room() }

// most is what the share can ever have.
func (d *divided) most() int64 {
	if d.shared {
		return d.open
	}
	return min(d.max, d.open+d.min)
}

// view is used and max as the share sees them.
func (d *divided) view() (used, most int64) {
	most = d.max
	if d.shared {
		most = d.open
	}
	return most - d.room(), most
}

func (t *take) divide(g *located, w *ratelimit.Window, most int64) divided {
	byShare := func(share string) (used int64) {
		id := t.store.shareID(share)
		t.each(g, w, func(l log) {
			if l.id().share() == id {
				used += l.used()
			}
		})
		return used
	}
	return divideBy(w, most, g.Share, byShare, t.sum(g, w))
}

// waitDivided is the time until n fits into a window of several shares: the
// entries of all are let go in the order in which their time comes.
func (t *take) waitDivided(g *located, w *ratelimit.Window, most, n int64) (time.Duration, bool) {
	var logs []log
	t.each(g, w, func(l log) { logs = append(logs, l) })
	d := t.divide(g, w, most)
	if n > d.most() {
		return w.Length, true
	}
	heads := make([]int, len(logs))
	used := func(share string) (sum int64) {
		id := t.store.shareID(share)
		for i, l := range logs {
			if l.id().share() == id {
				sum += l.rest(heads[i])
			}
		}
		return sum
	}
	s := makeWindowID(w.Unit, w.Length, 0).scale()
	wait := time.Duration(0)
	for {
		var sum int64
		next := -1
		for i, l := range logs {
			sum += l.rest(heads[i])
			if heads[i] < l.count() && (next < 0 ||
				int32(l.entry(heads[i]).time()-logs[next].entry(heads[next]).time()) < 0) {
				next = i
			}
		}
		if d = divideBy(w, most, g.Share, used, sum); d.fits(n) || next < 0 {
			return wait, false
		}
		wait = s.until(logs[next].entry(heads[next]).time(), t.now)
		heads[next]++
	}
}

// rest is the sum of the entries from i on.
func (w log) rest(i int) (sum int64) {
	for ; i < w.count(); i++ {
		sum += w.entry(i).amount()
	}
	return sum
}
