package outlier

import (
	"strings"
	"time"

	"postern/mail"
	"postern/outlier/detector"
)

// Observe counts a finished transaction and takes the steps that follow from it. Mail that
// is of no client is not counted.
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
	n := &w.event
	*n = detector.Event{At: now.Unix(), Client: ev.Client, User: ev.Party(), Sender: senderName(from), Recipients: n.Recipients[:0]}
	n.Alone = w.rules.bulkStreams[ev.Stream] || w.rules.exempt.Match(from)
	harmful := ev.Harmful()
	for i := range ev.To {
		r := &ev.To[i]
		w.rules.sort(n, r, harmful && r.Rule == ev.Rule, w.hash)
	}
	// What is known of a sender lies in five places of a large memory. Asked for together they
	// are fetched together: a tenth of the time of a message with 100,000 submitters.
	w.near = w.detector.Near(n) + w.places.memory.Near(ev.Client, n.User)
	if len(w.states) > 0 {
		shadowed = w.ended(now, ev, n)
		n.Shadowed = shadowed
	}
	delete(w.admitted, ev.ID)
	w.flights.end(ev.ID)
	w.strangers.End(ev.ID)
	if len(ev.To) == 0 {
		n.Away = 1
	}
	if ev.Rule == "senders" || ev.Foreign() {
		n.Sender = "" // not this sender's doing
	}
	w.locate(now, ev, n.User)
	w.decoyed(now, ev, n.Sender)
	score := w.apply(now, n)
	w.verdict(now, ev, n.Sender)
	if w.disk != nil {
		w.disk.Note(n)
	}
	if w.link != nil {
		w.link.Note(n, score)
	}
	return shadowed
}

// ended notes that a transaction is no longer under way, and reports whether it
// would have been deferred, had a state not been a shadow.
func (w *Watch) ended(now time.Time, ev *mail.Event, n *detector.Event) (shadowed bool) {
	states, any := w.statesOf(ev.Client, ev.User, n.User, n.Sender)
	if was := w.underWay(ev.ID); wasUnderWay(ev) {
		then := states
		if was.submitter != ev.Submitter {
			then, _ = w.statesOf(ev.Client, ev.User, mail.Party(ev.User, was.submitter), n.Sender)
		}
		admit(&then, -was.n)
	}
	return any && len(n.Recipients) > 0 && w.judge(now, &states, true, 1, 0).Refuse()
}

// wasUnderWay reports whether Judge let the mail go on. Mail in a client's name
// that is none of its senders' is refused before it is asked.
func wasUnderWay(ev *mail.Event) bool {
	return ev.Stage != "mail" || ev.Rule != "senders" && !strings.HasPrefix(ev.Rule, "outlier ")
}

// sort puts a recipient to what the upstream was asked for or to the rest. What was
// deferred will be tried again, and is counted then. A recipient of mail in which a
// scanner found harm counts as refused by the upstream, which was asked for it at RCPT
// and would have been next. To whom mail with the null reverse-path goes has been chosen by
// whoever wrote to the client: all of them are as one recipient, neither a stranger nor made
// known, and that they are refused is the fault of nobody who sends here.
func (x *rules) sort(n *detector.Event, r *mail.RecipientEvent, harmful bool, hash func(address string) uint64) {
	to := detector.Recipient{}
	answered := n.Sender == ""
	switch {
	case harmful:
		to.Refused = !answered
	case r.Outcome == mail.Relayed && !r.Left(): // counted when it left
		return
	case r.Left():
		to.Took, to.Inside = true, x.isInternal(r.Address)
	case r.Outcome == mail.Rejected && (r.Rule == "upstream" || r.Class != ""):
		to.Refused = !answered && canHelp(r)
	default:
		n.Away++
		return
	}
	if to.Hash = hash(r.Address); answered {
		to.Hash, to.Took = hash(string(mail.NullSender)), true
	}
	n.Recipients = append(n.Recipients, to)
}

func (w *Watch) hash(address string) uint64 {
	return w.detector.Hash(string(mail.RecipientOf(address)))
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

// apply counts what has happened here, takes the steps that follow, and returns the highest
// score it led to.
func (w *Watch) apply(now time.Time, n *detector.Event) (score float32) {
	found := w.detector.Count(n, w.rules.expect(now))
	for i := range found {
		score = max(score, found[i].Score)
		if w.link != nil {
			w.detector.Touch(&found[i])
		}
		w.step(now, n.Client, &found[i])
	}
	return score
}

// count counts what has happened somewhere else or in the past: nothing follows.
func (w *Watch) count(n *detector.Event) {
	n.Sender, n.User = w.nameOf(detector.Who{Scope: Sender, Name: n.Sender}), w.nameOf(detector.Who{Scope: User, Name: n.User})
	w.detector.Count(n, w.rules.expect(time.Unix(n.At, 0)))
}

// take counts an event of another node.
func (w *Watch) take(ev *detector.Event) {
	w.count(ev)
	if w.disk != nil {
		w.disk.Note(ev)
	}
}
