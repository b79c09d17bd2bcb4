package outlier

import (
	"cmp"
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
