package outlier

import "cmp"

// engine counts and scores. It has no clock, no states and no lock.
type engine struct {
	tuning  tuning
	seed    seed
	roster  *roster
	known   *known
	clients map[string]*clientInfo
	byNum   []*clientInfo
}

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

// message is one transaction as the engine sees it.
type message struct {
	client, user, sender string // sender is "" for the null reverse-path
	rcpts                []recipient
	alone                bool                                  // counts for its sender only
	floor                func(scope scope, name string) *table // what an operator expects; nil: nothing
}

// recipient is one that the upstream was asked to take.
type recipient struct {
	hash    uint64 // of its address
	refused bool   // for reasons that the sender can help
	took    bool   // the upstream took it, so that it is known from now on
	inside  bool   // took, and in one of our own domains
}

// finding is a score of one scope with what led to it.
type finding struct {
	e        *entry // nil: not counted
	names    bool   // the number of sender names, not their volume
	scale    *scale
	score    float32
	evidence [kinds]evidence
	sums     table
	floor    *table
	runs     *runs // nil: none
	spared   bool  // a regular run is due, and is no evidence
	// all are the windows with what is the fault of somebody narrower, which sums
	// leave out.
	all    table
	blamed *entry // the meter of that; nil: nothing
	// plain is what the plain rule on refused recipients says, of day recipients of
	// which dayRefused were refused.
	plain           Level
	day, dayRefused float32
	// alarms: not volume, but the senders of a user or client that are under alarm.
	alarms bool
	// mild: an alert at most.
	mild bool
	// foreign: for a sender that others used before.
	foreign bool
}

// scores are the findings of one message, the narrowest scope first.
type scores struct {
	found [7]finding
	n     int
}

// next is the place of the next finding.
func (s *scores) next() *finding {
	s.n++
	return &s.found[s.n-1]
}

func newEngine(cfg *Config, s seed) engine {
	return engine{
		tuning: newTuning(cfg), seed: s, roster: newRoster(s, cfg.MaxSenders), known: newKnown(cfg.MaxKnown),
		clients: map[string]*clientInfo{},
	}
}

func (g *engine) client(name string, now int64) *clientInfo {
	c := g.clients[name]
	if c == nil {
		c = &clientInfo{name: name, num: uint16(len(g.byNum)), born: uint16(now / daySeconds), party: party{hash: g.seed.hash(name)}, users: map[string]*party{}}
		g.clients[name] = c
		g.byNum = append(g.byNum, c)
	}
	return c
}

// tally is what a message adds.
type tally struct {
	c      *clientInfo
	msg    *message
	add    amount
	inside float32 // recipients that are known and in our own domains
	names  amount
	// newName: never seen with this client, nor by a user of it.
	newName bool
	sender  *finding // nil: the null reverse-path
	// explained: somebody narrower is to blame.
	explained bool
	// refused is the meter of the user who is to blame for refused recipients by the
	// plain rule; nil: none.
	refused *entry
}

// count takes a message into all counts and fills in the scores that follow. It
// counts for everybody that it belongs to; what the narrowest can be blamed for is
// not held against those around it.
func (g *engine) count(now int64, msg *message, out *scores) {
	out.n = 0
	m := tally{c: g.client(msg.client, now), msg: msg}
	m.inside = g.amount(m.c, msg, &m.add)
	if msg.sender != "" {
		g.sender(now, &m, out)
	}
	if msg.alone {
		return
	}
	if msg.user != "" {
		g.wide(now, &m, ofUser, msg.user, g.user(m.c, msg.user), out)
	}
	g.wide(now, &m, ofClient, msg.client, &m.c.party, out)
}

// sender counts for the sender, which is one for each user: what somebody sends in
// a colleague's name is not the colleague's.
func (g *engine) sender(now int64, m *tally, out *scores) {
	sc, name := ofSender, m.msg.sender
	if m.msg.user != "" {
		sc, name = ofUserSender, pairName(m.msg.user, m.msg.sender)
	}
	e, isNew := g.roster.get(sc, name, m.c.num, now)
	if isNew && sc == ofUserSender {
		isNew = !g.inherit(e, m.msg.sender)
	}
	e.roll(now)
	f := out.next()
	g.take(f, now, e, &m.add, nil, m.msg.expected(ofSender, m.msg.sender), g.scale(e))
	f.judgePlain(&g.tuning, f.sums[sent][day], f.sums[refused][day])
	g.notice(f, m.inside)
	// What an operator expects of a sender, and what comes regularly, is expected of
	// who sends as it, too.
	m.sender, m.explained = f, f.score >= 1 || f.floor != nil || f.spared && f.raw(&g.tuning, &f.sums) >= stirFrom
	if !m.explained {
		m.names[sent] = g.rise(f, &m.add)
	}
	inUse := isNew || f.sums[sent][hour] <= m.add[sent]
	if inUse {
		m.names[refused] = 1
		m.newName = g.meet(m, e, isNew)
	}
	if isNew {
		m.names[fresh] = 1
	}
}

// meet remembers that the client knows the name of a sender, and reports whether
// it did not. The sender of a user who is not the first one with it is marked.
func (g *engine) meet(m *tally, e *entry, isNew bool) bool {
	if m.msg.user == "" && !isNew {
		return false
	}
	name := g.seed.hash(m.msg.sender) ^ 0x9E3779B97F4A7C15 // not the recipient of that name
	if g.known.has(m.c.hash, name) {
		if isNew && m.msg.user != "" {
			e.put(isForeign, true)
		}
		return isNew && m.msg.user == ""
	}
	g.known.add(m.c.hash, name)
	return isNew
}

// inherit gives the sender of a user the past that an earlier release has kept
// under the sender's name alone; the first user of the name takes it.
func (g *engine) inherit(e *entry, sender string) bool {
	old := g.roster.find(ofSender, sender)
	if old == nil || !old.has(isOld) || old.client != e.client {
		return false
	}
	old.put(isOld, false)
	e.meter = old.meter
	var mine *runs
	if rs := g.roster.runsOf(old); rs != nil {
		mine = new(*rs)
	}
	g.roster.setRuns(e, mine)
	return true
}

// rise is by how much a message has raised the score of its sender, up to the
// first alarm.
func (g *engine) rise(f *finding, a *amount) float32 {
	if f.score == 0 {
		return 0
	}
	before := finding{e: f.e, scale: f.scale, floor: f.floor, runs: f.runs}
	for k := range kinds {
		for w := range windows {
			before.sums[k][w] = f.sums[k][w] - a[k]
		}
	}
	before.judge(&g.tuning, &before.sums)
	return max(0, min(1, f.score)-before.score)
}

// amount looks the recipients up, makes them known and adds them to a. inside is
// how many are known and in our own domains.
func (g *engine) amount(c *clientInfo, msg *message, a *amount) (inside float32) {
	for i := range msg.rcpts {
		r := &msg.rcpts[i]
		a[sent]++
		if r.refused {
			a[refused]++
		}
		if !g.known.has(c.hash, r.hash) {
			a[fresh]++
			if r.took {
				g.known.add(c.hash, r.hash)
			}
		} else if r.inside {
			inside++
		}
	}
	return inside
}

// wide counts for a user or client: its volume, its sender names, and those of
// them that are under alarm.
func (g *engine) wide(now int64, m *tally, sc scope, name string, p *party, out *scores) {
	nameScale, nameScope := &clientNamesScale, ofClientNames
	if sc == ofUser {
		nameScale, nameScope = &userNamesScale, ofUserNames
	}
	e, n := g.wideMeters(m.c, sc, name, nameScope, now)
	e.roll(now)
	blamed := g.blame(now, m, sc, name, p)
	f := out.next()
	g.take(f, now, e, &m.add, blamed, m.msg.expected(sc, name), g.scale(e))
	n.roll(now)
	names := m.names
	if sc == ofClient && !m.newName {
		names[fresh] = 0
	}
	nf := out.next()
	g.take(nf, now, n, &names, nil, nil, nameScale)
	nf.names = true
	if m.explained {
		f.score, nf.score = 0, 0 // this message is no reason to look at them
		f.runs = nil
	} else {
		g.ownFault(now, m, f, p)
	}
	if m.sender != nil && (sc == ofUser) == (m.msg.user != "") && m.sender.counts(&g.tuning) {
		g.alarms(now, m, sc, name, f, p, out)
	}
	m.explained = m.explained || f.score >= 1 || nf.score >= 1
	if f.plain >= Alerted {
		m.refused = e
	}
}

// ownFault judges a user or client without its largest sender, which may explain
// its volume, and without the one with the most refused recipients, and remembers
// what is unusual.
func (g *engine) ownFault(now int64, m *tally, f *finding, p *party) {
	sender := m.senderEntry()
	p.top.update(sender, now, (*meter).recent)
	if p.top.e != nil && f.score >= 1 {
		f.without(&g.tuning, p.top.e)
	}
	if m.add[refused] > 0 {
		p.refused.update(sender, now, (*meter).refusedOfDay)
	}
	rest := f.sums
	if e := cmp.Or(m.refused, p.refused.at(now)); e != nil {
		rest = rest.without(&e.meter)
	}
	f.judgePlain(&g.tuning, rest[sent][day], rest[refused][day])
	g.notice(f, m.inside)
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
func (g *engine) blame(now int64, m *tally, sc scope, name string, p *party) *entry {
	hash := sc.others().hash(p.hash)
	if !p.blamed.is(hash) {
		p.blamed = g.roster.search(hash)
	}
	if p.blamed == nil && m.explained {
		p.blamed, _ = g.roster.get(sc.others(), name, m.c.num, now)
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
func (g *engine) wideMeters(c *clientInfo, sc scope, name string, names scope, now int64) (e, n *entry) {
	if sc == ofClient && c.volume.is(sc.hash(c.hash)) && c.names.is(names.hash(c.hash)) {
		return c.volume, c.names
	}
	e, _ = g.roster.get(sc, name, c.num, now)
	n, _ = g.roster.get(names, name, c.num, now)
	if sc == ofClient {
		c.volume, c.names = e, n
	}
	return e, n
}

func (m *message) expected(sc scope, name string) *table {
	if m.floor == nil {
		return nil
	}
	return m.floor(sc, name)
}

func (g *engine) user(c *clientInfo, name string) *party {
	p := c.users[name]
	if p == nil {
		p = &party{hash: g.seed.hash(name)}
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

// look scores an entry as it is; blamed is the meter of what is others' fault.
func (g *engine) look(e *entry, blamed *meter, floor *table, s *scale) (f finding) {
	e.turn(&g.tuning, s, g.byNum[e.client].born)
	f = finding{e: e, scale: s, floor: floor, runs: g.roster.runsOf(e)}
	e.sums(&f.all)
	f.sums = f.all.without(blamed)
	f.judge(&g.tuning, &f.sums)
	return f
}

// without is a table without what a meter holds, which may be nil.
func (t table) without(m *meter) table {
	if m == nil {
		return t
	}
	var theirs table
	m.sums(&theirs)
	for k := range kinds {
		for w := range windows {
			t[k][w] = max(0, t[k][w]-theirs[k][w])
		}
	}
	return t
}

// take counts a message for an entry and scores it. f is filled in place, as are
// its parts: what is written number by number and copied at once waits in between.
func (g *engine) take(f *finding, at int64, e *entry, a *amount, blamed *entry, floor *table, s *scale) {
	e.turn(&g.tuning, s, g.byNum[e.client].born)
	e.add(min(at, int64(e.last)), a)
	*f = finding{e: e, scale: s, floor: floor, runs: g.roster.runsOf(e), blamed: blamed}
	if f.runs != nil {
		f.runs.turn(e.day, g.tuning.growth)
	}
	e.sums(&f.sums)
	if f.all = f.sums; blamed != nil {
		f.sums = f.all.without(&blamed.meter)
	}
	f.judge(&g.tuning, &f.sums)
	e.learn(&f.sums, s.apart)
}

// judgePlain fills in what the plain rule says.
func (f *finding) judgePlain(t *tuning, n, bad float32) {
	f.day, f.dayRefused = n, bad
	f.plain = t.refused.level(n, bad)
}

// notice remembers what is unusual about a finding, whether it is an alarm or not,
// for the day on which it comes again. inside is how many recipients of the message
// are known and in our own domains.
func (g *engine) notice(f *finding, inside float32) {
	stirs := f.scale.regular && (f.score > 0 || f.runs != nil) && f.raw(&g.tuning, &f.sums) >= stirFrom
	if f.runs == nil && stirs {
		f.runs = new(runs)
		g.roster.setRuns(f.e, f.runs)
	}
	if f.runs != nil {
		f.runs.countInside(int64(f.e.last), inside)
	}
	if stirs {
		f.runs.note(f.e.day, &g.tuning, f)
	}
}

// outside is the score without what was sent to known recipients in our own
// domains.
func (f *finding) outside(t *tuning) float32 {
	if f.runs == nil {
		return f.score
	}
	other := finding{e: f.e, scale: f.scale, floor: f.floor, runs: f.runs}
	sums := f.sums
	theirs := f.runs.insideSums(int64(f.e.last))
	for w := range windows {
		sums[sent][w] = max(0, sums[sent][w]-theirs[sent][w])
	}
	other.judge(t, &sums)
	return other.score
}

// judge fills in evidence and score, for sums that need not be those of f.
func (f *finding) judge(t *tuning, sums *table) {
	var spare *spared
	if f.runs != nil {
		spare = new(spared)
		f.runs.spare(uint16(int64(f.e.last)/daySeconds), sums, spare)
		f.spared = spare[sent][hour] || spare[sent][day]
	}
	f.e.judge(sums, f.floor, f.scale, spare, &f.evidence)
	f.score = t.score(&f.e.meter, &f.evidence, f.scale)
}

// without scores anew as if the sender were not there.
func (f *finding) without(t *tuning, sender *entry) {
	rest := f.sums.without(&sender.meter)
	f.judge(t, &rest)
}
