package outlier

import (
	"iter"
	"strings"
	"time"

	"postern/mail"
)

// Observe counts a finished transaction and takes the steps that follow from
// it. Mail of nobody's client is not counted.
func (w *Watch) Observe(ev *mail.Event) {
	if ev.Client == "" {
		return
	}
	w.mu.Lock()
	defer w.unlock()
	w.observe(ev)
}

// observe reports whether the mail would have been deferred, had its state not
// been a shadow.
func (w *Watch) observe(ev *mail.Event) (shadowed bool) {
	now := w.clock.read()
	from := mail.IdentityOf(ev.From)
	n := note{at: now.Unix(), client: ev.Client, user: ev.User, sender: senderName(from), rcpts: w.rcpts[:0]}
	n.alone = w.rules.bulkStreams[ev.Stream] || w.rules.exempt.Match(from)
	harmful := ev.Harmful()
	for i := range ev.To {
		r := &ev.To[i]
		n.take(r, harmful && r.Rule == ev.Rule, w.engine.seed, w.rules)
	}
	w.rcpts = n.rcpts[:0]
	if len(w.states) > 0 {
		shadowed = w.ended(now, ev, &n)
		n.shadowed = shadowed
	}
	delete(w.admitted, ev.ID)
	w.flights.end(ev.ID)
	if len(ev.To) == 0 {
		n.away = 1
	}
	if ev.Rule == "senders" || ev.Rule == "client" {
		n.sender = "" // not this sender's doing
	}
	score := w.apply(now, &n, true)
	if w.keep != nil {
		w.keep.note(&n)
	}
	if w.share != nil {
		w.share.note(&n, score >= urgentScore)
	}
	return shadowed
}

// ended notes that a transaction is no longer under way, and reports whether it
// would have been deferred, had a state not been a shadow.
func (w *Watch) ended(now time.Time, ev *mail.Event, n *note) (shadowed bool) {
	keys := stateKeys(ev.Client, ev.User, n.sender)
	if states, any := w.statesOf(&keys); any {
		if wasUnderWay(ev) {
			admit(&states, -w.underWay(ev.ID))
		}
		shadowed = len(n.rcpts) > 0 && w.judge(now, &keys, &states, true, 1, 0).Refuse()
	}
	return shadowed
}

// wasUnderWay reports whether Judge let the mail go on. Mail in a client's name
// that is none of its senders' is refused before it is asked.
func wasUnderWay(ev *mail.Event) bool {
	return ev.Stage != "mail" || ev.Rule != "senders" && !strings.HasPrefix(ev.Rule, "outlier ")
}

// note is what is remembered of one transaction: in the log of counts, and
// between nodes.
type note struct {
	at                   int64  // seconds since 1970
	client, user, sender string // sender is a mail.Identity, "" for the null reverse-path
	alone                bool   // counts for its sender only
	shadowed             bool   // sent while a state in shadow stood: the windows do not hold it
	away                 int    // recipients turned away or aborted
	rcpts                []recipient
}

// take sorts a recipient into what the upstream was asked for and the rest.
// What was deferred will be tried again, and is counted then. A recipient of mail
// in which a scanner found harm counts as refused by the upstream, which was asked
// for it at RCPT and would have been next.
func (n *note) take(r *mail.RecipientEvent, harmful bool, s seed, rules *rules) {
	switch {
	case harmful:
		n.rcpts = append(n.rcpts, recipient{hash: s.hash(string(mail.RecipientOf(r.Address))), refused: true})
	case r.Outcome == mail.Relayed:
		n.rcpts = append(n.rcpts, recipient{hash: s.hash(string(mail.RecipientOf(r.Address))), took: true, inside: rules.isInternal(r.Address)})
	case r.Outcome == mail.Rejected && (r.Rule == "upstream" || r.Class != ""):
		n.rcpts = append(n.rcpts, recipient{hash: s.hash(string(mail.RecipientOf(r.Address))), refused: canHelp(r)})
	default:
		n.away++
	}
}

// canHelp reports whether a sender can help that the recipient was refused:
// unknown mailboxes and verdicts on the content, but neither our reputation nor
// the receiver's own limits.
func canHelp(r *mail.RecipientEvent) bool {
	switch r.Class {
	case mail.ClassNoSuchUser, mail.ClassMailboxDisabled, mail.ClassContentSpam, mail.ClassContentVirus, mail.ClassListedContent:
		return true
	case "", mail.ClassOther:
		return strings.HasPrefix(r.Status, "5.1.") || strings.HasPrefix(r.Status, "5.7.1") || r.Status == "5.0.0"
	}
	return false
}

// apply counts a note and returns the highest score it led to. ours: it happened
// here, so that the ladder follows.
func (w *Watch) apply(now time.Time, n *note, ours bool) (score float32) {
	if n.shadowed {
		w.turnedAway(n, n.away+len(n.rcpts))
		w.learnShadowed(n)
		return 0
	}
	if n.away > 0 {
		w.turnedAway(n, n.away)
	}
	if len(n.rcpts) == 0 {
		return 0
	}
	msg := message{
		client: n.client, user: n.user, sender: n.sender, rcpts: n.rcpts, alone: n.alone,
		floor: w.rules.floors(now),
	}
	found := &w.found
	w.engine.count(n.at, &msg, found)
	if !ours {
		return 0
	}
	for i := range found.n {
		score = max(score, found.found[i].score)
		if w.share != nil {
			w.share.mark(found.found[i].e)
			w.share.mark(found.found[i].blamed)
		}
		w.step(now, n.client, &found.found[i])
	}
	return score
}

// turnedAway counts recipients that were not sent, or would not have been, apart
// from those that were.
func (w *Watch) turnedAway(n *note, away int) {
	for e := range w.metersOf(n) {
		e.roll(n.at)
		e.away += float32(away)
	}
}

// learnShadowed takes from mail that was sent in shadow what is true whatever the
// windows hold: who is known from now on, and how large a run was.
func (w *Watch) learnShadowed(n *note) {
	g := &w.engine
	c := g.client(n.client, n.at)
	took := 0
	for i := range n.rcpts {
		if r := &n.rcpts[i]; r.took {
			g.known.add(c.hash, r.hash)
			took++
		}
	}
	for e := range w.metersOf(n) {
		if rs := g.roster.runsOf(e); rs != nil {
			rs.shadowed(uint16(n.at/daySeconds), float32(took))
		}
	}
}

// metersOf yields the meters of volume that a note counts for, where there are
// any yet.
func (w *Watch) metersOf(n *note) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for _, k := range stateKeys(n.client, n.user, n.sender) {
			if k.name == "" {
				continue
			}
			if e := w.engine.roster.find(k.meterScope(), k.name); e != nil && !yield(e) {
				return
			}
		}
	}
}
