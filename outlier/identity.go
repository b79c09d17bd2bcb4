package outlier

import (
	"time"

	"postern/mail"
	"postern/outlier/detector"
)

// An older version kept senders and users by the letters as they were sent. What
// it has left, here and in Redis, is read under the one name that each has now,
// and where that makes several one, the larger count and the harder state hold.

// nameOf is the one name of a sender or user.
func (w *Watch) nameOf(who detector.Who) string {
	switch who.Scope {
	case Sender:
		return string(mail.IdentityOf(who.Name))
	case User:
		return mail.User(who.Name, w.parse)
	case UserSender:
		user, sender := detector.SplitNames(who.Name)
		return detector.JoinNames(w.nameOf(detector.Who{Scope: User, Name: user}), w.nameOf(detector.Who{Scope: Sender, Name: sender}))
	}
	return who.Name
}

// joinState takes a state that an older version has left into those that are
// there: of two of one sender or user the harder holds.
func (w *Watch) joinState(s *State, now time.Time) {
	s.Name = w.nameOf(s.who())
	k := s.who()
	if old := w.states[k]; old == nil || s.harder(old, now) {
		w.states[k] = s
	}
}

// harder reports whether s stops more mail than o, or for longer.
func (s *State) harder(o *State, now time.Time) bool {
	switch {
	case !s.stands(now) || !o.stands(now):
		return s.stands(now) || !o.stands(now) && s.Since.After(o.Since)
	case s.Level != o.Level:
		return s.Level > o.Level
	case s.Until.IsZero() || o.Until.IsZero():
		return !o.Until.IsZero()
	}
	return s.Until.After(o.Until)
}

// adopt takes a state that an older version has left in Redis under another
// spelling: it holds where it is harder than that of the one name, which takes
// its place.
func (s *share) adopt(st *State) {
	w := s.w
	s.forget(st.who())
	st.Name = w.nameOf(st.who())
	now := w.clock.read()
	if old := w.current(st.who(), now); old != nil {
		if !st.harder(old, now) {
			return
		}
		st.Since = st.after(old.after(now)) // of two states the later one holds
	}
	w.merge(st)
	s.state(st)
}
