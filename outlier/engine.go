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
	// top is the sender with the most recipients of late, by client and user: a
	// single one that explains the volume of all is not their fault.
	top map[string]top
}

type top struct {
	e    *entry
	name string
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
}

// finding is a score of one scope with what led to it.
type finding struct {
	e        *entry // nil: not counted
	names    bool   // the number of sender names, not their volume
	score    float32
	evidence [kinds]evidence
	sums     table
	floor    *table
}

// scores are the findings of one message, the narrowest scope first; those
// behind one that explains the message are missing.
type scores struct {
	found [5]finding
	n     int
}

func (s *scores) add(f finding) { s.found[s.n] = f; s.n++ }

func newEngine(cfg *Config, s seed) engine {
	return engine{
		tuning: newTuning(cfg), seed: s, roster: newRoster(s, cfg.MaxSenders), known: newKnown(cfg.MaxKnown),
		clients: map[string]*clientInfo{},
	}
}

func (g *engine) client(name string, now int64) *clientInfo {
	c := g.clients[name]
	if c == nil {
		c = &clientInfo{name: name, num: uint16(len(g.byNum)), hash: g.seed.hash(name), born: uint16(now / daySeconds), top: map[string]top{}}
		g.clients[name] = c
		g.byNum = append(g.byNum, c)
	}
	return c
}

// count takes a message into all counts and gives the scores that follow.
func (g *engine) count(now int64, msg *message) (out scores) {
	c := g.client(msg.client, now)
	a := g.amount(c, msg)
	var sender finding
	var isNew bool
	var idle bool
	var rise float32
	if msg.sender != "" {
		var e *entry
		e, isNew = g.roster.get(ofSender, msg.sender, c.num, now)
		e.roll(now)
		sender = g.take(now, e, &a, msg.expected(ofSender, msg.sender), &senderScale)
		idle = sender.sums[sent][hour] <= a[sent]
		rise = g.rise(&sender, &a, &senderScale)
		out.add(sender)
	}
	if msg.alone || sender.score >= 1 {
		return out
	}
	names := amount{rise, 0, 0}
	if isNew {
		names[fresh] = 1
	}
	if idle || isNew {
		names[refused] = 1
	}
	if msg.user != "" && g.wide(now, c, msg, ofUser, msg.user, &a, &names, sender.e, &out) {
		return out
	}
	g.wide(now, c, msg, ofClient, msg.client, &a, &names, sender.e, &out)
	return out
}

// rise is by how much a message has raised the score of its sender, up to the
// first alarm.
func (g *engine) rise(f *finding, a *amount, s *scale) float32 {
	if f.score == 0 {
		return 0
	}
	before := f.sums
	for k := range kinds {
		for w := range windows {
			before[k][w] -= a[k]
		}
	}
	e := f.e.judge(&before, f.floor, s)
	return max(0, min(1, f.score)-g.tuning.score(&f.e.meter, &e, s))
}

// amount looks the recipients up, and makes them known.
func (g *engine) amount(c *clientInfo, msg *message) (a amount) {
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
		}
	}
	return a
}

// wide counts for a user or client, its volume and its sender names, and
// reports whether that is out of the ordinary.
func (g *engine) wide(now int64, c *clientInfo, msg *message, sc scope, name string, a, names *amount, sender *entry, out *scores) bool {
	volume, nameScale, nameScope := &clientScale, &clientNamesScale, ofClientNames
	topKey := ""
	if sc == ofUser {
		volume, nameScale, nameScope = &senderScale, &userNamesScale, ofUserNames
		topKey = name
	}
	e, n := g.wideMeters(c, sc, name, nameScope, now)
	e.roll(now)
	f := g.take(now, e, a, msg.expected(sc, name), volume)
	if t := c.leading(topKey, sender, now); t != nil && f.score >= 1 {
		f.without(&g.tuning, t, volume)
	}
	out.add(f)
	n.roll(now)
	nf := g.take(now, n, names, nil, nameScale)
	nf.names = true
	out.add(nf)
	return f.score >= 1 || nf.score >= 1
}

// wideMeters gives the meters of a user or client. Those of a client are at
// hand: every message needs them, and they are never given up.
func (g *engine) wideMeters(c *clientInfo, sc scope, name string, names scope, now int64) (e, n *entry) {
	if sc == ofClient && c.volume.is(sc, name) && c.names.is(names, name) {
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

// leading is the sender with the most recipients of late.
func (c *clientInfo) leading(key string, sender *entry, now int64) *entry {
	t := c.top[key]
	if !t.e.is(ofSender, t.name) {
		t.e = nil // its place has been given to another
	}
	if t.e != nil {
		t.e.roll(now)
	}
	if sender != nil && (t.e == nil || sender.recent() >= t.e.recent()) {
		t = top{sender, sender.name}
		c.top[key] = t
	}
	return t.e
}

// recent is about how many recipients there were within the hour.
func (m *meter) recent() float32 {
	r := &m.ring[hour]
	return r[0][sent].float() + r[1][sent].float() + r[2][sent].float()/2
}

// look scores an entry as it is.
func (g *engine) look(e *entry, floor *table, s *scale) (f finding) {
	e.turn(&g.tuning, s, g.byNum[e.client].born)
	f = finding{e: e, sums: e.sums(), floor: floor}
	f.evidence = e.judge(&f.sums, floor, s)
	f.score = g.tuning.score(&e.meter, &f.evidence, s)
	return f
}

// take counts a message for an entry and scores it.
func (g *engine) take(at int64, e *entry, a *amount, floor *table, s *scale) finding {
	e.turn(&g.tuning, s, g.byNum[e.client].born)
	e.add(min(at, int64(e.last)), a)
	f := g.look(e, floor, s)
	learnt := f.sums
	for k := sent; s.apart && k < refused; k++ {
		for w := range windows {
			learnt[k][w] = max(0, learnt[k][w]-f.sums[refused][w])
		}
	}
	e.learn(&learnt)
	return f
}

// without scores anew as if the sender were not there.
func (f *finding) without(t *tuning, sender *entry, s *scale) {
	theirs := sender.sums()
	rest := f.sums
	for k := range kinds {
		for w := range windows {
			rest[k][w] = max(0, rest[k][w]-theirs[k][w])
		}
	}
	f.evidence = f.e.judge(&rest, f.floor, s)
	f.score = t.score(&f.e.meter, &f.evidence, s)
}
