package halves

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// platter is a disk as Linux has it: what is written stands in a cache until a sync, and
// a sync that fails once drops what it could not write.
type platter struct {
	mu          sync.Mutex
	cache, disk []byte
	unsynced    []piece
	syncs       int
	before      func(what string) error // of each write and sync, without the lock; nil: nothing
}

// newMemory opens a memory on a platter.
func newMemory(t *testing.T, p *platter) *Memory {
	t.Helper()
	m := Open(Options{File: filepath.Join(t.TempDir(), "halves.state")})
	m.disk.open = func(name string) (File, error) {
		b, err := os.ReadFile(name)
		p.cache, p.disk = b, append([]byte(nil), b...)
		return p, err
	}
	m.Want(context.Background())
	t.Cleanup(m.close)
	return m
}

func (p *platter) hook(what string) error {
	if p.before == nil {
		return nil
	}
	return p.before(what)
}

func put(b []byte, w piece) []byte {
	if more := int(w.at) + len(w.b) - len(b); more > 0 {
		b = append(b, make([]byte, more)...)
	}
	copy(b[w.at:], w.b)
	return b
}

func (p *platter) WriteAt(b []byte, at int64) (int, error) {
	if err := p.hook("write"); err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w := piece{at, append([]byte(nil), b...)}
	p.cache, p.unsynced = put(p.cache, w), append(p.unsynced, w)
	return len(b), nil
}

func (p *platter) Sync() error {
	p.mu.Lock()
	now := p.unsynced
	p.unsynced = nil
	p.syncs++
	p.mu.Unlock()
	if err := p.hook("sync"); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range now {
		p.disk = put(p.disk, w)
	}
	return nil
}

func (p *platter) Close() error { return nil }

// both are what stands in the cache, as after a SIGKILL, and on the disk, as after a
// loss of power.
func (p *platter) both() (cache, disk []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]byte(nil), p.cache...), append([]byte(nil), p.disk...)
}

// started is a memory that finds these octets.
func started(t *testing.T, b []byte) *Memory {
	t.Helper()
	name := filepath.Join(t.TempDir(), "halves.state")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return open(t, Options{File: name})
}

// TestKilledAtEachPoint: whenever the relay is killed, or its machine, what a client has
// heard is known, and what it may not have heard is told.
func TestKilledAtEachPoint(t *testing.T) {
	type point struct {
		begun, kept bool
		cache, disk []byte
	}
	var points []point
	var now point
	p := &platter{}
	m := newMemory(t, p)
	note := func() {
		now.cache, now.disk = p.both()
		points = append(points, now)
	}
	p.before = func(string) error { note(); return nil }
	b, err := m.Begin(t.Context(), "mta", "id1", 2)
	if err != nil {
		t.Fatal(err)
	}
	now.begun = true
	note()
	if err := b.Keep(t.Context(), "<a@example.org>", content(1), []Part{{To: "x@b.example", Taken: true}, {To: "y@c.example", Taken: true}}); err != nil {
		t.Fatal(err)
	}
	m.writing.wait(time.Minute)
	now.kept = true
	note()
	p.before = nil
	if len(points) < 5 {
		t.Fatalf("%d points", len(points))
	}
	for i, at := range points {
		for what, octets := range map[string][]byte{"killed": at.cache, "without power": at.disk} {
			after := started(t, octets)
			knows, told := has(t, after, "mta", 1, "x@b.example") && has(t, after, "mta", 1, "y@c.example"), after.Counts().Crashed > 0
			if at.kept && (!knows || told && what == "killed") {
				t.Errorf("point %d, %s: kept; knows %v, tells of a crash %v", i, what, knows, told)
			}
			if at.begun && !at.kept && what == "killed" && !knows && !told {
				t.Errorf("point %d, %s: nobody tells of a message that may be on its way", i, what)
			}
		}
	}
}

// TestOneFaultAtEachPoint of the disk: what Keep calls kept is on the disk, what it does
// not is counted, and the disk has that, too, once it works again.
func TestOneFaultAtEachPoint(t *testing.T) {
	for _, times := range []int{1, 2, 5} {
		for at := range 9 {
			t.Run(fmt.Sprintf("%d faults from point %d", times, at), func(t *testing.T) {
				p := &platter{}
				m := newMemory(t, p)
				n := 0
				p.before = func(what string) error {
					if n++; n > at && n <= at+times {
						return map[string]error{"write": syscall.ENOSPC, "sync": syscall.EIO}[what]
					}
					return nil
				}
				b, err := m.Begin(t.Context(), "mta", "id1", 1)
				if err != nil {
					if m.Counts() != (Counts{}) {
						t.Errorf("%+v of a message that was not sent", m.Counts())
					}
					return
				}
				err = b.Keep(t.Context(), "<a@example.org>", content(1), []Part{{To: "x@b.example", Taken: true}})
				_, disk := p.both()
				if err == nil && !has(t, started(t, disk), "mta", 1, "x@b.example") {
					t.Error("kept, and not on the disk")
				}
				if unwritten := m.Counts().Unwritten; (err != nil) != errors.Is(err, ErrUnwritten) || (err != nil) != (unwritten == 1) {
					t.Errorf("%v, %d counted", err, unwritten)
				}
				for range 2 * times {
					m.Check(t.Context())
				}
				m.writing.wait(time.Minute)
				if !m.Ready("mta") {
					t.Error("not ready once the disk works")
				}
				if _, disk := p.both(); !has(t, started(t, disk), "mta", 1, "x@b.example") {
					t.Error("never on the disk")
				}
			})
		}
	}
}

// TestFaultsUnderMany: the error of a sync that one of them hears holds for all whose
// records it has dropped.
func TestFaultsUnderMany(t *testing.T) {
	p := &platter{}
	m := newMemory(t, p)
	random := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	p.before = func(what string) error {
		mu.Lock()
		defer mu.Unlock()
		if random.IntN(5) == 0 {
			return syscall.EIO
		}
		return nil
	}
	var all sync.WaitGroup
	for g := range 6 {
		all.Go(func() {
			for i := range 40 {
				m.Check(t.Context())
				id := fmt.Sprintf("g%d.%d", g, i)
				b, err := m.Begin(t.Context(), "mta", id, 1)
				if err != nil {
					continue
				}
				if b.Keep(t.Context(), "<a@example.org>", content(1), []Part{{To: id + "@b.example", Taken: true}}) != nil {
					continue
				}
				_, disk := p.both()
				c, err := parse(disk)
				found := false
				for _, r := range c.found {
					found = found || r.kind == kindTaken && r.text() == id
				}
				if err != nil || !found {
					t.Errorf("%s is called kept and is not on the disk: %v", id, err)
				}
			}
		})
	}
	all.Wait()
}

// TestKeepsShareASync: those that come while one is being made have the next one together.
func TestKeepsShareASync(t *testing.T) {
	p := &platter{}
	m := newMemory(t, p)
	first, end := make(chan struct{}), make(chan struct{})
	var once sync.Once
	p.before = func(what string) error {
		if what == "sync" {
			once.Do(func() {
				close(first)
				<-end
			})
		}
		return nil
	}
	before := p.syncs
	var all sync.WaitGroup
	one := func(i int) {
		b, err := m.Begin(context.Background(), "mta", fmt.Sprint(i), 1)
		if err == nil {
			err = b.Keep(context.Background(), "<a@example.org>", content(i), []Part{{To: "x@b.example", Taken: true}})
		}
		if err != nil {
			t.Error(err)
		}
	}
	all.Go(func() { one(0) })
	<-first
	for i := range 50 {
		all.Go(func() { one(i + 1) })
	}
	for waiting := 0; waiting < 50; {
		m.syncing.mu.Lock()
		waiting = len(m.syncing.waiting)
		m.syncing.mu.Unlock()
	}
	close(end)
	all.Wait()
	if n := p.syncs - before; n != 2 {
		t.Errorf("%d syncs for 51 messages, want 2", n)
	}
}

// TestDiskThatHangs: who waits for it waits ten seconds, nobody comes behind him, and what
// asks the memory waits for nothing.
func TestDiskThatHangs(t *testing.T) {
	for _, hangs := range []string{"write", "sync"} {
		t.Run(hangs, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, end := &platter{}, make(chan struct{})
				m := newMemory(t, p)
				b, err := m.Begin(t.Context(), "mta", "id1", 1)
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				p.before = func(what string) error {
					if what == hangs {
						<-end
					}
					return nil
				}
				began := time.Now()
				err = b.Keep(t.Context(), "<a@example.org>", content(1), []Part{{To: "x@b.example", Taken: true}})
				if took := time.Since(began); !errors.Is(err, ErrUnwritten) || took > 2*diskTime {
					t.Errorf("%v after %v", err, took)
				}
				began = time.Now()
				if m.Ready("mta") || !has(t, m, "mta", 1, "x@b.example") {
					t.Error("ready, or forgotten")
				}
				if _, err := m.Begin(t.Context(), "mta", "id2", 1); err == nil || time.Since(began) > 0 {
					t.Errorf("%v after %v", err, time.Since(began))
				}
				close(end)
				synctest.Wait()
				m.Check(t.Context())
				if _, disk := p.both(); !m.Ready("mta") || !has(t, started(t, disk), "mta", 1, "x@b.example") {
					t.Error("not written once the disk answers")
				}
				synctest.Wait()
			})
		})
	}
}
