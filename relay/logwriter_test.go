package relay

import (
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
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
	w.Flush()
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
	w.Flush()
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
					w.Flush()
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
