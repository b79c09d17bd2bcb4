package outlier

import (
	"time"

	"postern/outlier/detector"
)

// step takes the step that a finding leads to. w.mu is held.
func (w *Watch) step(now time.Time, client string, f *detector.Finding) {
	if f.Score == 0 && f.Refusals == detector.Ordinary {
		return // as most
	}
	rule, thresholds := RuleVolume, &w.rules.Volume
	if f.Names {
		rule, thresholds = RuleNames, &w.rules.Names
	}
	k := f.Who()
	more := w.rules.fromElsewhere(&w.places.sign, k, f)
	times := w.rules.policy(client).Sensitivity
	score := (float64(f.Score) + more) * times
	to := thresholds.level(score)
	if w.detector.Early(f) && to < Throttled {
		to = Normal
	}
	if f.Mild {
		to = min(to, Alerted)
	}
	if l := levelOf(f.Refusals); l > to {
		to, rule = l, RuleRefused
	}
	if to < Braked && w.rules.brakes(w.detector, now, k, client, f) {
		to, rule = Braked, RuleBrake
	}
	if to == Normal {
		return
	}
	mode := w.rules.mode(k, client)
	if mode == Exempt {
		return
	}
	s := w.current(k, now)
	if to >= Throttled && rule == RuleVolume && w.isInside(thresholds, f, times) {
		to = thresholds.soften(to)
	} else if to == Throttled && thresholds.Suspend > 0 && (w.repeated(s, now) || w.detector.RefusedToo(f)) {
		to = Suspended
	}
	if s != nil && s.Stands(now) && s.Level >= to {
		w.prolong(s, to, now)
		return
	}
	w.hold(now, k, client, State{Level: to, Rule: rule, Score: score, Reason: w.reason(rule, f) + w.rules.elsewhereWords(&w.places.sign, k, f), Shadow: mode == Shadow})
}

// levelOf is the action that the plain rule on refused recipients leads to.
func levelOf(s detector.Share) Level {
	switch s {
	case detector.Excessive:
		return Suspended
	case detector.Alarming:
		return Alerted
	}
	return Normal
}

// isInside reports whether a score comes from mail to known recipients in our own
// domains, without which nothing would be held. times is the sensitivity of the policy.
func (w *Watch) isInside(l *Thresholds, f *detector.Finding, times float64) bool {
	return len(w.rules.InternalDomains) > 0 && !w.detector.RefusedToo(f) && l.level(float64(w.detector.Outside(f))*times) < Throttled
}

// soften is the hardest action up to to that does not hold all mail.
func (l *Thresholds) soften(to Level) Level {
	if to == Suspended && l.Throttle == 0 {
		return Alerted
	}
	return min(to, Throttled)
}

// repeated reports whether s was throttled or suspended a short while ago.
func (w *Watch) repeated(s *State, now time.Time) bool {
	return s != nil && !s.Restricted.IsZero() && s.Level < Throttled && now.Sub(s.Restricted) < w.rules.Expiry.Repeat
}

// prolong keeps an alert and a brake as long as their cause is seen.
func (w *Watch) prolong(s *State, to Level, now time.Time) {
	switch {
	case s.Level != to:
	case to == Braked:
		s.Until = now.Add(brakeTime)
	case to <= Alerted:
		s.Until = now.Add(w.rules.Expiry.Alert)
	}
}

// reason says why a rule asks for a step.
func (w *Watch) reason(rule string, f *detector.Finding) string {
	if rule == RuleRefused {
		return w.detector.ReasonOfShare(f)
	}
	return w.detector.Reason(f)
}

// hold puts k into the state that next says, for the time that goes with its level.
func (w *Watch) hold(now time.Time, k detector.Who, client string, next State) {
	s := w.states[k]
	if s == nil {
		s = &State{Scope: k.Scope, Name: k.Name}
		w.keep(k, s)
	}
	from := s.Level
	s.Client, s.Level, s.Rule, s.Score, s.Since, s.By, s.Shadow = client, next.Level, next.Rule, next.Score, s.After(now), "", next.Shadow
	s.Reason = next.Reason
	switch next.Level {
	case Suspended:
		if s.Suspensions > 0 && now.Sub(s.Restricted) >= w.rules.Expiry.Repeat {
			s.Suspensions = 0
		}
		s.Suspensions++
		s.Until = time.Time{}
		if list := w.rules.Expiry.Suspend; s.Suspensions <= len(list) {
			s.Until = now.Add(list[s.Suspensions-1])
		}
		s.Restricted = now
	case Throttled:
		s.Until, s.Restricted, s.Pending = now.Add(w.rules.Expiry.Throttle), now, 0
	case Braked:
		s.Until = now.Add(brakeTime)
	default:
		s.Until = now.Add(w.rules.Expiry.Alert)
	}
	if next.Level != Braked { // which is not an alarm
		s.Remember()
	}
	w.changed(Change{State: *s, Time: now, From: from, Cause: CauseRule})
}

// current is the state of k after what has expired is gone; nil for none.
func (w *Watch) current(k detector.Who, now time.Time) *State {
	s := w.states[k]
	if s != nil {
		w.lapse(s, now)
	}
	return s
}

// lapse ends a state whose time is over.
func (w *Watch) lapse(s *State, now time.Time) {
	if s.Level > Normal && !s.Stands(now) {
		w.end(s, now, CauseExpired, "", "its time is over")
	}
}

// end brings a state back to normal. What led to a throttled or suspended one
// is forgiven: only what comes now counts. Since and Held stay, so that a
// repetition is known as one.
func (w *Watch) end(s *State, now time.Time, cause, by, reason string) {
	from := s.Level
	if cause != CauseExpired {
		s.Since = s.After(now) // an end by itself is not a decision, see merge
	}
	s.Level, s.Rule, s.Score, s.Until, s.By, s.Shadow = Normal, "", 0, time.Time{}, by, false
	s.Reason = reason
	if from >= Throttled || from == Braked && cause == CauseOperator {
		w.detector.Forgive(s.Who())
	}
	w.strangers.Release(s.Who())
	w.changed(Change{State: *s, Time: now, From: from, Cause: cause})
}

const (
	// rememberFor is how long the alarms of who is back to normal can be shown.
	rememberFor = 30 * 24 * time.Hour
	// maxNormal is how many that are back to normal are remembered.
	maxNormal = 20_000
)

// expire ends what is over and forgets what is no longer of any use.
func (w *Watch) expire(now time.Time) {
	w.strangers.Prune(now)
	keep := rememberFor
	if len(w.states) > maxNormal {
		keep = 0
	}
	for k, s := range w.states {
		w.current(k, now)
		if s.Level == Normal && now.Sub(s.Restricted) >= w.rules.Expiry.Repeat && now.Sub(s.Since) >= keep {
			delete(w.states, k)
			if w.link != nil {
				w.link.Forget(k)
			}
		}
	}
}
