package outlier

import (
	"cmp"
	"slices"
)

// OfUnnamed reports whether a state of a sender came of mail of which nobody knows who
// submitted it. It then holds such mail alone; what an operator has suspended is held
// whoever sends it.
func OfUnnamed(s *State) bool { return s.Scope == Sender && s.Level > Normal && s.Rule != RuleManual }

// States are those of at least that level which stand now, by scope and name. It
// reads states alone: unlike List it takes no time that grows with the senders.
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
