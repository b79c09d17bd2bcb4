package outlier

import (
	"cmp"
	"slices"
)

// Held are the states of at least that level which stand now, by scope and name. It
// looks at states alone: unlike List it takes no time that grows with the senders.
func (w *Watch) Held(level Level) []State {
	w.mu.Lock()
	now := w.clock.read()
	var list []State
	for _, s := range w.states {
		if s.Level >= level && s.Stands(now) {
			held := *s
			held.Alarms = slices.Clone(s.Alarms)
			list = append(list, held)
		}
	}
	w.mu.Unlock()
	slices.SortFunc(list, func(a, b State) int { return cmp.Or(cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Name, b.Name)) })
	return list
}
