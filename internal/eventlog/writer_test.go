package eventlog

import (
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// gate is an out that takes nothing until it is opened.
type gate struct {
	lockedBuffer
	entered chan struct{} // one note for each Write
	open    chan struct{}
}

func newGate() *gate { return &gate{entered: make(chan struct{}, 1000), open: make(chan struct{})} }

func (g *gate) Write(p []byte) (int, error) {
	g.entered <- struct{}{}
	<-g.open
	return g.lockedBuffer.Write(p)
}

func TestLineComesAtOnceWithoutFlush(t *testing.T) {
	g := newGate()
	w := NewLineWriter(g)
	w.Write([]byte("one\n"))
	<-g.entered // nothing else was written and nobody flushed
	close(g.open)
	w.Close()
	if g.String() != "one\n" {
		t.Errorf("out has %q", g.String())
	}
}

func TestLinesGatherWhileOutIsBusy(t *testing.T) {
	g := newGate()
	w := NewLineWriter(g)
	w.Write([]byte("first\n"))
	<-g.entered
	want := "first\n"
	for i := range 100 {
		line := fmt.Sprintf("line %d\n", i)
		w.Write([]byte(line))
		want += line
	}
	close(g.open)
	w.Close()
	if g.String() != want {
		t.Errorf("out has %q", g.String())
	}
	if n := len(g.entered); n != 1 {
		t.Errorf("100 lines took %d writes, want 1", n)
	}
}

// A reader that stands still stops the writers; nothing is lost and the buffer
// does not grow.
func TestStalledOutHoldsWritersUpWithinBounds(t *testing.T) {
	g := newGate()
	w := NewLineWriter(g)
	const writers, each = 8, 100
	line := strings.Repeat("x", 1000) + "\n" // 800 of them: over three times both buffers
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				w.Write([]byte(line))
			}
		})
	}
	<-g.entered
	w.mu.Lock()
	for len(w.gathered)+len(line) <= gatherMax {
		w.mu.Unlock()
		runtime.Gosched()
		w.mu.Lock()
	}
	if n := len(w.gathered); n > gatherMax {
		t.Errorf("%d octets wait, more than %d", n, gatherMax)
	}
	w.mu.Unlock()
	close(g.open)
	all.Wait()
	w.Close()
	if got := g.String(); got != strings.Repeat(line, writers*each) {
		t.Errorf("%d octets came out, want %d", len(got), writers*each*len(line))
	}
}

func TestLineLongerThanTheBufferGoesOut(t *testing.T) {
	var out lockedBuffer
	w := NewLineWriter(&out)
	defer w.Close()
	w.Write([]byte("a\n"))
	w.Write([]byte(strings.Repeat("x", 3*gatherMax) + "\n"))
	w.Write([]byte("b\n"))
	w.flush()
	if n := len(out.String()); n != 3*gatherMax+5 {
		t.Errorf("%d octets came out", n)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if cap(w.gathered)+cap(w.otherHalf) > 4*gatherMax {
		t.Errorf("%d octets of room are kept", cap(w.gathered)+cap(w.otherHalf))
	}
}

// A warning, and all before it, is out when the call returns.
func TestWarningIsWrittenBeforeTheCallReturns(t *testing.T) {
	var out lockedBuffer
	w := NewLineWriter(&out)
	defer w.Close()
	log := slog.New(NewLogHandler(w, false, slog.LevelInfo))
	for i := range 50 {
		log.Info("ordinary", "i", i)
		log.With("a", 1).Warn("early", "i", i)
		if want := fmt.Sprintf("msg=early a=1 i=%d\n", i); !strings.HasSuffix(out.String(), want) {
			t.Fatalf("out ends %q, want %q", out.String(), want)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 100 {
		t.Errorf("%d lines, want 100", n)
	}
}

func TestLinesAfterCloseAreWrittenThrough(t *testing.T) {
	var out lockedBuffer
	w := NewLineWriter(&out)
	w.Write([]byte("a\n"))
	w.Close()
	w.Write([]byte("b\n"))
	w.flush()
	w.Close()
	if out.String() != "a\nb\n" {
		t.Errorf("out has %q", out.String())
	}
}

// Each writer's lines stay in its order, whatever flushes and closes meanwhile.
func TestLinesKeepTheirOrder(t *testing.T) {
	var out lockedBuffer
	w := NewLineWriter(&out)
	var all sync.WaitGroup
	for id := range 4 {
		all.Go(func() {
			for i := range 500 {
				w.Write(fmt.Appendf(nil, "%d %d\n", id, i))
				if i%97 == 0 {
					w.flush()
				}
				if id == 3 && i == 300 {
					w.Close()
				}
			}
		})
	}
	all.Wait()
	next := [4]int{}
	for l := range strings.Lines(out.String()) {
		var id, i int
		fmt.Sscanf(l, "%d %d", &id, &i)
		if i != next[id] {
			t.Fatalf("writer %d: line %d came where %d was due", id, i, next[id])
		}
		next[id]++
	}
	if next != [4]int{500, 500, 500, 500} {
		t.Errorf("lines %v", next)
	}
}

// closing is an out whose reader goes away and comes back.
type closing struct {
	lockedBuffer
	gone atomic.Bool
}

func (c *closing) Write(p []byte) (int, error) {
	if c.gone.Load() {
		return 0, syscall.EPIPE
	}
	return c.lockedBuffer.Write(p)
}

// TestLostLinesAreCountedAndTold: standard error whose reader went away.
func TestLostLinesAreCountedAndTold(t *testing.T) {
	for _, json := range []bool{false, true} {
		var c closing
		w := NewLineWriter(&c)
		log := slog.New(NewLogHandler(w, json, slog.LevelInfo))
		log.Info("one")
		w.flush()
		c.gone.Store(true)
		for range 40 {
			log.Info("lost")
		}
		log.Warn("lost")
		if n := w.lostLines(); n != 41 {
			t.Errorf("%d lines are lost, want 41", n)
		}
		c.gone.Store(false)
		log.Info("two")
		w.Close()
		lines := strings.Split(strings.TrimSpace(c.String()), "\n")
		if len(lines) != 3 || !strings.Contains(lines[1], "41") || !strings.Contains(lines[1], "log lines lost") || w.lostLines() != 0 {
			t.Errorf("out has %q", lines)
		}
	}
}

// lostLines is how many lines out has not taken since the last that it took.
func (w *LineWriter) lostLines() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// TestStuckOutHoldsNobodyUp: a reader that stands still for longer than the
// patience with it, such as a terminal that was stopped.
func TestStuckOutHoldsNobodyUp(t *testing.T) {
	g := newGate()
	w := NewLineWriter(g)
	w.patience = time.Millisecond
	log := slog.New(NewLogHandler(w, false, slog.LevelInfo))
	text := strings.Repeat("x", 1000)
	for range 500 { // far more than both buffers hold
		log.Info(text)
	}
	log.Error("an error is not waited for either")
	w.Close() // nor is the end
	lost := w.lostLines()
	if lost < 200 || lost > 400 {
		t.Errorf("%d of 501 lines are lost", lost)
	}
	close(g.open)
	w.mu.Lock()
	for !w.ended {
		w.changed.Wait()
	}
	w.mu.Unlock()
	if got := strings.Count(g.String(), text); got+lost < 500 || !strings.Contains(g.String(), fmt.Sprintf("lines=%d", lost)) {
		t.Errorf("%d lines came out, %d are lost", got, lost)
	}
}

// TestTornLineStandsByItself: out took half a line and then failed.
func TestTornLineStandsByItself(t *testing.T) {
	var c closing
	half := &halfway{closing: &c}
	w := NewLineWriter(half)
	log := slog.New(NewLogHandler(w, true, slog.LevelInfo))
	log.Info("torn")
	w.flush()
	log.Info("whole")
	w.Close()
	lines := strings.Split(strings.TrimSpace(c.String()), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[1], "{") || !strings.Contains(lines[1], "lost") || !strings.Contains(lines[2], "whole") {
		t.Errorf("out has %q", lines)
	}
}

// halfway takes ten octets of its first write.
type halfway struct {
	*closing
	done bool
}

func (h *halfway) Write(p []byte) (int, error) {
	if h.done {
		return h.closing.Write(p)
	}
	h.done = true
	h.closing.Write(p[:10])
	return 10, syscall.ENOSPC
}
