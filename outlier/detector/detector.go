package detector

import (
	"time"

	"postern/outlier/detector/sketch"
)

// Settings are an operator's numbers.
type Settings struct {
	// Sensitivity multiplies every score.
	Sensitivity float64
	// Growth is the share by which a record may grow in a day, HalfLife how long it
	// takes to be forgotten by half.
	Growth   float64
	HalfLife time.Duration
	// MaxSenders is how many meters are kept, MaxKnown for how many pairs of client
	// and recipient there is room. Set does not change them: they hold from the next
	// New, Restore, Reset or Reseed on.
	MaxSenders, MaxKnown int
	// Pairs: who is known to each sender is remembered, too.
	Pairs bool
	// Refused is the plain rule.
	Refused Shares
}

// Shares is the plain rule on the share of refused recipients in a day: of at least
// MinRecipients, Alarming is one that alerts and Excessive one that is answered by the
// hardest action; 0 is never.
type Shares struct {
	MinRecipients       int
	Alarming, Excessive float64
}

// Share is what the plain rule says of somebody.
type Share uint8

// Shares of refused recipients.
const (
	Ordinary Share = iota
	Alarming
	Excessive
)

// of is what the rule says where of n recipients of the last day so many were refused.
func (s *Shares) of(n, bad float32) Share {
	if n < float32(s.MinRecipients) {
		return Ordinary
	}
	switch share := float64(bad / n); {
	case s.Excessive > 0 && share >= s.Excessive:
		return Excessive
	case s.Alarming > 0 && share >= s.Alarming:
		return Alarming
	}
	return Ordinary
}

// Event is one finished transaction.
type Event struct {
	At           int64  // end of it, in seconds since 1970
	Client, User string // User is a Party
	Sender       string // a mail.Identity; "" for the null reverse-path, which belongs to no sender
	// Alone: it counts for its sender only.
	Alone bool
	// Shadowed: it would have been held back, had the operator's mode not been shadow.
	// The windows do not count it, but its recipients are known from now on.
	Shadowed bool
	// Away is the number of recipients that were turned away or aborted: they will
	// come again, and are counted then.
	Away int
	// Recipients are those that the upstream was asked to take.
	Recipients []Recipient
}

// Recipient is one that the upstream was asked to take.
type Recipient struct {
	Hash    uint64 // Detector.Hash of its mail.RecipientOf
	Refused bool   // for reasons that the sender can help
	Took    bool   // the upstream took it, so that it is known from now on
	Inside  bool   // it took it, and it is in one of our own domains
}

// Expected is what an operator expects of somebody, in recipients; zero is nothing.
type Expected struct{ Hour, Day float32 }

// Expect says what an operator expects of a sender, user or client at the time of the
// call; a nil one expects nothing of anybody.
type Expect func(Who) Expected

// of is the record that who is granted; nil for none. What is expected of a sender is
// expected of it whichever user uses it.
func (x Expect) of(who Who) *table {
	if x == nil {
		return nil
	}
	if who.Scope == UserSender {
		_, sender := SplitNames(who.Name)
		who = Who{Sender, sender}
	}
	e := x(who)
	if e == (Expected{}) {
		return nil
	}
	expected := [windows]float32{hour: e.Hour, day: e.Day, leaky: e.Day * leakTime / daySeconds}
	return &table{sent: expected, fresh: expected}
}

// Seed keys the hashes of names.
type Seed = sketch.Seed

// SeedSize is the number of octets of a seed.
const SeedSize = sketch.SeedSize

// ReadSeed reads what Seed.Bytes gives, of which there are SeedSize.
func ReadSeed(b []byte) Seed { return sketch.ReadSeed(b) }

// Detector counts events and scores who sent them. It knows no clock: each call says
// what time it is. It is not safe for concurrent use.
type Detector struct {
	settings Settings
	tuning   tuning
	seed     Seed
	meters   *meters
	known    *sketch.Sketch
	clients  map[string]*clientInfo
	byNum    []*clientInfo
	found    findings          // of the latest event
	changed  map[*entry]string // meters that Touch has marked, with their names
	// lastingSince is the day since which lasting records are kept; 0: there is none yet.
	lastingSince uint16
	// knownSince is the day since which the table of known recipients is kept; 0: for as
	// long as the clients are known.
	knownSince uint16
}

// New makes a detector that has seen nothing.
func New(s Settings, seed Seed) *Detector {
	return &Detector{
		settings: s, tuning: newTuning(&s), seed: seed, meters: newMeters(seed, s.MaxSenders), known: sketch.New(s.MaxKnown),
		clients: map[string]*clientInfo{}, changed: map[*entry]string{},
	}
}

// Set puts other numbers in force. What was counted stays.
func (d *Detector) Set(s Settings) { d.settings, d.tuning = s, newTuning(&s) }

// Seed is the key of the hashes.
func (d *Detector) Seed() Seed { return d.seed }

// Hash is the keyed hash of a recipient's name.
func (d *Detector) Hash(name string) uint64 { return d.seed.Hash(name) }

// Known is the sketch of the recipients that are known.
func (d *Detector) Known() *sketch.Sketch { return d.known }

// Empty reports whether nothing was ever counted.
func (d *Detector) Empty() bool { return len(d.byNum) == 0 }

// Reset forgets everything and takes another seed.
func (d *Detector) Reset(seed Seed) { *d = *New(d.settings, seed) }

// Reseed takes another seed. Meters are kept; recipients known under the old seed are
// forgotten.
func (d *Detector) Reseed(seed Seed) {
	old := *d
	d.Reset(seed)
	d.lastingSince, d.knownSince = old.lastingSince, old.knownSince
	for _, c := range old.byNum {
		d.client(c.name, 0).born = c.born
	}
	old.meters.all(func(e *entry) bool {
		n := d.reseeded(e)
		n.meter = e.meter
		d.meters.setRuns(n, old.meters.runsOf(e))
		if _, ok := old.changed[e]; ok {
			d.changed[n] = n.name
		}
		return true
	})
}

// reseeded gives an entry of another seed its place.
func (d *Detector) reseeded(e *entry) *entry {
	if e.has(isSolo) {
		user, _ := SplitNames(e.name)
		return d.meters.getSolo(user, e.name, e.client, int64(e.last))
	}
	n, _ := d.meters.get(e.scope, e.name, e.client, int64(e.last))
	return n
}

// Count takes an event into all counts and gives the scores that follow from it, the
// narrowest scope first. They hold until the next call of any method.
func (d *Detector) Count(ev *Event, expect Expect) []Finding {
	if ev.Shadowed {
		d.turnedAway(ev, ev.Away+len(ev.Recipients))
		d.learnShadowed(ev)
		return nil
	}
	if ev.Away > 0 {
		d.turnedAway(ev, ev.Away)
	}
	if len(ev.Recipients) == 0 {
		return nil
	}
	d.count(ev, expect, &d.found)
	return d.found.found[:d.found.n]
}

// Near has what Count needs of an event be fetched from memory, of which it gives a part.
func (d *Detector) Near(ev *Event) (part uint16) {
	sc, name := ofSender, ev.Sender
	if ev.User != "" {
		sc, name = ofUser, ev.User // where most have one sender
	}
	if c := d.clients[ev.Client]; c != nil && d.settings.Pairs && len(ev.Recipients) > 0 {
		part = d.known.Near(d.pairs(c.hash, ev.Sender), ev.Recipients[0].Hash)
	}
	if e := d.meters.find(sc, name); e != nil {
		part += uint16(e.last) + uint16(e.hash)
	}
	return part
}

// turnedAway counts recipients that were not sent, or would not have been, apart from
// those that were.
func (d *Detector) turnedAway(ev *Event, away int) {
	for e := range d.volumes(ev) {
		e.roll(ev.At)
		e.away += float32(away)
	}
}

// learnShadowed takes from mail that was sent in shadow what is true whatever the
// windows hold: who is known from now on, and how large a run was.
func (d *Detector) learnShadowed(ev *Event) {
	c := d.client(ev.Client, ev.At)
	took := 0
	for i := range ev.Recipients {
		if r := &ev.Recipients[i]; r.Took {
			d.known.Add(c.hash, r.Hash)
			took++
		}
	}
	d.meetAll(ev, c)
	for e := range d.volumes(ev) {
		if rs := d.meters.runsOf(e); rs != nil {
			rs.shadowed(uint16(ev.At/daySeconds), float32(took))
		}
	}
}

// Forgive empties the windows of who: only what comes now is held against it.
func (d *Detector) Forgive(who Who) {
	for _, e := range d.entries(who) {
		if rs := d.meters.runsOf(e); rs != nil {
			var sums table
			e.sums(&sums)
			rs.forgiven(&sums)
		}
		e.forgive()
	}
}

// ForgiveAlarm lets a sender that an operator has looked at no longer count among the
// senders under alarm of its user, or where it has none of client; the others do not
// count either.
func (d *Detector) ForgiveAlarm(who Who, client string) {
	sc, name := ofClientAlarms, client
	switch who.Scope {
	case UserSender:
		sc = ofUserAlarms
		name, _ = SplitNames(who.Name)
	case Sender:
	default:
		return
	}
	if e := d.meters.find(sc, name); e != nil {
		e.forgive()
	}
}

// Approve takes what who has sent into its record: an operator has called it
// legitimate.
func (d *Detector) Approve(now int64, who Who) {
	for _, e := range d.entries(who) {
		e.roll(now)
		e.turn(&d.tuning, scaleOf(e.scope), d.byNum[e.client].born)
		e.approve()
		if rs := d.meters.runsOf(e); rs != nil {
			rs.approve()
		}
	}
}
