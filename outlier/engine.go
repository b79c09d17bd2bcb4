package outlier

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
	hash uint64
	born uint16 // day of its first message
	// volume and names are its meters, nil until its first message.
	volume, names *entry
	// top is the sender with the most recipients of late, also of each user: a
	// single one that explains the volume of all is not their fault.
	top   top
	topOf map[string]*top
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
}

// scores are the findings of one message, the narrowest scope first; those
// behind one that explains the message are missing.
type scores struct {
	found [5]finding
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
		c = &clientInfo{name: name, num: uint16(len(g.byNum)), hash: g.seed.hash(name), born: uint16(now / daySeconds), topOf: map[string]*top{}}
		g.clients[name] = c
		g.byNum = append(g.byNum, c)
	}
	return c
}

// count takes a message into all counts and fills in the scores that follow.
func (g *engine) count(now int64, msg *message, out *scores) {
	out.n = 0
	c := g.client(msg.client, now)
	var a amount
	inside := g.amount(c, msg, &a)
	var sender *entry
	var names amount
	if msg.sender != "" {
		e, isNew := g.roster.get(ofSender, msg.sender, c.num, now)
		e.roll(now)
		f := out.next()
		g.take(f, now, e, &a, msg.expected(ofSender, msg.sender), g.scale(e))
		g.notice(f, inside)
		names[sent] = g.rise(f, &a)
		if isNew {
			names[fresh] = 1
		}
		if isNew || f.sums[sent][hour] <= a[sent] {
			names[refused] = 1
		}
		if f.score >= 1 {
			return
		}
		sender = e
	}
	if msg.alone {
		return
	}
	if msg.user != "" && g.wide(now, c, msg, ofUser, msg.user, &a, &names, inside, sender, out) {
		return
	}
	g.wide(now, c, msg, ofClient, msg.client, &a, &names, inside, sender, out)
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

// wide counts for a user or client, its volume and its sender names, and
// reports whether that is out of the ordinary.
func (g *engine) wide(now int64, c *clientInfo, msg *message, sc scope, name string, a, names *amount, inside float32, sender *entry, out *scores) bool {
	nameScale, nameScope, t := &clientNamesScale, ofClientNames, &c.top
	if sc == ofUser {
		nameScale, nameScope, t = &userNamesScale, ofUserNames, c.topOfUser(name)
	}
	e, n := g.wideMeters(c, sc, name, nameScope, now)
	e.roll(now)
	f := out.next()
	g.take(f, now, e, a, msg.expected(sc, name), g.scale(e))
	if t.update(sender, now); t.e != nil && f.score >= 1 {
		f.without(&g.tuning, t.e)
	}
	g.notice(f, inside)
	n.roll(now)
	nf := out.next()
	g.take(nf, now, n, names, nil, nameScale)
	nf.names = true
	return f.score >= 1 || nf.score >= 1
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

func (c *clientInfo) topOfUser(name string) *top {
	t := c.topOf[name]
	if t == nil {
		t = new(top)
		c.topOf[name] = t
	}
	return t
}

// update puts sender in the place of one that has sent less of late; sender may
// be nil.
func (t *top) update(sender *entry, now int64) {
	if !t.e.is(t.hash) {
		t.e = nil // its place has been given to another
	}
	if t.e != nil {
		t.e.roll(now)
	}
	if sender != nil && (t.e == nil || sender.recent() >= t.e.recent()) {
		*t = top{sender, sender.hash}
	}
}

// recent is about how many recipients there were within the hour.
func (m *meter) recent() float32 {
	r := &m.ring[hour]
	return r[0][sent].float() + r[1][sent].float() + r[2][sent].float()/2
}

// look scores an entry as it is.
func (g *engine) look(e *entry, floor *table, s *scale) (f finding) {
	e.turn(&g.tuning, s, g.byNum[e.client].born)
	f = finding{e: e, scale: s, floor: floor, runs: g.roster.runsOf(e)}
	e.sums(&f.sums)
	f.judge(&g.tuning, &f.sums)
	return f
}

// take counts a message for an entry and scores it. f is filled in place, as are
// its parts: what is written number by number and copied at once waits in between.
func (g *engine) take(f *finding, at int64, e *entry, a *amount, floor *table, s *scale) {
	e.turn(&g.tuning, s, g.byNum[e.client].born)
	e.add(min(at, int64(e.last)), a)
	*f = finding{e: e, scale: s, floor: floor, runs: g.roster.runsOf(e)}
	if f.runs != nil {
		f.runs.turn(e.day, g.tuning.growth)
	}
	e.sums(&f.sums)
	f.judge(&g.tuning, &f.sums)
	e.learn(&f.sums, s.apart)
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
	}
	f.e.judge(sums, f.floor, f.scale, spare, &f.evidence)
	f.score = t.score(&f.e.meter, &f.evidence, f.scale)
}

// without scores anew as if the sender were not there.
func (f *finding) without(t *tuning, sender *entry) {
	var theirs, rest table
	sender.sums(&theirs)
	for k := range kinds {
		for w := range windows {
			rest[k][w] = max(0, f.sums[k][w]-theirs[k][w])
		}
	}
	f.judge(t, &rest)
}
