package relay

import (
	"io"
	"sync"
	"time"
)

// LineWriter writes lines to out from one goroutine, so that those of many
// sessions share a system call. A line that comes when nothing was written for
// gatherTime goes out at once; those that follow gather for that long. When out
// takes nothing and the buffer is full, writers wait, as they would on out
// itself: no line is dropped and memory is bounded. Order is kept. It is safe
// for concurrent use.
type LineWriter struct {
	out  io.Writer
	wake chan struct{} // lines came while the goroutine was idle
	rush chan struct{} // it must not go on gathering
	done chan struct{}

	mu        sync.Mutex
	changed   sync.Cond // lines were taken, or written
	gathered  []byte
	otherHalf []byte // the other buffer; nil while it is being written
	appended  int64  // octets that came
	written   int64  // octets of these that out got, or refused
	sleepy    bool   // the goroutine waits for wake
	closed    bool
}

const (
	gatherTime = 10 * time.Millisecond
	// gatherMax bounds each of two buffers; one longer line is let in alone.
	gatherMax = 128 << 10
	// gatherEnough is written without waiting any longer.
	gatherEnough = 32 << 10
)

// NewLineWriter starts the goroutine; Close ends it.
func NewLineWriter(out io.Writer) *LineWriter {
	w := &LineWriter{out: out, wake: make(chan struct{}, 1), rush: make(chan struct{}, 1), done: make(chan struct{})}
	w.changed.L = &w.mu
	go w.run()
	return w
}

// Write takes whole lines. The error is always nil: nobody could act on one.
// After Close it writes to out itself.
func (w *LineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.closed && len(w.gathered) > 0 && len(w.gathered)+len(p) > gatherMax {
		signal(w.rush)
		w.changed.Wait()
	}
	if w.closed {
		w.mu.Unlock()
		<-w.done // the lines before this one are out
		w.mu.Lock()
		w.out.Write(p)
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

// signal leaves at most one note in c.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Flush returns when all lines that came before it have been written.
func (w *LineWriter) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for until := w.appended; w.written < until; w.changed.Wait() {
		signal(w.rush)
	}
}

// Close writes what there is and ends the goroutine. Later lines are written
// one by one.
func (w *LineWriter) Close() {
	w.mu.Lock()
	w.closed = true
	w.changed.Broadcast()
	w.mu.Unlock()
	signal(w.wake)
	signal(w.rush)
	<-w.done
}

func (w *LineWriter) run() {
	defer close(w.done)
	pause := time.NewTimer(gatherTime)
	defer pause.Stop()
	for {
		switch lines, closed := w.take(); {
		case len(lines) > 0:
			w.out.Write(lines)
			w.wrote(lines)
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
func (w *LineWriter) wrote(lines []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.written += int64(len(lines))
	if cap(lines) <= 2*gatherMax {
		w.otherHalf = lines
	}
	w.changed.Broadcast()
}
