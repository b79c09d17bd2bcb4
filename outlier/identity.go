package outlier

import (
	"strings"
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
	case Mailbox:
		if client, name, ok := strings.Cut(who.Name, "/"); ok {
			return client + "/" + mail.User(name, w.parse)
		}
	case User:
		if name, ok := mail.SubmitterOf(who.Name); ok { // in the place of one
			return mail.Party("", w.nameOf(detector.Who{Scope: Mailbox, Name: name}))
		}
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
	s.Name = w.nameOf(s.Who())
	k := s.Who()
	if old := w.states[k]; old == nil || s.Harder(old, now) {
		w.keep(k, s)
	}
}

// adopt takes a state that an older version has left in Redis under another
// spelling, and reports whether it holds: it does where it is harder than that of the
// one name, whose place it takes.
func (w *Watch) adopt(st *State) bool {
	st.Name = w.nameOf(st.Who())
	now := w.clock.read()
	if old := w.current(st.Who(), now); old != nil {
		if !st.Harder(old, now) {
			return false
		}
		st.Since = st.After(old.After(now)) // of two states the later one holds
	}
	w.merge(st)
	return true
}

// merge takes a state of another node. Of two the later one holds, of two of
// the same moment the harder: so the order in which they come does not matter.
func (w *Watch) merge(st *State) {
	st.Name = w.nameOf(st.Who())
	k := st.Who()
	now := w.clock.read()
	if st.Level > Normal && !st.Stands(now) {
		st.Level = Normal
	}
	old := w.current(k, now)
	if old != nil && !st.Over(old) {
		return
	}
	from := Normal
	if old != nil {
		from = old.Level
		st.Pending = old.Pending
	}
	w.keep(k, st)
	if from >= Throttled && st.Level == Normal {
		w.detector.Forgive(k)
	}
	if w.disk != nil {
		w.disk.State(st)
	}
	if st.Level != from {
		w.queue = append(w.queue, Change{State: *st, Time: now, From: from, Cause: CauseOtherNode})
	}
}
