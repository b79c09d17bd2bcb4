package outlier

import (
	"time"

	"postern/mail"
)

// An older version kept senders and users by the letters as they were sent. What
// it has left, here and in Redis, is read under the one name that each has now,
// and where that makes several one, the larger count and the harder state hold.

// nameOf is the one name of a sender or user of whom a state is.
func (w *Watch) nameOf(scope, name string) string {
	switch scope {
	case Sender:
		return string(mail.IdentityOf(name))
	case User:
		return mail.User(name, w.parse)
	case UserSender:
		user, sender := pairOf(name)
		return pairName(w.nameOf(User, user), w.nameOf(Sender, sender))
	}
	return name
}

// meterName is the one name of a sender or user of whom a meter is.
func (w *Watch) meterName(sc scope, name string) string {
	switch sc {
	case ofSender:
		return w.nameOf(Sender, name)
	case ofUser, ofUserNames, ofUserAlarms, ofUserOthers:
		return w.nameOf(User, name)
	case ofUserSender:
		return w.nameOf(UserSender, name)
	}
	return name
}

// fold gives a note that was written somewhere else the one name of its sender
// and user.
func (w *Watch) fold(n *note) {
	n.sender, n.user = w.nameOf(Sender, n.sender), w.nameOf(User, n.user)
}

// join makes one meter of two that were kept for two spellings of one sender or
// user: the larger count, with the higher of both records.
func (m *meter) join(o meter) {
	last := int64(max(m.last, o.last))
	m.roll(last)
	o.roll(last)
	if o.recent() > m.recent() {
		*m, o = o, *m
	}
	m.mergeRecords(&o)
	m.away, m.messages = max(m.away, o.away), max(m.messages, o.messages)
}

// later is the one of two that was added to last; nil is none.
func later(a, b *runs) *runs {
	if a == nil || b != nil && b.last > a.last {
		return b
	}
	return a
}

// joinState takes a state that an older version has left into those that are
// there: of two of one sender or user the harder holds.
func (w *Watch) joinState(s *State, now time.Time) {
	s.Name = w.nameOf(s.Scope, s.Name)
	k := stateKey{s.Scope, s.Name}
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
	s.forget(stateKey{st.Scope, st.Name})
	st.Name = w.nameOf(st.Scope, st.Name)
	now := w.clock.read()
	if old := w.current(stateKey{st.Scope, st.Name}, now); old != nil {
		if !st.harder(old, now) {
			return
		}
		st.Since = st.after(old.after(now)) // of two states the later one holds
	}
	w.merge(st)
	s.state(st)
}
