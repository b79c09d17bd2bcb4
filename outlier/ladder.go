package outlier

import (
	"time"
)

// step takes what a message has found to the ladder. w.mu is held.
func (w *Watch) step(now time.Time, client string, f *finding) {
	rule, ladder := RuleVolume, &w.rules.Volume
	if f.names {
		rule, ladder = RuleNames, &w.rules.Names
	}
	to := ladder.level(float64(f.score))
	if f.mild {
		to = min(to, Alerted)
	}
	if f.plain > to {
		to, rule = f.plain, RuleRefused
	}
	if to == Normal {
		return
	}
	k := f.key()
	mode := w.rules.mode(k.scope, k.name, client)
	if mode == Exempt {
		return
	}
	s := w.current(k, now)
	if to >= Throttled && rule == RuleVolume && w.isInside(ladder, f) {
		to = ladder.soften(to)
	} else if to == Throttled && ladder.Suspend > 0 && (w.repeated(s, now) || w.rules.Refused.signal(&f.sums)) {
		to = Suspended
	}
	if s != nil && s.stands(now) && s.Level >= to {
		w.prolong(s, to, now)
		return
	}
	w.enter(now, k, client, to, rule, f, mode == Shadow)
}

// isInside reports whether a score comes from mail to known recipients in our own
// domains, without which nothing would be held.
func (w *Watch) isInside(l *Ladder, f *finding) bool {
	return len(w.rules.InternalDomains) > 0 && !w.rules.Refused.signal(&f.sums) &&
		l.level(float64(f.outside(&w.engine.tuning))) < Throttled
}

// soften is the hardest action up to to that does not hold all mail.
func (l *Ladder) soften(to Level) Level {
	if to == Suspended && l.Throttle == 0 {
		return Alerted
	}
	return min(to, Throttled)
}

func (f *finding) key() stateKey {
	switch f.e.scope {
	case ofUser, ofUserNames, ofUserAlarms:
		return stateKey{User, f.e.name}
	case ofClient, ofClientNames, ofClientAlarms:
		return stateKey{Client, f.e.name}
	case ofUserSender:
		return stateKey{UserSender, f.e.name}
	}
	return stateKey{Sender, f.e.name}
}

// level is the action where of n recipients of the last day so many were refused.
func (r *RefusedRule) level(n, bad float32) Level {
	if n < float32(r.MinRecipients) {
		return Normal
	}
	switch share := float64(bad / n); {
	case r.Suspend > 0 && share >= r.Suspend:
		return Suspended
	case r.Alert > 0 && share >= r.Alert:
		return Alerted
	}
	return Normal
}

// signal reports whether refused recipients, too few for the plain rule, go
// together with unusual volume.
func (r *RefusedRule) signal(sums *table) bool {
	return r.Suspend > 0 && sums[refused][day] >= 3 && float64(sums[refused][day]/sums[sent][day]) >= r.Suspend
}

// repeated reports whether s was throttled or suspended a short while ago.
func (w *Watch) repeated(s *State, now time.Time) bool {
	return s != nil && !s.Held.IsZero() && s.Level < Throttled && now.Sub(s.Held) < w.rules.Expiry.Repeat
}

// prolong keeps an alert as long as its cause is seen.
func (w *Watch) prolong(s *State, to Level, now time.Time) {
	if s.Level == to && to <= Alerted {
		s.Until = now.Add(w.rules.Expiry.Alert)
	}
}

// enter puts k into a harder state than its present one.
func (w *Watch) enter(now time.Time, k stateKey, client string, to Level, rule string, f *finding, shadow bool) {
	s := w.states[k]
	if s == nil {
		s = &State{Scope: k.scope, Name: k.name}
		w.states[k] = s
	}
	from := s.Level
	s.Client, s.Level, s.Rule, s.Score, s.Since, s.By, s.Shadow = client, to, rule, float64(f.score), s.after(now), "", shadow
	s.Reason = w.words(f, rule)
	switch to {
	case Suspended:
		if s.Suspensions > 0 && now.Sub(s.Held) >= w.rules.Expiry.Repeat {
			s.Suspensions = 0
		}
		s.Suspensions++
		s.Until = time.Time{}
		if list := w.rules.Expiry.Suspend; s.Suspensions <= len(list) {
			s.Until = now.Add(list[s.Suspensions-1])
		}
		s.Held = now
	case Throttled:
		s.Until, s.Held, s.pending = now.Add(w.rules.Expiry.Throttle), now, 0
	default:
		s.Until = now.Add(w.rules.Expiry.Alert)
	}
	s.remember()
	w.changed(Change{State: *s, Time: now, From: from, Cause: CauseRule})
}

// current is the state of k after what has expired is gone; nil for none.
func (w *Watch) current(k stateKey, now time.Time) *State {
	s := w.states[k]
	if s != nil {
		w.lapse(s, now)
	}
	return s
}

// lapse ends a state whose time is over.
func (w *Watch) lapse(s *State, now time.Time) {
	if s.Level > Normal && !s.stands(now) {
		w.end(s, now, CauseExpired, "", "its time is over")
	}
}

// end brings a state back to normal. What led to a throttled or suspended one
// is forgiven: only what comes now counts. Since and Held stay, so that a
// repetition is known as one.
func (w *Watch) end(s *State, now time.Time, cause, by, reason string) {
	from := s.Level
	if cause != CauseExpired {
		s.Since = s.after(now) // an end by itself is no decision, see merge
	}
	s.Level, s.Rule, s.Score, s.Until, s.By, s.Shadow = Normal, "", 0, time.Time{}, by, false
	s.Reason = reason
	if from >= Throttled {
		w.forgive(stateKey{s.Scope, s.Name})
	}
	w.changed(Change{State: *s, Time: now, From: from, Cause: cause})
}

// forgive empties the windows of k.
func (w *Watch) forgive(k stateKey) {
	for _, e := range w.entries(k) {
		if rs := w.engine.roster.runsOf(e); rs != nil {
			var sums table
			e.sums(&sums)
			rs.forgiven(&sums)
		}
		e.forgive()
	}
}

// entries are the meters of k: its volume, its sender names, those under alarm,
// and what is the fault of others, as far as there are such.
func (w *Watch) entries(k stateKey) (all []*entry) {
	scopes := []scope{k.meterScope()}
	switch k.scope {
	case User:
		scopes = append(scopes, ofUserNames, ofUserAlarms, ofUserOthers)
	case Client:
		scopes = append(scopes, ofClientNames, ofClientAlarms, ofClientOthers)
	}
	for _, sc := range scopes {
		if e := w.engine.roster.find(sc, k.name); e != nil {
			all = append(all, e)
		}
	}
	return all
}

const (
	// rememberFor is how long the alarms of who is back to normal can be shown.
	rememberFor = 30 * 24 * time.Hour
	// maxNormal is how many that are back to normal are remembered.
	maxNormal = 20_000
)

// expire ends what is over and forgets what is no longer of any use.
func (w *Watch) expire(now time.Time) {
	keep := rememberFor
	if len(w.states) > maxNormal {
		keep = 0
	}
	for k, s := range w.states {
		w.current(k, now)
		if s.Level == Normal && now.Sub(s.Held) >= w.rules.Expiry.Repeat && now.Sub(s.Since) >= keep {
			delete(w.states, k)
			if w.share != nil {
				w.share.forget(k)
			}
		}
	}
}
