package outlier

import (
	"cmp"
	"postern/outlier/detector"
	"slices"
)

// OfUnnamed reports whether a state of a sender comes from mail of which nobody knows who
// submitted it. The state then concerns such mail alone; a suspension by an operator
// concerns all mail of the sender.
func OfUnnamed(s *State) bool { return s.Scope == Sender && s.Level > Normal && s.Rule != RuleManual }

// States returns the states in force of at least that level, by scope and name. It reads
// only states: unlike List it takes no time that grows with the number of senders.
func (w *Watch) States(least Level) []State {
	w.mu.Lock()
	now := w.clock.read()
	var list []State
	for _, s := range w.states {
		if s.Level >= least && s.Stands(now) {
			state := *s
			state.Alarms = slices.Clone(s.Alarms)
			list = append(list, state)
		}
	}
	w.mu.Unlock()
	slices.SortFunc(list, func(a, b State) int { return cmp.Or(cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Name, b.Name)) })
	return list
}

// scopes are kinds of what may have a state, together. Each message asks for up to five
// states, and most relays have one of a kind or two.
type scopes uint8

const (
	scopeClient scopes = 1 << iota
	scopeUser
	scopeMailbox
	scopeUserSender
	scopeSender
)

// has reports whether one of others is among them.
func (s scopes) has(others scopes) bool { return s&others != 0 }

// scopesOf is the one of a name.
func scopesOf(scope string) scopes {
	switch scope {
	case Client:
		return scopeClient
	case User:
		return scopeUser
	case Mailbox:
		return scopeMailbox
	case UserSender:
		return scopeUserSender
	}
	return scopeSender
}

// keep puts a state in the place of the one that k has.
func (w *Watch) keep(k detector.Who, s *State) {
	w.states[k] = s
	w.scopes |= scopesOf(k.Scope)
}
