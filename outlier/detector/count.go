package detector

import "cmp"

// clientInfo is what belongs to a client beside its meters.
type clientInfo struct {
	name string
	num  uint16
	born uint16 // day of its first message
	// volume and names are its meters, nil until its first message.
	volume, names *entry
	party
	users map[string]*party
}

// party is what belongs to a user or client beside its meters.
type party struct {
	// top is the sender with the most recipients of late: a single one that
	// explains the volume of all is not their fault.
	hash uint64 // of its name
	top  top
	// refused is the sender with the most refused recipients of the last day.
	refused top
	// blamed counts what is the fault of somebody narrower, nil when nothing is.
	blamed *entry
}

type top struct {
	e    *entry
	hash uint64
}

func (d *Detector) client(name string, now int64) *clientInfo {
	c := d.clients[name]
	if c == nil {
		c = &clientInfo{name: name, num: uint16(len(d.byNum)), born: max(uint16(now/daySeconds), d.knownSince), party: party{hash: d.seed.Hash(name)}, users: map[string]*party{}}
		d.clients[name] = c
		d.byNum = append(d.byNum, c)
	}
	return c
}

// tally is what a message adds.
type tally struct {
	c      *clientInfo
	ev     *Event
	expect Expect
	add    amount
	inside float32 // recipients that are known and in our own domains
	names  amount
	// newName: never seen with this client, nor by a user of it.
	newName bool
	sender  *Finding // nil: the null reverse-path
	solo    bool     // it stands for its user, too
	before  meter    // of such a sender, before the message
	// explained: somebody narrower is to blame.
	explained bool
	// refused is the meter of the user who is to blame for refused recipients by the
	// plain rule; nil: none.
	refused *entry
}

// count takes an event into all counts and fills in the scores that follow. It
// counts for everybody that it belongs to; what the narrowest can be blamed for is
// not held against those around it.
func (d *Detector) count(ev *Event, expect Expect, out *findings) {
	out.n = 0
	now := ev.At
	if d.lastingSince == 0 {
		d.lastingSince = uint16(now / daySeconds)
	}
	m := tally{c: d.client(ev.Client, now), ev: ev, expect: expect}
	m.inside = d.amount(m.c, ev, &m.add)
	d.meetAll(ev, m.c)
	if ev.Sender != "" {
		d.sender(now, &m, out)
	}
	if ev.Alone {
		return
	}
	switch {
	case ev.User == "":
	case m.solo:
		d.soloUser(&m, out)
	default:
		d.wide(now, &m, PartyWho(ev.User), d.user(m.c, ev.User), out)
	}
	d.wide(now, &m, Who{Client, ev.Client}, &m.c.party, out)
}

// sender counts for the sender, which is one for each user: what somebody sends in
// a colleague's name is not the colleague's.
func (d *Detector) sender(now int64, m *tally, out *findings) {
	e, isNew := d.senderMeter(now, m)
	if isNew && e.scope == ofUserSender && !e.has(isSolo) {
		isNew = !d.inherit(e, m.ev.Sender)
	}
	if isNew {
		e.put(isNewcomer, d.isNewcomer(now, m))
	}
	if m.solo = e.has(isSolo); m.solo {
		m.before = e.meter
	}
	e.roll(now)
	f := out.next()
	d.take(f, now, e, &m.add, nil, m.expect.of(Who{Sender, m.ev.Sender}), d.scale(e))
	d.judgeShare(f, f.sums[sent][day], f.sums[refused][day])
	d.notice(f, m.inside)
	// What an operator expects of a sender, and what comes regularly, is expected of
	// who sends as it, too.
	m.sender, m.explained = f, f.Score >= 1 || f.floor != nil || f.spared && f.raw(&d.tuning, &f.sums) >= stirFrom
	if m.solo && !m.alike(f) {
		d.part(e, &m.before, m.c)
		m.solo = false
	}
	if !m.explained {
		m.names[sent] = d.rise(f, &m.add)
	}
	inUse := isNew || f.sums[sent][hour] <= m.add[sent]
	if inUse {
		m.names[refused] = 1
		m.newName = d.meet(m, e, isNew)
	}
	if isNew {
		m.names[fresh] = 1
	}
}

// meet remembers that the client knows the name of a sender, and reports whether
// it did not. The sender of a user who is not the first one with it is marked.
func (d *Detector) meet(m *tally, e *entry, isNew bool) bool {
	if m.ev.User == "" && !isNew {
		return false
	}
	name := d.nameHash(m.ev.Sender)
	if d.known.Has(m.c.hash, name) {
		if isNew && m.ev.User != "" {
			e.put(isForeign, true)
		}
		return isNew && m.ev.User == ""
	}
	d.known.Add(m.c.hash, name)
	return isNew
}

// nameHash stands for the name of the sender among the recipients that the client
// knows, and not for the recipient of that name.
func (d *Detector) nameHash(sender string) uint64 { return d.seed.Hash(sender) ^ 0x9E3779B97F4A7C15 }

// inherit gives the sender of a user the past that an earlier release has kept
// under the sender's name alone; the first user of the name takes it.
func (d *Detector) inherit(e *entry, sender string) bool {
	old := d.meters.find(ofSender, sender)
	if old == nil || !old.has(isOld) || old.client != e.client {
		return false
	}
	old.put(isOld, false)
	e.meter = old.meter
	var mine *runs
	if rs := d.meters.runsOf(old); rs != nil {
		mine = new(*rs)
	}
	d.meters.setRuns(e, mine)
	return true
}

// rise is by how much a message has raised the score of its sender, up to the
// first alarm.
func (d *Detector) rise(f *Finding, a *amount) float32 {
	if f.Score == 0 {
		return 0
	}
	before := f.like()
	for k := range kinds {
		for w := range windows {
			before.sums[k][w] = f.sums[k][w] - a[k]
		}
	}
	before.judge(&d.tuning, &before.sums)
	return max(0, min(1, f.Score)-before.Score)
}

// amount looks the recipients up, makes them known and adds them to a. inside is
// how many are known and in our own domains.
func (d *Detector) amount(c *clientInfo, ev *Event, a *amount) (inside float32) {
	for i := range ev.Recipients {
		r := &ev.Recipients[i]
		a[sent]++
		if r.Refused {
			a[refused]++
		}
		if !d.known.Has(c.hash, r.Hash) {
			a[fresh]++
			if r.Took {
				d.known.Add(c.hash, r.Hash)
			}
		} else if r.Inside {
			inside++
		}
	}
	return inside
}

// wide counts for a user or client: its volume, its sender names, and those of
// them that are under alarm.
func (d *Detector) wide(now int64, m *tally, who Who, p *party, out *findings) {
	sc, name := who.meter(), who.meterName()
	nameScale, nameScope := &clientNamesScale, ofClientNames
	if sc == ofUser {
		nameScale, nameScope = &userNamesScale, ofUserNames
	}
	e, n := d.wideMeters(m.c, sc, name, nameScope, now)
	e.roll(now)
	blamed := d.blame(now, m, sc, name, p)
	f := out.next()
	d.take(f, now, e, &m.add, blamed, m.expect.of(who), d.scale(e))
	n.roll(now)
	names := m.names
	if sc == ofClient && !m.newName {
		names[fresh] = 0
	}
	nf := out.next()
	d.take(nf, now, n, &names, nil, nil, nameScale)
	nf.Names = true
	if m.explained {
		f.Score, nf.Score = 0, 0 // this message is no reason to look at them
		f.runs = nil
	} else {
		d.ownFault(now, m, f, p)
	}
	if m.sender != nil && (sc == ofUser) == (m.ev.User != "") && m.sender.counts(&d.tuning) {
		d.alarms(now, m, sc, name, f, p, out)
	}
	m.explained = m.explained || f.Score >= 1 || nf.Score >= 1
	if f.Refusals >= Alarming {
		m.refused = e
	}
}

// ownFault judges a user or client without its largest sender, which may explain
// its volume, and without the one with the most refused recipients, and remembers
// what is unusual.
func (d *Detector) ownFault(now int64, m *tally, f *Finding, p *party) {
	sender := m.senderEntry()
	p.top.update(sender, now, (*meter).recent)
	if p.top.e != nil && f.Score >= 1 {
		f.without(&d.tuning, p.top.e)
	}
	if m.add[refused] > 0 {
		p.refused.update(sender, now, (*meter).refusedOfDay)
	}
	rest := f.sums
	if e := cmp.Or(m.refused, p.refused.at(now)); e != nil {
		rest = rest.without(&e.meter)
	}
	d.judgeShare(f, rest[sent][day], rest[refused][day])
	d.notice(f, m.inside)
}

// senderEntry is the meter of the sender; nil for the null reverse-path.
func (m *tally) senderEntry() *entry {
	if m.sender == nil {
		return nil
	}
	return m.sender.e
}

// blame counts what is the fault of somebody narrower, and gives the meter of
// that; nil while there is nothing in it.
func (d *Detector) blame(now int64, m *tally, sc scope, name string, p *party) *entry {
	hash := sc.others().hash(p.hash)
	if !p.blamed.is(hash) {
		p.blamed = d.meters.search(hash)
	}
	if p.blamed == nil && m.explained {
		p.blamed, _ = d.meters.get(sc.others(), name, m.c.num, now)
	}
	if p.blamed == nil {
		return nil
	}
	p.blamed.roll(now)
	if m.explained {
		p.blamed.add(min(now, int64(p.blamed.last)), &m.add)
	}
	return p.blamed
}

// wideMeters gives the meters of a user or client. Those of a client are at
// hand: every message needs them, and they are never given up.
func (d *Detector) wideMeters(c *clientInfo, sc scope, name string, names scope, now int64) (e, n *entry) {
	if sc == ofClient && c.volume.is(sc.hash(c.hash)) && c.names.is(names.hash(c.hash)) {
		return c.volume, c.names
	}
	if sc == ofUser {
		d.partUser(name) // the null reverse-path
	}
	e, _ = d.meters.get(sc, name, c.num, now)
	n, _ = d.meters.get(names, name, c.num, now)
	if sc == ofClient {
		c.volume, c.names = e, n
	}
	return e, n
}

// maxParties is of how many users or submitters of one client it is remembered which
// of their senders has most; of others it is found anew.
const maxParties = 20_000

func (d *Detector) user(c *clientInfo, name string) *party {
	p := c.users[name]
	if p == nil {
		for other := range c.users { // a client can invent submitters without end
			if len(c.users) < maxParties {
				break
			}
			delete(c.users, other)
		}
		p = &party{hash: d.seed.Hash(name)}
		c.users[name] = p
	}
	return p
}

// update puts sender in the place of one that has less of late; sender may be nil.
func (t *top) update(sender *entry, now int64, most func(*meter) float32) {
	if old := t.at(now); sender != nil && (old == nil || most(&sender.meter) >= most(&old.meter)) {
		*t = top{sender, sender.hash}
	}
}

// at is the sender as it is now; nil when there is none.
func (t *top) at(now int64) *entry {
	if !t.e.is(t.hash) {
		t.e = nil // its place has been given to another
		return nil
	}
	t.e.roll(now)
	return t.e
}

// refusedOfDay is how many recipients were refused within the day.
func (m *meter) refusedOfDay() float32 {
	var s table
	m.sums(&s)
	return s[refused][day]
}

// recent is about how many recipients there were within the hour.
func (m *meter) recent() float32 {
	r := &m.ring[hour]
	return r[0][sent] + r[1][sent] + r[2][sent]/2
}

// take counts a message for an entry and scores it. f is filled in place, as are
// its parts: what is written number by number and copied at once waits in between.
func (d *Detector) take(f *Finding, at int64, e *entry, a *amount, blamed *entry, floor *table, s *scale) {
	e.turn(&d.tuning, s, d.byNum[e.client].born)
	e.add(min(at, int64(e.last)), a)
	*f = d.finding(e, floor, s)
	f.blamed = blamed
	if f.runs != nil {
		f.runs.turn(e.day, d.tuning.growth)
	}
	e.sums(&f.sums)
	if f.all = f.sums; blamed != nil {
		f.sums = f.all.without(&blamed.meter)
	}
	f.judge(&d.tuning, &f.sums)
	e.learn(&f.sums, s.apart)
}

// notice remembers what is unusual about a finding, whether it is an alarm or not,
// for the day on which it comes again. inside is how many recipients of the message
// are known and in our own domains.
func (d *Detector) notice(f *Finding, inside float32) {
	stirs := f.scale.regular && (f.Score > 0 || f.runs != nil) && f.raw(&d.tuning, &f.sums) >= stirFrom
	if f.runs == nil && stirs {
		f.runs = new(runs)
		d.meters.setRuns(f.e, f.runs)
	}
	if f.runs != nil {
		f.runs.countInside(int64(f.e.last), inside)
	}
	if stirs {
		f.runs.note(f.e.day, &d.tuning, f)
	}
}
