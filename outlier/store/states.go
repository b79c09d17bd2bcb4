package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"time"

	"postern/internal/statefile"
	"postern/internal/text"
	"postern/outlier/detector"
)

const (
	statesName = "states.jsonl"
	// copyName holds what was suspended by hand once more, for when the file of
	// states is damaged or gone.
	copyName = "suspended.jsonl"
	// maxStates is the size at which the file of states is written anew.
	maxStates = 4 << 20
	// maxStatesRead bounds what is read of it.
	maxStatesRead = 64 << 20
)

// State appends a state to its file, so that a process that is killed at the
// next moment does not forget it.
func (k *Disk) State(s *State) {
	line, err := json.Marshal(s)
	if err != nil {
		k.src.Log.Error("outlier state not written", "err", err)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return
	}
	k.byHand = k.byHand || s.By != ""
	if k.states == nil {
		k.written = maxStates + 1 // written anew, with s, as soon as it can be
		return
	}
	n, err := k.states.Write(append(line, '\n'))
	k.written += int64(n)
	if err != nil {
		k.written = maxStates + 1 // the file lacks s, or ends within its line: write it anew
	}
	k.dirty = true
	k.report(err)
}

// loadStates reads the last line of each state. What
// was suspended by hand comes from its copy where the file lacks it, whatever
// has become of the file; one that is damaged is set aside.
func (k *Disk) loadStates(l *Loaded) {
	last := map[detector.Who]*State{}
	b, err := k.stateFile.Read()
	missing := errors.Is(err, os.ErrNotExist)
	if err == nil {
		bad, cut := addStates(last, b)
		if cut { // by a crash; its change had not taken effect
			k.src.Log.Warn("outlier state not read", "file", k.stateFile.Name(), "line", "the last one was cut off")
		}
		if bad > 0 {
			err = errors.New(text.Count(bad, "line is damaged", "lines are damaged"))
		}
	}
	copied := k.readCopy()
	for _, states := range []map[detector.Who]*State{last, copied} {
		for _, s := range states {
			if s.Since.After(l.Latest) {
				l.Latest = s.Since
			}
		}
	}
	now := k.src.Now()
	if l.Latest.After(now) {
		now = l.Latest
	}
	back := addMissing(last, copied, now)
	if err == nil && back > 0 {
		err = errors.New("it lacks suspensions that its copy has")
	}
	if err != nil && !missing {
		err = k.stateFile.SetAside(err)
	}
	if err != nil && (!missing || back > 0) {
		k.src.Log.Error("outlier states are damaged or missing, throttles and alarms may be lost", "suspensions_from_copy", back, "err", err)
	}
	for _, s := range last {
		l.States = append(l.States, s)
	}
	k.byHand = true
}

// readCopy reads the copy of what was suspended by hand.
func (k *Disk) readCopy() map[detector.Who]*State {
	copied := map[detector.Who]*State{}
	b, err := k.copyFile.Read()
	if errors.Is(err, os.ErrNotExist) {
		return copied
	}
	if err == nil {
		if bad, cut := addStates(copied, b); bad > 0 || cut {
			err = errors.New("a line is damaged")
		}
	}
	if err != nil {
		k.src.Log.Error("outlier copy of suspensions is damaged", "err", k.copyFile.SetAside(err))
	}
	return copied
}

// addMissing takes over what still stands in a copy and is neither there nor
// newer there. It returns how many.
func addMissing(to, copied map[detector.Who]*State, now time.Time) (n int) {
	for key, s := range copied {
		if have := to[key]; have != nil && !s.Since.After(have.Since) || !s.Stands(now) {
			continue
		}
		to[key] = s
		n++
	}
	return n
}

// addStates takes over the lines of b in their order. It returns how many are
// damaged, apart from a last one without an end.
func addStates(to map[detector.Who]*State, b []byte) (bad int, cut bool) {
	for line := range bytes.Lines(b) {
		var s State
		switch err := json.Unmarshal(line, &s); {
		case err != nil && line[len(line)-1] != '\n':
			cut = true
		case err != nil || s.Scope == "":
			bad++
		default:
			to[s.Who()] = &s
		}
	}
	return bad, cut
}

// rewriteStates writes the file of states anew where that is due, and the copy
// of what is suspended by hand.
func (k *Disk) rewriteStates() {
	k.src.Lock.Lock()
	k.mu.Lock()
	if k.written > maxStates {
		k.report(k.writeStates())
	}
	due := k.byHand
	k.byHand = false
	var b []byte
	if due {
		b = k.linesOf(func(s *State) bool { return s.By != "" && s.Level == Suspended })
	}
	k.mu.Unlock()
	k.src.Lock.Unlock()
	if !due {
		return
	}
	err := k.copyFile.Write(b)
	if err != nil {
		k.mu.Lock()
		k.byHand = true
		k.mu.Unlock()
	}
	k.report(err)
}

// writeStates puts a file with one line for each state in the place of the old
// one.
func (k *Disk) writeStates() error {
	b := k.linesOf(func(*State) bool { return true })
	if err := k.stateFile.Write(b); err != nil {
		return err
	}
	f, err := statefile.Open(k.stateFile.Name(), os.O_WRONLY|os.O_APPEND)
	if err != nil {
		return err
	}
	if k.states != nil {
		k.states.Close()
	}
	k.states, k.written, k.dirty = f, int64(len(b)), false
	return nil
}

// linesOf is a line for each state that is asked for.
func (k *Disk) linesOf(which func(*State) bool) (b []byte) {
	for s := range k.src.States() {
		if !which(s) {
			continue
		}
		if line, err := json.Marshal(s); err == nil { // a State always has a text
			b = append(append(b, line...), '\n')
		}
	}
	return b
}
