package eventlog

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// LineWriter writes lines to out from one goroutine, so that those of many
// sessions share a system call. A line that comes when nothing was written for
// gatherTime goes out at once; those that follow gather for that long. While out
// is slow and the buffer is full, writers wait, as they would on out itself, and
// memory is bounded. Order is kept. It is safe for concurrent use.
//
// Out only tells what the relay does, and must not end it: lines that it refuses
// are counted, and so are those that find no room while one write has taken
// longer than patience. Their number is the next line that out takes.
type LineWriter struct {
	out  io.Writer
	wake chan struct{} // lines came while the goroutine was idle
	rush chan struct{} // it must not go on gathering

	mu        sync.Mutex
	changed   sync.Cond // lines were taken, or written
	gathered  []byte
	otherHalf []byte // the other buffer; nil while it is being written
	appended  int64  // octets that came
	written   int64  // octets of these that out got, or refused
	sleepy    bool   // the goroutine waits for wake
	closed    bool
	ended     bool                  // the goroutine has
	tell      func(lost int) []byte // makes the line about lost ones; nil: none is written
	lost      int                   // lines, since the last that out took
	writes    int                   // that have come to their end
	stuck     bool                  // out has had the write under way for longer than patience
	torn      bool                  // out took a part of a line last

	patience time.Duration
}

const (
	gatherTime = 10 * time.Millisecond
	// gatherMax bounds each of two buffers; one longer line is let in alone.
	gatherMax = 128 << 10
	// gatherEnough is written without waiting any longer.
	gatherEnough = 32 << 10
	// patience with one write; a terminal or pipe that is merely slow takes less.
	patience = 2 * time.Second
)

// NewLineWriter starts the goroutine; Close ends it.
func NewLineWriter(out io.Writer) *LineWriter {
	w := &LineWriter{out: out, wake: make(chan struct{}, 1), rush: make(chan struct{}, 1), patience: patience}
	w.changed.L = &w.mu
	go w.run()
	return w
}

// Write takes whole lines. The error is always nil: nobody could act on one.
// After Close it writes to out itself.
func (w *LineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.closed && len(w.gathered) > 0 && len(w.gathered)+len(p) > gatherMax && !w.stuck {
		signal(w.rush)
		w.changed.Wait()
	}
	for w.closed && !w.ended && !w.stuck { // the lines before this one come first
		w.changed.Wait()
	}
	switch {
	case w.ended:
		w.out.Write(p)
		return len(p), nil
	case w.stuck && (w.closed || len(w.gathered)+len(p) > gatherMax):
		w.lost += countLines(p)
		return len(p), nil
	}
	w.gathered = append(w.gathered, p...)
	w.appended += int64(len(p))
	if w.sleepy {
		w.sleepy = false
		signal(w.wake)
	}
	if len(w.gathered) >= gatherEnough {
		signal(w.rush)
	}
	return len(p), nil
}

func countLines(p []byte) int { return bytes.Count(p, []byte{'\n'}) }

// setTell has f make the line about lost lines.
func (w *LineWriter) setTell(f func(lost int) []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell = f
}

// signal leaves at most one note in c.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// flush returns when all lines that came before it have been written, or out
// is stuck.
func (w *LineWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for until := w.appended; w.written < until && !w.stuck; w.changed.Wait() {
		signal(w.rush)
	}
}

// Close writes what there is and ends the goroutine; it does not wait for an
// out that is stuck. Later lines are written one by one.
func (w *LineWriter) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.changed.Broadcast()
	signal(w.wake)
	signal(w.rush)
	for !w.ended && !w.stuck {
		w.changed.Wait()
	}
}

func (w *LineWriter) run() {
	defer w.end()
	pause := time.NewTimer(gatherTime)
	defer pause.Stop()
	for {
		switch lines, closed := w.take(); {
		case len(lines) > 0:
			late := w.watch()
			lost := w.put(lines)
			late.Stop()
			w.wrote(lines, lost)
		case closed:
			return
		default:
			<-w.wake
			continue
		}
		pause.Reset(gatherTime)
		select {
		case <-pause.C:
		case <-w.rush:
		}
	}
}

func (w *LineWriter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.changed.Broadcast()
}

// watch has the write that begins now watched for how long it takes.
func (w *LineWriter) watch() *time.Timer {
	w.mu.Lock()
	defer w.mu.Unlock()
	write := w.writes
	return time.AfterFunc(w.patience, func() { w.late(write) })
}

// late lets go those who wait for a write that takes too long.
func (w *LineWriter) late(write int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.writes == write { // it is still under way
		w.stuck = true
		w.changed.Broadcast()
	}
}

// put writes the line about lost ones, if there are any, and then lines; it
// returns how many of these are lost.
func (w *LineWriter) put(lines []byte) (lost int) {
	w.mu.Lock()
	before, tell := w.lost, w.tell
	w.mu.Unlock()
	if before > 0 && tell != nil {
		if !w.send(tell(before)) {
			return countLines(lines)
		}
		w.mu.Lock()
		w.lost -= before
		w.mu.Unlock()
	}
	n, err := w.out.Write(lines)
	if err == nil {
		return 0
	}
	n = min(max(n, 0), len(lines))
	w.torn = n > 0 && lines[n-1] != '\n'
	return countLines(lines[n:])
}

// send writes one line behind what was torn; false when out does not take it.
func (w *LineWriter) send(line []byte) bool {
	if w.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := w.out.Write(line)
	if err != nil {
		w.torn = w.torn && n <= 0 || n > 0
		return false
	}
	w.torn = false
	return true
}

// take swaps the buffers. With nothing gathered the next line will wake.
func (w *LineWriter) take() (lines []byte, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.gathered) == 0 {
		w.sleepy = true
		return nil, w.closed
	}
	lines, w.gathered, w.otherHalf = w.gathered, w.otherHalf[:0], nil
	w.changed.Broadcast()
	return lines, w.closed
}

// wrote gives the buffer back; one that a long line stretched is let go.
func (w *LineWriter) wrote(lines []byte, lost int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes++
	w.stuck = false
	w.lost += lost
	w.written += int64(len(lines))
	if cap(lines) <= 2*gatherMax {
		w.otherHalf = lines
	}
	w.changed.Broadcast()
}
