package embedded

import (
	"time"

	"postern/ratelimit"
)

// take is one Take of the embedded store, its shards locked.
type take struct {
	store      *Store
	batch      *ratelimit.Batch
	result     ratelimit.Result
	budgets    []located // the budgets of batch
	now        int64
	allowances *allowances
}

// located is a budget and where the store has it.
type located struct {
	*ratelimit.Budget
	result  *ratelimit.BudgetResult
	hash    uint64
	rec     uint32 // 1 + index of the record; 0: none
	limitID uint16
}

func (t *take) run() error {
	for i := range t.budgets {
		// All records first: when memory fails, nothing has been charged.
		if err := t.load(&t.budgets[i]); err != nil {
			return err
		}
	}
	for i := range t.batch.Requests {
		t.decide(&t.batch.Requests[i], &t.result.Requests[i])
	}
	for i := range t.budgets {
		t.report(&t.budgets[i])
	}
	return nil
}

// load finds or makes a budget's record, cleans it and sums its windows up.
// From here to report, its result holds the plain sum in Used and the number with
// temporary overrides in Max.
func (t *take) load(g *located) error {
	sh := t.store.shard(g.hash)
	i, ok := sh.lookup(uint32(g.hash), g.limitID, g.Key)
	if !ok && !t.batch.Peek {
		var err error
		if i, err = sh.create(uint32(g.hash), g.limitID, g.Key, t.now); err != nil {
			return err
		}
		ok = true
	}
	if ok {
		g.rec = i + 1
		r := sh.record(i)
		r.setPinned(true)
		sh.clean(r, t.now)
	}
	for j := range g.Windows {
		w := &g.Windows[j]
		g.result.Windows[j] = ratelimit.WindowResult{Max: min(ratelimit.MaxNumber, w.Max+t.raised(g, w)), Used: t.sum(g, w)}
	}
	if sh.extBytes > sh.maxExt && !sh.evictExt(t.now) && sh.extBytes > 2*sh.maxExt {
		return ratelimit.ErrFull
	}
	return nil
}

func (t *take) raised(g *located, w *ratelimit.Window) (add int64) {
	for _, r := range t.allowances.of(g.Budget) {
		if r.Unit == w.Unit && (r.Window == 0 || r.Window == w.Length) && t.store.clock.now().Before(r.Until) {
			add += r.Add
		}
	}
	return add
}

// sum is what all shares have used of a window.
func (t *take) sum(g *located, w *ratelimit.Window) (used int64) {
	t.each(g, w, func(l log) { used += l.used() })
	return used
}

// each calls f with the log of every share of a window.
func (t *take) each(g *located, w *ratelimit.Window, f func(log)) {
	if g.rec == 0 {
		return
	}
	sh := t.store.shard(g.hash)
	r := sh.record(g.rec - 1)
	id, plain, body := makeWindowID(w.Unit, w.Length, 0), windowID(0), sh.body(r)
	if w.Unit == ratelimit.DistinctRecipients {
		plain = makeWindowID(plainDistinct, w.Length, 0)
	}
	for at := r.keyLen(); at < len(body); {
		l := log(body[at:])
		l = l[:l.size()]
		if same := l.id() &^ shareMask; same == id || plain != 0 && same == plain {
			f(l)
		}
		at += len(l)
	}
}

// cost is what a request takes from a window.
func (t *take) cost(g *located, w *ratelimit.Window, q *ratelimit.Request) int64 {
	switch w.Unit {
	case ratelimit.Messages:
		if q.Recipients > 0 && !g.result.Paid {
			return 1
		}
	case ratelimit.Recipients:
		return q.Recipients
	case ratelimit.Bytes:
		return q.Bytes
	case ratelimit.DistinctRecipients:
		if q.Distinct != 0 && !t.seen(g, w, q) {
			return 1
		}
	}
	return 0
}

func (t *take) seen(g *located, w *ratelimit.Window, q *ratelimit.Request) (seen bool) {
	t.each(g, w, func(l log) { seen = seen || l.seenAs(q) })
	return seen
}

// decide judges a request and charges it.
func (t *take) decide(q *ratelimit.Request, a *ratelimit.RequestResult) {
	for i, budget := range q.Refs {
		c, g := &a.Charges[i], &t.budgets[budget]
		c.Made = true
		for j := range g.Windows {
			if t.fits(g, j, q) {
				continue
			}
			g.result.Windows[j].Refused = true
			c.Made = false
			if !g.Shadow {
				a.OK = false
				t.refuse(q, a, budget, j)
			}
		}
	}
	for i, budget := range q.Refs {
		c := &a.Charges[i]
		c.Made = c.Made && a.OK
		if c.Made && !t.batch.Peek {
			t.charge(&t.budgets[budget], c, q)
		}
	}
}

func (t *take) fits(g *located, j int, q *ratelimit.Request) bool {
	w, r := &g.Windows[j], &g.result.Windows[j]
	n := t.cost(g, w, q)
	if n == 0 {
		return true
	}
	if w.Reserve != nil {
		d := t.divide(g, w, r.Max)
		return d.fits(n)
	}
	return r.Used+n <= r.Max
}

// refuse notes the wait for a window without room, the longest of all.
func (t *take) refuse(q *ratelimit.Request, a *ratelimit.RequestResult, budget, window int) {
	g := &t.budgets[budget]
	wait, never := t.wait(g, window, t.cost(g, &g.Windows[window], q))
	first := a.RetryAfter == 0 && !a.Never
	if first || never && !a.Never || never == a.Never && wait > a.RetryAfter {
		a.RetryAfter, a.Never, a.Budget, a.Window = wait, never, budget, window
	}
}

// wait is the time until n fits into a window.
func (t *take) wait(g *located, j int, n int64) (d time.Duration, never bool) {
	w, r := &g.Windows[j], &g.result.Windows[j]
	if w.Reserve != nil {
		return t.waitDivided(g, w, r.Max, n)
	}
	if n > r.Max {
		return w.Length, true
	}
	var logs []log
	t.each(g, w, func(l log) { logs = append(logs, l) })
	switch {
	case w.Unit == ratelimit.DistinctRecipients:
		return waitDistinct(logs, r.Used, r.Max-n, t.now, w.Length), false
	case len(logs) == 1:
		return logs[0].wait(r.Used, r.Max-n, t.now), false
	}
	return t.waitDivided(g, w, r.Max, n)
}

// charge takes a request from all windows of a budget.
func (t *take) charge(g *located, c *ratelimit.Charge, q *ratelimit.Request) {
	sh := t.store.shard(g.hash)
	r := sh.record(g.rec - 1)
	r.setTouched(uint32(t.now / int64(time.Second)))
	sh.changed = true
	sh.owe(g.rec-1, r)
	c.At = t.now
	for j := range g.Windows {
		w, res := &g.Windows[j], &g.result.Windows[j]
		id := makeWindowID(w.Unit, w.Length, t.store.windowShare(w, g.Share))
		if w.Unit == ratelimit.DistinctRecipients {
			if q.Distinct != 0 {
				moved := sh.moveDistinct(r, id, q)
				sh.see(r, id, q.Distinct, t.now, t.now, !moved, 0)
				sh.forgetKnown(r, id, q.Distinct)
				res.Used = t.sum(g, w)
				t.mark(g, j, id)
			}
			continue
		}
		if n := t.cost(g, w, q); n > 0 {
			sh.put(r, id, t.now, n)
			res.Used += n
			t.mark(g, j, id)
		}
	}
	if q.Recipients > 0 && !g.result.Paid {
		g.result.Paid, c.Message = true, true
	}
}

// windowShare is the number of the share that a window's charge goes to.
func (e *Store) windowShare(w *ratelimit.Window, share string) uint8 {
	if w.Reserve == nil {
		return 0
	}
	return e.shareID(share)
}

// mark notes how full the window is, and whether it has come near its limit.
func (t *take) mark(g *located, j int, id windowID) {
	sh := t.store.shard(g.hash)
	l, at := sh.window(sh.record(g.rec-1), id)
	if at < 0 {
		return
	}
	res := &g.result.Windows[j]
	used, most := res.Used, res.Max
	if g.Windows[j].Reserve != nil {
		d := t.divide(g, &g.Windows[j], res.Max)
		used, most = d.view()
	}
	switch {
	case g.Spare:
		l.setFill(0)
	case most <= 0:
		l.setFill(255)
	default:
		l.setFill(uint8(min(255, used*255/most)))
	}
	if most <= 0 {
		return
	}
	if used*5 >= most*4 && l.near() == 0 {
		l.setNear(l.id().scale().now(t.now) | 1)
		res.Near = true
	}
}

// report turns the sums into what the caller sees.
func (t *take) report(g *located) {
	for j := range g.Windows {
		w, r := &g.Windows[j], &g.result.Windows[j]
		if t.batch.Peek {
			switch d, never := t.wait(g, j, 1); {
			case never:
				r.Free = -1
			case !t.roomForOne(g, j):
				r.Free = d
			}
		}
		if w.Reserve != nil {
			d := t.divide(g, w, r.Max)
			r.Used, r.Max = d.view()
		}
	}
}

func (t *take) roomForOne(g *located, j int) bool {
	w, r := &g.Windows[j], &g.result.Windows[j]
	if w.Reserve != nil {
		d := t.divide(g, w, r.Max)
		return d.fits(1)
	}
	return r.Used+1 <= r.Max
}

// unpin lets the records go, and drops those in which nothing was charged.
func (t *take) unpin() {
	for i := range t.budgets {
		g := &t.budgets[i]
		if g.rec == 0 {
			continue
		}
		sh := t.store.shard(g.hash)
		r := sh.record(g.rec - 1)
		r.setPinned(false)
		if r.size() == r.keyLen() {
			sh.drop(g.rec - 1)
		}
	}
}

// put charges n at ns to a window of a record. ns may lie in the past.
func (sh *shard) put(r record, id windowID, ns, n int64) {
	w, at := sh.window(r, id)
	if at < 0 {
		w, at = sh.open(r, id)
	}
	s := id.scale()
	tick := s.charge(ns)
	if c := w.count(); c > 0 && int32(w.entry(c-1).time()-tick) > 0 {
		sh.putBefore(r, w, at, tick, n)
		return
	}
	i, join := w.place(s, tick)
	if !join {
		w = sh.openEntry(r, at, i, entrySize)
	}
	e := w.entry(i)
	if join && e.time() != tick {
		e.setJoined()
	}
	e.setTime(tick)
	e.setAmount(e.amount() + n)
}

// putBefore charges to a moment before the last entry: it joins the first
// entry that is not earlier, or in a long log the one before it, if that lies in
// the same cell; else it gets one.
func (sh *shard) putBefore(r record, w log, at int, tick uint32, n int64) {
	i := 0
	for int32(w.entry(i).time()-tick) < 0 {
		i++
	}
	s := w.id().scale()
	same := func(i int) bool { return w.entry(i).time()/s.cell == tick/s.cell }
	switch {
	case same(i):
		if w.entry(i).time() != tick {
			w.entry(i).setJoined()
		}
	case i > 0 && same(i-1) && w.count() >= exactEntries:
		i--
		w.entry(i).setJoined()
		w.entry(i).setTime(tick)
	default:
		w = sh.openEntry(r, at, i, entrySize)
		w.entry(i).setTime(tick)
	}
	w.entry(i).setAmount(w.entry(i).amount() + n)
}

// open adds an empty window at the end of a record.
func (sh *shard) open(r record, id windowID) (log, int) {
	at := r.size()
	w := log(sh.insert(r, at, windowHead)[at:])
	le.PutUint32(w, uint32(id))
	return w, at
}

// openEntry makes room for entry i of the window at an offset.
func (sh *shard) openEntry(r record, at, i, size int) log {
	body := sh.insert(r, at+windowHead+i*size, size)
	w := log(body[at:])
	w.setCount(w.count() + 1)
	return w[:w.size()]
}
