package audit

import (
	"errors"
	"io/fs"
	"slices"
)

// Act is what an audit knows of one act.
type Act struct {
	// Begun is its line before it; without an Entry.ID where the act has only one, as that
	// of the outlier watch. Ended is the one behind it; likewise where it has not ended.
	Begun, Ended Line
	// Undone is the line of the act that took it back.
	Undone Line
}

// ErrNoAct is returned for an id that no act has.
var ErrNoAct = errors.New("the audit has no act of that id")

// Find looks for an act, in what waits for the disk, too. The newest lines are read first,
// and none before its beginning.
func (l *Log) Find(id string) (a Act, err error) {
	l.mu.Lock()
	waiting := make([]Line, len(l.queue))
	for i, j := range l.queue {
		waiting[i].Entry = j.entry
	}
	l.mu.Unlock()
	for _, w := range slices.Backward(waiting) {
		a.take(id, &w)
	}
	_, err = Latest(l.name, 0, 1, func(line *Line) bool {
		a.take(id, line)
		return a.Begun.ID != "" || a.Ended.ID != "" && a.Ended.Door == inside
	})
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return a, err
	case a.Begun.ID == "" && a.Ended.ID == "":
		return a, ErrNoAct
	}
	return a, nil
}

// inside is the door of acts that have one line only.
const inside = "inside"

// take keeps a line where it is of the act, or of the one that took it back.
func (a *Act) take(id string, l *Line) {
	switch {
	case l.Undoes == id && l.Result == Done:
		a.Undone = *l
	case l.ID != id:
	case l.Result == Begun:
		a.Begun = *l
	default:
		a.Ended = *l
	}
}
