package detector

// Regular mail is what comes again and again, days apart: invoices on each 30th,
// a newsletter on Mondays. A record that grows by a tenth a day cannot learn it
// from a sender that has other mail in between. So days of unusual volume are
// remembered as runs, and from the second run of one size on the next one is no
// evidence: neither its recipients nor as many new ones as it usually brings. It
// must be due, of that size, almost all to recipients that the client knows, and
// hardly refused. Anything else is judged by the record as if there were no runs.

const (
	// stirFrom is the evidence in the hour or the day from which on mail belongs
	// to a run.
	stirFrom = 0.5
	// A run ends quietDays after its last unusual day, or runDays after the first.
	quietDays = 2
	runDays   = 7
	// keepDays is how long a run is remembered that does not come again.
	keepDays = 400
	runSlots = 3
	// sameSize is up to which factor runs are of one size. It holds for those that
	// were so unusual that they had to be held up, with loudFrom or more. The others
	// are given quietMore only: whoever makes such runs to raise its record gains
	// nothing that waiting would not give.
	sameSize  = 1.5
	quietMore = 1.05
	loudFrom  = 1.5
	// knownMix is the share of new recipients that a regular run may have, beside
	// a few; refusedMix likewise of refused ones.
	knownMix   = 0.1
	refusedMix = 0.03
	few        = 4
)

// sizes are the most recipients in each window, sent and fresh.
type sizes [2][windows]float32

// run is a level that was reached, or that has been reached more than once.
type run struct {
	day   uint16 // on which the last one began
	gap   uint16 // fewest days between two of them; 0: there were no two yet
	times uint8  // 0: there is none; 1: so far one; 2: it has come again
	loud  bool   // one of them was an alarm
	top   sizes
}

// runs are the runs of one sender, user or client.
type runs struct {
	way   run     // the one under way
	last  uint16  // last unusual day of it
	carry float32 // recipients of it that the windows do not hold
	past  [runSlots]run
	// inside counts, since there are runs, what was sent to known recipients in our
	// own domains.
	inside meter
}

// runsOf gives the runs of an entry, nil when it has none.
func (r *meters) runsOf(e *entry) *runs {
	if !e.has(isRegular) {
		return nil
	}
	return r.regular[e.hash]
}

// setRuns gives an entry its runs; nil takes them.
func (r *meters) setRuns(e *entry, rs *runs) {
	e.put(isRegular, rs != nil)
	if rs == nil {
		delete(r.regular, e.hash)
		return
	}
	r.regular[e.hash] = rs
}

// spared says of which windows sent and fresh recipients are not evidence.
type spared [2][windows]bool

// spare compares the windows with the runs that have come again.
func (r *runs) spare(today uint16, sums *table, s *spared) {
	for i := range r.past {
		p := &r.past[i]
		if p.times < 2 || today > p.day+keepDays {
			continue
		}
		more := p.more()
		for w := range windows {
			if w != leaky && 2*(int(today)-int(p.day)) < int(p.gap) {
				continue // not due; what leaks away is the last one's
			}
			n := sums[sent][w]
			if n > more*p.top[sent][w] || sums[refused][w] > refusedMix*n+1 {
				continue
			}
			usual := more * p.top[fresh][w]
			s[fresh][w] = s[fresh][w] || sums[fresh][w] <= usual
			// In what leaks away are also the new recipients of the runs before.
			s[sent][w] = s[sent][w] || w == leaky || sums[fresh][w] <= max(usual, knownMix*n+few)
		}
	}
}

// more is the factor by which a run may be larger than p.
func (p *run) more() float32 {
	if p.loud {
		return sameSize
	}
	return quietMore
}

// raw is how unusual an hour or a day with these sums is, whatever came before.
func (f *Finding) raw(t *tuning, sums *table) float32 {
	var sum float32
	for _, k := range [...]int{sent, fresh} {
		var worst float32
		for _, w := range [...]int{hour, day} {
			worst = max(worst, f.e.beyond(k, w, sums, f.floor, f.scale))
		}
		sum += worst
	}
	return sum * t.sensitivity
}

// note takes what a message has led to into the run under way, or begins one.
func (r *runs) note(today uint16, t *tuning, f *Finding) {
	w := &r.way
	if w.times == 0 {
		*w, r.carry = run{day: today, times: 1}, 0
	}
	r.last = today
	all := f.sums
	for i := range windows {
		all[sent][i] += r.carry
		w.top[sent][i] = max(w.top[sent][i], all[sent][i]-f.sums[refused][i])
		w.top[fresh][i] = max(w.top[fresh][i], f.sums[fresh][i])
	}
	w.loud = w.loud || f.raw(t, &all) >= loudFrom
}

// shadowed adds recipients that were sent while a state in shadow stood, and are
// not in the windows.
func (r *runs) shadowed(today uint16, n float32) {
	if r.way.times == 0 {
		return
	}
	r.carry += n
	r.last = max(r.last, today)
	for i := range windows {
		r.way.top[sent][i] += n
	}
}

// forgiven keeps what the windows held of the run under way before they were
// emptied, so that a run which was held up is as large as it would have been.
func (r *runs) forgiven(sums *table) {
	if r.way.times > 0 {
		r.carry += max(0, sums[sent][day]-sums[refused][day])
	}
}

// turn ends the run under way where that is due, and takes it to the past ones.
func (r *runs) turn(today uint16, growth float64) {
	w := r.way
	if w.times == 0 || int(today) < int(r.last)+quietDays && int(today) < int(w.day)+runDays {
		return
	}
	r.way, r.carry = run{}, 0
	p := r.like(&w, today)
	if p == nil {
		p = r.place(today)
		*p = w
		for i := range windows {
			p.top[fresh][i] = min(p.top[fresh][i], knownMix*p.top[sent][i])
		}
		return
	}
	p.again(&w, growth)
}

// like is the past run of about the size of w; nil when there is none. One that has
// come again is like a larger run only as far as it spares it.
func (r *runs) like(w *run, today uint16) (best *run) {
	n := w.top[sent][day]
	for i := range r.past {
		p := &r.past[i]
		m, more := p.top[sent][day], float32(sameSize)
		if p.times == 2 {
			more = p.more()
		}
		if p.times == 0 || today > p.day+keepDays || n > more*m || m > sameSize*n {
			continue
		}
		if best == nil || p.times > best.times {
			best = p
		}
	}
	return best
}

// place is where a run of another size goes: in the place of the one that is
// least likely to come again.
func (r *runs) place(today uint16) *run {
	best := &r.past[0]
	for i := range r.past {
		p := &r.past[i]
		if p.times == 0 || today > p.day+keepDays {
			return p
		}
		if p.times < best.times || p.times == best.times && p.day+p.gap < best.day+best.gap {
			best = p
		}
	}
	return best
}

// again takes another run of its size into p. Of the first two the level is what
// both have reached; later ones raise it as a day raises a record, unless it is a
// quiet one. A run to new recipients is not one that has come again.
func (p *run) again(w *run, growth float64) {
	if w.top[fresh][day] > knownMix*w.top[sent][day]+few && w.times < 2 {
		if p.times < 2 {
			*p = *w
		}
		return
	}
	if p.times < 2 {
		p.confirm(w)
	} else if p.loud {
		for i := range windows {
			p.top[sent][i] = max(p.top[sent][i], min(w.top[sent][i], p.top[sent][i]*float32(1+growth)))
		}
	}
	for i := range windows {
		unseen := min(w.top[fresh][i], knownMix*p.top[sent][i], p.top[fresh][i]*float32(1+growth)+few)
		p.top[fresh][i] = max(p.top[fresh][i], unseen)
	}
	since := uint16(max(int(w.day)-int(p.day), quietDays))
	if p.gap == 0 || since < p.gap {
		p.gap = since
	}
	p.day, p.times = w.day, 2
}

// confirm makes p what it and w have both reached.
func (p *run) confirm(w *run) {
	for i := range windows {
		n, m := w.top[sent][i], p.top[sent][i]
		if i == leaky { // that of the second one has the first one in it
			p.top[sent][i], p.top[fresh][i] = max(n, m), w.top[fresh][i]
			continue
		}
		p.top[sent][i] = min(n, m)
		p.top[fresh][i] = min(w.top[fresh][i], knownMix*p.top[sent][i])
	}
	p.loud = p.loud && w.loud || w.times == 2
}

// approve makes the run under way one that has come again: an operator says so.
func (r *runs) approve() {
	if r.way.times > 0 {
		r.way.times, r.way.loud = 2, true
	}
}

// countInside adds recipients that are known and in our own domains.
func (r *runs) countInside(now int64, n float32) {
	if n == 0 {
		return
	}
	r.inside.roll(now)
	r.inside.add(now, &amount{sent: n})
}

// insideSums are their windows.
func (r *runs) insideSums(now int64) (s table) {
	m := r.inside
	m.roll(now)
	m.sums(&s)
	return s
}
