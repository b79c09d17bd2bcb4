package outlier

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
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

// state appends a state to its file, so that a process that is killed at the
// next moment does not forget it.
func (k *keeper) state(s *State) {
	line, err := json.Marshal(s)
	if err != nil {
		k.log.Error("outlier state not written", "err", err)
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

// loadStates reads the last line of each state, and writes the file anew. A
// file that is damaged is set aside; what was suspended by hand then comes from
// its copy, unless a line that can be read is newer.
func (k *keeper) loadStates(w *Watch) {
	b, err := k.stateFile.Read()
	missing := errors.Is(err, os.ErrNotExist)
	bad, cut, last := 0, false, map[stateKey]*State{}
	if err == nil {
		bad, cut = addStates(last, b, false)
	}
	if cut { // by a crash; its change had not taken effect
		k.log.Warn("outlier state not read", "file", k.stateFile.Name(), "line", "the last one was cut off")
	}
	if err == nil && bad > 0 {
		err = fmt.Errorf("%d lines are damaged", bad)
	}
	if err != nil {
		before := len(last)
		k.addCopy(last)
		back := len(last) - before
		if !missing {
			err = k.stateFile.SetAside(err)
		}
		if !missing || back > 0 {
			k.log.Error("outlier states are damaged or missing, throttles and alarms may be lost", "suspensions_from_copy", back, "err", err)
		}
	}
	for _, s := range last {
		w.clock.notBefore(s.Since)
	}
	now := w.clock.read()
	for _, s := range last {
		w.joinState(s, now)
	}
	k.byHand = true
	if err := k.writeStates(w); err != nil {
		k.written = maxStates + 1
		k.report(err)
	}
}

// addCopy reads the copy of what was suspended by hand.
func (k *keeper) addCopy(to map[stateKey]*State) {
	b, err := k.copyFile.Read()
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		if bad, cut := addStates(to, b, true); bad > 0 || cut {
			err = errors.New("a line is damaged")
		}
	}
	if err != nil {
		k.log.Error("outlier copy of suspensions is damaged", "err", k.copyFile.SetAside(err))
	}
}

// addStates takes over the lines of b in their order, but for those that are
// older than what is known when ifNewer is set. It returns how many are
// damaged, apart from a last one without an end.
func addStates(to map[stateKey]*State, b []byte, ifNewer bool) (bad int, cut bool) {
	for line := range bytes.Lines(b) {
		var s State
		switch err := json.Unmarshal(line, &s); {
		case err != nil && line[len(line)-1] != '\n':
			cut = true
			continue
		case err != nil || s.Scope == "":
			bad++
			continue
		}
		key := stateKey{s.Scope, s.Name}
		if have := to[key]; ifNewer && have != nil && have.Since.After(s.Since) {
			continue
		}
		to[key] = &s
	}
	return bad, cut
}

// rewriteStates writes the file of states anew where that is due, and the copy
// of what is suspended by hand.
func (k *keeper) rewriteStates(w *Watch) {
	w.mu.Lock()
	k.mu.Lock()
	if k.written > maxStates {
		k.report(k.writeStates(w))
	}
	due := k.byHand
	k.byHand = false
	var b []byte
	if due {
		b = w.linesOf(func(s *State) bool { return s.By != "" && s.Level == Suspended })
	}
	k.mu.Unlock()
	w.mu.Unlock()
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
func (k *keeper) writeStates(w *Watch) error {
	b := w.linesOf(func(*State) bool { return true })
	if err := k.stateFile.Write(b); err != nil {
		return err
	}
	f, err := os.OpenFile(k.stateFile.Name(), os.O_WRONLY|os.O_APPEND, 0o600)
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
func (w *Watch) linesOf(which func(*State) bool) (b []byte) {
	for _, s := range w.states {
		if !which(s) {
			continue
		}
		if line, err := json.Marshal(s); err == nil { // a State always has a text
			b = append(append(b, line...), '\n')
		}
	}
	return b
}
