package halves

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is set by the test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func open(t *testing.T, o Options) *Memory {
	t.Helper()
	m := Open(o)
	m.Want(t.Context())
	t.Cleanup(m.close)
	return m
}

func content(n int) (c [32]byte) {
	copy(c[:], fmt.Sprint("content ", n))
	return c
}

// keep remembers that recipients took a content.
func keep(t *testing.T, m *Memory, client string, n int, to ...string) {
	t.Helper()
	b, err := m.Begin(t.Context(), client, fmt.Sprintf("id%d", n), len(to))
	if err != nil {
		t.Fatal(err)
	}
	var parts []Part
	for _, a := range to {
		parts = append(parts, Part{To: a, Taken: true})
	}
	if err := b.Keep(t.Context(), "<a@example.org>", content(n), parts); err != nil {
		t.Fatal(err)
	}
}

// has says whether a recipient is known to have a content.
func has(t *testing.T, m *Memory, client string, n int, to string) bool {
	t.Helper()
	known, _ := m.Lookup(t.Context(), client, "<a@example.org>", []string{to})
	for _, k := range known[0] {
		if k.Taken && m.Same(k, content(n)) {
			return true
		}
	}
	return false
}

func TestWhatWasTakenIsKnownAfterARestart(t *testing.T) {
	file, c := filepath.Join(t.TempDir(), "halves.state"), newClock()
	m := open(t, Options{File: file, Now: c.Now})
	keep(t, m, "mta", 1, "x@b.example", "y@b.example")
	m.close()
	m = open(t, Options{File: file, Now: c.Now})
	for _, row := range []struct {
		client, from, to string
		content          int
		want             bool
	}{
		{"mta", "", "x@b.example", 1, true},
		{"mta", "", "y@b.example", 1, true},
		{"mta", "", "x@b.example", 2, false},
		{"mta", "", "z@b.example", 1, false},
		{"other", "", "x@b.example", 1, false},
	} {
		if got := has(t, m, row.client, row.content, row.to); got != row.want {
			t.Errorf("%+v: %v", row, got)
		}
	}
	if known, sure := m.Lookup(t.Context(), "mta", "<b@example.org>", []string{"x@b.example"}); len(known[0]) > 0 || !sure {
		t.Errorf("another sender: %v, %v", known, sure)
	}
	if n := m.Counts(); n.Crashed != 0 {
		t.Errorf("%+v", n)
	}
	c.add(keepFor)
	if has(t, m, "mta", 1, "x@b.example") {
		t.Error("known beyond its time")
	}
	m.close()
	if m = open(t, Options{File: file, Now: c.Now}); m.total != 0 || len(m.disk.unused) != len(m.disk.held) {
		t.Errorf("%d are left, %d of %d slots are free", m.total, len(m.disk.unused), len(m.disk.held))
	}
}

// TestNothingCanBeReadFromTheFile: neither addresses nor clients stand in it.
func TestNothingCanBeReadFromTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "halves.state")
	m := open(t, Options{File: file})
	keep(t, m, "secretclient", 1, "secretname@b.example")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"secret", "example"} {
		if string(b) == "" || contains(b, word) {
			t.Errorf("%q stands in the file", word)
		}
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func contains(b []byte, word string) bool {
	for i := range b {
		if i+len(word) <= len(b) && string(b[i:i+len(word)]) == word {
			return true
		}
	}
	return false
}

// TestCrashIsCounted: a mark that no end has taken away tells of it, once.
func TestCrashIsCounted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "halves.state")
	m := open(t, Options{File: file})
	if _, err := m.Begin(t.Context(), "mta", "id1", 7); err != nil {
		t.Fatal(err)
	}
	ended, err := m.Begin(t.Context(), "mta", "id2", 3)
	if err != nil {
		t.Fatal(err)
	}
	ended.End(t.Context())
	m.close()
	for i, want := range []int64{7, 0} {
		m = open(t, Options{File: file})
		if n := m.Counts().Crashed; n != want {
			t.Errorf("after start %d: %d crashed, want %d", i+1, n, want)
		}
		m.close()
	}
}

// snapped is a file that keeps, at each sync, what it held before.
type snapped struct {
	File
	name, copy string
}

func (s snapped) Sync() error {
	b, err := os.ReadFile(s.name)
	if err == nil {
		err = os.WriteFile(s.copy, b, 0o600)
	}
	return errors.Join(err, s.File.Sync())
}

// TestMarkStaysUntilTheDiskHasTheRest: a machine that dies while the ends of a message
// are being written has been told of them by nothing but the mark.
func TestMarkStaysUntilTheDiskHasTheRest(t *testing.T) {
	name, copied := filepath.Join(t.TempDir(), "halves.state"), filepath.Join(t.TempDir(), "halves.state")
	m := Open(Options{File: name})
	m.disk.open = func(name string) (File, error) {
		f, err := openFile(name)
		return snapped{f, name, copied}, err
	}
	m.Want(t.Context())
	defer m.close()
	keep(t, m, "mta", 1, "x@b.example", "y@c.example")
	if n := open(t, Options{File: copied}).Counts().Crashed; n != 2 {
		t.Errorf("%d recipients are told, want 2", n)
	}
	m.close()
	if n := open(t, Options{File: name}).Counts().Crashed; n != 0 {
		t.Errorf("%d recipients are told of a message that has ended", n)
	}
}

func TestSettledIsForgottenSooner(t *testing.T) {
	file, c := filepath.Join(t.TempDir(), "halves.state"), newClock()
	m := open(t, Options{File: file, Now: c.Now})
	keep(t, m, "mta", 1, "x@b.example", "y@b.example")
	keep(t, m, "mta", 2, "x@b.example")
	m.Settle(t.Context(), "mta", "<a@example.org>", content(1), []string{"x@b.example"}, false)
	m.Settle(t.Context(), "mta", "<a@example.org>", content(1), []string{"y@b.example"}, true)
	if !has(t, m, "mta", 1, "x@b.example") || has(t, m, "mta", 1, "y@b.example") {
		t.Error("not what was settled and forgotten")
	}
	c.add(settledFor)
	m.close()
	m = open(t, Options{File: file, Now: c.Now})
	if has(t, m, "mta", 1, "x@b.example") || !has(t, m, "mta", 2, "x@b.example") {
		t.Error("not what has ended and stays")
	}
}

// faulty is a file whose writes fail while full, and whose syncs while broken.
type faulty struct {
	File
	full, broken *bool
}

func (f faulty) WriteAt(b []byte, at int64) (int, error) {
	if *f.full {
		return 0, syscall.ENOSPC
	}
	return f.File.WriteAt(b, at)
}

func (f faulty) Sync() error {
	if *f.broken {
		return syscall.EIO
	}
	return f.File.Sync()
}

// TestDiskTrouble is found out before anything leaves, or is counted; what this process
// knows it goes on knowing, and writes once it can.
func TestDiskTrouble(t *testing.T) {
	name, full, broken := filepath.Join(t.TempDir(), "halves.state"), false, false
	m := Open(Options{File: name})
	m.disk.open = func(name string) (File, error) {
		f, err := openFile(name)
		return faulty{f, &full, &broken}, err
	}
	m.Want(t.Context())
	defer m.close()
	if !m.Ready("mta") {
		t.Fatal("not ready")
	}
	full = true
	if _, err := m.Begin(t.Context(), "mta", "id1", 2); err == nil {
		t.Fatal("begun on a full disk")
	}
	if m.Ready("mta") {
		t.Error("ready on a full disk")
	}
	m.Check(t.Context())
	if m.Ready("mta") {
		t.Error("ready although it is still full")
	}
	full = false
	m.Check(t.Context())
	if !m.Ready("mta") {
		t.Fatal("not ready again")
	}
	b, err := m.Begin(t.Context(), "mta", "id2", 1)
	if err != nil {
		t.Fatal(err)
	}
	broken = true
	if err := b.Keep(t.Context(), "<a@example.org>", content(3), []Part{{To: "x@b.example", Taken: true}}); !errors.Is(err, syscall.EIO) {
		t.Errorf("%v", err)
	}
	if n := m.Counts(); n.Unwritten != 1 || !has(t, m, "mta", 3, "x@b.example") || m.Ready("mta") {
		t.Errorf("%+v", n)
	}
	broken = false
	m.Check(t.Context())
	m.close()
	if m = open(t, Options{File: name}); !has(t, m, "mta", 3, "x@b.example") {
		t.Error("not written once it could be")
	}
}

// slow is a file whose second and third sync fail, and whose fourth takes until it may end.
type slow struct {
	File
	syncs   atomic.Int32
	waiting chan struct{} // closed when the fourth has begun
	end     chan struct{}
}

func (s *slow) Sync() error {
	switch s.syncs.Add(1) {
	case 2, 3:
		return syscall.EIO
	case 4:
		close(s.waiting)
		<-s.end
	}
	return s.File.Sync()
}

// TestSlowDiskHoldsNobodyUp while it is mended, and counts as one only once it has synced.
func TestSlowDiskHoldsNobodyUp(t *testing.T) {
	s := &slow{waiting: make(chan struct{}), end: make(chan struct{})}
	m := Open(Options{File: filepath.Join(t.TempDir(), "halves.state")})
	m.disk.open = func(name string) (f File, err error) {
		s.File, err = openFile(name)
		return s, err
	}
	m.Want(t.Context()) // the first
	defer m.close()
	b, err := m.Begin(t.Context(), "mta", "id1", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Keep(t.Context(), "<a@example.org>", content(1), []Part{{To: "x@b.example", Taken: true}}); err == nil {
		t.Fatal("kept where neither it nor what mends it reached the disk")
	}
	checked := make(chan struct{})
	go func() {
		defer close(checked)
		m.Check(t.Context())
	}()
	<-s.waiting
	asked := make(chan bool, 1)
	go func() { asked <- m.Ready("mta") }()
	select {
	case ready := <-asked:
		if ready {
			t.Error("ready before it has synced")
		}
	case <-time.After(10 * time.Second):
		t.Error("mail waits for the disk")
	}
	close(s.end)
	<-checked
	if !m.Ready("mta") {
		t.Error("not ready again")
	}
}

// TestDamagedFiles never keep the relay from starting, and never say that somebody has a
// message.
func TestDamagedFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "halves.state")
	m := open(t, Options{File: file})
	keep(t, m, "mta", 1, "x@b.example")
	m.close()
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < headSize+growBy*slotSize; at += 1 + at/300*100 {
		b := append([]byte(nil), whole...)
		b[at] ^= 0x40
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		m := open(t, Options{File: file})
		if !m.Ready("mta") || has(t, m, "mta", 2, "x@b.example") {
			t.Fatalf("octet %d: not ready, or knows what was not", at)
		}
		m.close()
	}
	for _, b := range [][]byte{nil, whole[:50], whole[:headSize], whole[:headSize+slotSize/2], []byte("something else, and long enough for a head: " + string(make([]byte, 200)))} {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if m := open(t, Options{File: file}); !m.Ready("mta") {
			t.Errorf("not ready behind a file of %d octets", len(b))
		}
	}
}

// TestFolderThatComesLater, as that of a disk that is mounted late.
func TestFolderThatComesLater(t *testing.T) {
	file := filepath.Join(t.TempDir(), "later", "halves.state")
	m := open(t, Options{File: file})
	if m.Ready("mta") {
		t.Fatal("ready without a folder")
	}
	if _, err := m.Begin(t.Context(), "mta", "id1", 1); err == nil {
		t.Fatal("begun without a folder")
	}
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	m.Check(t.Context())
	keep(t, m, "mta", 1, "x@b.example")
	m.close()
	if m = open(t, Options{File: file}); !has(t, m, "mta", 1, "x@b.example") {
		t.Error("forgotten")
	}
}

// TestNobodyFillsItForOthers: one client has so much room, and where all is in use the
// one that has the most gives way.
func TestNobodyFillsItForOthers(t *testing.T) {
	m := open(t, Options{File: filepath.Join(t.TempDir(), "halves.state"), perClient: 50, total: 100})
	fill := func(client string, n int) (kept int) {
		for i := range n {
			b, err := m.Begin(t.Context(), client, "id", 1)
			if err != nil {
				continue
			}
			kept++
			if err := b.Keep(t.Context(), "<a@example.org>", content(1), []Part{{To: fmt.Sprintf("%s%d@b.example", client, i), Taken: true}}); err != nil {
				t.Fatal(err)
			}
		}
		return kept
	}
	if n := fill("greedy", 200); n != 50 || m.Ready("greedy") {
		t.Errorf("one client has %d", n)
	}
	fill("second", 40)
	if n := fill("small", 20); n != 20 || m.Counts().Evicted == 0 {
		t.Errorf("a client that has little got %d, %+v", n, m.Counts())
	}
	if m.total > 100 {
		t.Errorf("%d are remembered", m.total)
	}
	for i := range 40 {
		if !has(t, m, "second", 1, fmt.Sprintf("second%d@b.example", i)) {
			t.Fatalf("one of a client that has less was forgotten")
		}
	}
	if free := len(m.disk.unused); free+m.total != len(m.disk.held) || len(m.disk.held) > 2*growBy || m.disk.reserved != 0 {
		t.Errorf("%d slots, %d free, %d remembered, %d reserved", len(m.disk.held), free, m.total, m.disk.reserved)
	}
}

// TestManyAtOnce for the race detector, and that nothing is lost or left over.
func TestManyAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "halves.state")
	m := open(t, Options{File: file})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				b, err := m.Begin(context.Background(), fmt.Sprint("c", g%3), "id", 2)
				if err != nil {
					t.Error(err)
					return
				}
				if i%3 == 0 {
					b.End(context.Background())
					continue
				}
				b.Keep(context.Background(), "<a@example.org>", content(i), []Part{{To: fmt.Sprintf("x%d@b.example", g), Taken: true}, {To: fmt.Sprintf("y%d@b.example", g)}})
				m.Lookup(context.Background(), fmt.Sprint("c", g%3), "<a@example.org>", []string{fmt.Sprintf("x%d@b.example", g)})
				if i%7 == 0 {
					m.Settle(context.Background(), fmt.Sprint("c", g%3), "<a@example.org>", content(i), []string{fmt.Sprintf("x%d@b.example", g)}, true)
				}
			}
		})
	}
	wg.Wait()
	want := m.total
	m.close()
	if m = open(t, Options{File: file}); m.total != want || want == 0 || m.Counts().Crashed != 0 {
		t.Errorf("%d after a restart, want %d; %+v", m.total, want, m.Counts())
	}
}

// FuzzSlots: whatever a file holds, it is read or set aside.
func FuzzSlots(f *testing.F) {
	r := record{kind: kindTaken, until: time.Unix(1, 0)}
	f.Add(headOf(nil), r.encode())
	f.Add([]byte(magic), []byte{})
	f.Fuzz(func(t *testing.T, head, slots []byte) {
		b := append(append(headOf([][32]byte{{1}}), head...), slots...)
		c, err := parse(b)
		if err != nil || c.slots != (len(b)-headSize)/slotSize || len(c.found) > c.slots {
			t.Fatalf("%v, %d found of %d", err, len(c.found), c.slots)
		}
		for i := range c.found {
			if back, ok := decodeRecord(c.found[i].encode(), c.found[i].slot); !ok || back != c.found[i] {
				t.Fatalf("%+v is read as %+v", c.found[i], back)
			}
		}
		parse(head)
		parseShort(string(slots), time.Now())
	})
}
