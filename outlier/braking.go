package outlier

import (
	"time"

	"postern/mail"
	"postern/outlier/detector"
)

// The brake acts before the first alarm and on strangers only: from a part of the alarm
// score on a submitter writes to a few recipients an hour that its client has never
// written to, and the rest waits; to known ones it goes on. It is a state that tells
// nobody, and it ends by itself as soon as the score is lower.

const (
	// brakeTime is how long the state of a braked submitter stands after its score was
	// last that high.
	brakeTime = time.Hour
	// crowdWait is what a stranger is told to wait while others are on their way that
	// would have their submitter braked if they had counted.
	crowdWait = flightWait
)

// brakeFrom is the score from which the brake acts: a part of that of the softest action
// that tells somebody. 0: never.
func (r *rules) brakeFrom() float64 {
	for _, t := range [...]float64{r.Volume.Alert, r.Volume.Throttle, r.Volume.Suspend} {
		if t > 0 {
			return r.Brake * t
		}
	}
	return 0
}

// brakes reports whether a finding of k is one that the brake acts upon. A client is
// never braked, and neither is anybody at one that is still new: there all recipients
// are strangers. A user or submitter is not braked because of its largest sender, which
// is braked by itself.
func (r *rules) brakes(d *detector.Detector, now time.Time, k detector.Who, client string, f *detector.Finding) bool {
	from := r.brakeFrom()
	times := r.policy(client).Sensitivity
	if from == 0 || float64(f.Score)*times < from || k.Scope == Client || f.Names || f.Mild || !f.OfStrangers() ||
		r.noRetries[client] || d.NewClient(f) {
		return false
	}
	if k.Scope != User && k.Scope != Mailbox {
		return true
	}
	rest := *f
	d.WithoutLargest(now.Unix(), &rest, client)
	return float64(rest.Score)*times >= from
}

// Brake says how long mail to a recipient waits because of the brake; 0 when it may go on.
// It is asked at RCPT, and id is the ID of the mail.Event that Observe gets at the end. who
// says whose brake it is.
func (w *Watch) Brake(id, client, user string, from mail.Identity, to mail.RecipientID) (wait time.Duration, who Judgment) {
	w.mu.Lock()
	defer w.unlock()
	if user == "" && w.detector.OfOthers(client, senderName(from)) {
		return 0, Judgment{}
	}
	return w.brake(id, client, user, from, w.strangersOf(client, to))
}

// BrakeMessage is Brake for a whole message, whose submitter is known only once the header
// has come, "" where it names none: the message waits as long as the strangers among its
// recipients do.
func (w *Watch) BrakeMessage(id, client, submitter string, from mail.Identity, to ...mail.RecipientID) (wait time.Duration, who Judgment) {
	w.mu.Lock()
	defer w.unlock()
	n := w.strangersOf(client, to...)
	if n == 0 || submitter == "" && w.detector.OfOthers(client, senderName(from)) {
		return 0, Judgment{}
	}
	return w.brake(id, client, mail.Party("", submitter), from, n)
}

// strangersOf counts the recipients that a client has never written to.
func (w *Watch) strangersOf(client string, to ...mail.RecipientID) (n int) {
	if w.rules.brakeFrom() == 0 {
		return 0
	}
	for _, r := range to {
		if !w.detector.Knows(client, w.detector.Hash(string(r))) {
			n++
		}
	}
	return n
}

// brake says how long so many strangers wait; party is a user or submitter, or "".
func (w *Watch) brake(id, client, party string, from mail.Identity, n int) (time.Duration, Judgment) {
	sender := senderName(from)
	if n == 0 || sender == "" || w.rules.noRetries[client] || w.rules.exempt.Match(from) {
		return 0, Judgment{}
	}
	narrow, now := detector.Submitter(party, sender), w.clock.read()
	both := [...]detector.Who{narrow, detector.PartyWho(party)}
	var paced [len(both)]bool
	longest, of := time.Duration(0), narrow
	for i, k := range both {
		if k.Name == "" {
			continue
		}
		var wait time.Duration
		if wait, paced[i] = w.brakeOf(now, id, client, k, n); wait > longest {
			longest, of = wait, k
		}
	}
	if longest > 0 { // then neither has used any of its pace
		v := judgmentOn(of)
		v.Level, v.Until, v.left = Braked, now.Add(longest), longest
		return longest, v
	}
	for i, k := range both {
		if paced[i] {
			w.strangers.Take(k, n)
		}
	}
	w.strangers.Go(id, narrow, n)
	return 0, Judgment{}
}

// brakeOf says how long n strangers of k wait, and whether it is because of its pace.
func (w *Watch) brakeOf(now time.Time, id, client string, k detector.Who, n int) (wait time.Duration, paced bool) {
	if w.rules.mode(k, client) != Enforce {
		return 0, false
	}
	if s := w.current(k, now); s != nil && s.Level >= Braked && !s.Shadow && s.Rule != RuleManual {
		if w.isBraked(now, client, k, 0) {
			return w.strangers.Wait(now, k, n), true
		}
		if s.Level == Braked {
			w.end(s, now, CauseExpired, "", "its score is below the brake")
		}
		return 0, false
	}
	if others := w.strangers.Others(id, k); others > 0 && w.isBraked(now, client, k, others) {
		return crowdWait, false
	}
	return 0, false
}

// isBraked reports whether the score of k would be that high with so many strangers
// more.
func (w *Watch) isBraked(now time.Time, client string, k detector.Who, more int) bool {
	f := w.detector.ProjectStrangers(now.Unix(), k, client, more, w.rules.expect(now))
	return w.rules.brakes(w.detector, now, k, client, &f)
}
