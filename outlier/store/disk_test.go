package store

import (
	"encoding/binary"
	"hash/crc32"
	"iter"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"postern/outlier/detector"
	"postern/outlier/networks"
)

var start = time.Unix(1_700_000_000, 0)

// node is a watch that takes no steps: it counts, and has the states that it is given.
type node struct {
	*Disk
	known map[detector.Who]*State
}

// source is that of a node that has seen nothing, with its states.
func source() (*Source, map[detector.Who]*State) {
	d := detector.New(detector.Settings{Sensitivity: 1, Growth: 0.1, HalfLife: 120 * 24 * time.Hour, MaxSenders: 1000, MaxKnown: 20_000}, detector.Seed{9, 9})
	states := map[detector.Who]*State{}
	count := func(ev *detector.Event) { d.Count(ev, nil) }
	return &Source{
		Log: slog.New(slog.DiscardHandler), Detector: d, Places: networks.New(100), Lock: new(sync.Mutex), Now: func() time.Time { return start },
		States: func() iter.Seq[*State] { return maps.Values(states) },
		Name:   func(who detector.Who) string { return who.Name }, Count: count, Take: count, Tell: func() {},
	}, states
}

// openNode makes one that has read what is in dir.
func openNode(t *testing.T, dir string) *node {
	t.Helper()
	src, states := source()
	k, err := OpenDisk(src, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	found, err := k.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range found.States {
		states[s.Who()] = s
	}
	if err := k.Begin(); err != nil {
		t.Fatal(err)
	}
	return &node{k, states}
}

// message counts one of the sender that counted asks for.
func (n *node) message() {
	ev := detector.Event{At: start.Unix(), Client: "shop", Sender: "a@x.example", Recipients: []detector.Recipient{{Hash: 1, Took: true}}}
	n.src.Count(&ev)
	n.Note(&ev)
}

func (n *node) suspend(sender string) {
	s := &State{Scope: detector.Sender, Name: sender, Level: Suspended, Since: start, By: "ops"}
	n.known[s.Who()] = s
	n.State(s)
}

// counted is how many messages of the sender a new node reads in dir.
func counted(t *testing.T, dir string) int {
	t.Helper()
	return openNode(t, dir).src.Detector.Messages(detector.Who{Scope: detector.Sender, Name: "a@x.example"})
}

// logged makes a folder whose log of counts holds those records, behind the
// seed.
func logged(t *testing.T, records ...[]byte) string {
	t.Helper()
	dir := t.TempDir()
	b := detector.Seed{1, 2}.Bytes()
	for _, r := range records {
		b = append(b, r...)
	}
	if err := os.WriteFile(filepath.Join(dir, "counts-00000001.log"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func record(notes int) []byte {
	b := make([]byte, recordHead)
	for range notes {
		b = (&detector.Event{At: 1_700_000_000, Client: "shop", Sender: "a@x.example", Recipients: []detector.Recipient{{Hash: 1, Took: true}}}).Append(b)
	}
	return seal(b)
}

// A record holds the notes of a second; those of earlier releases hold one each.
func TestRecordsOfAnyNumberOfNotesAreRead(t *testing.T) {
	single := record(1)
	if n := binary.LittleEndian.Uint32(single); int(n) != len(single)-8 || binary.LittleEndian.Uint32(single[4:]) != crc32.ChecksumIEEE(single[8:]) {
		t.Error("a record of one note is not what it was")
	}
	if n := counted(t, logged(t, record(1), record(1), record(5), record(1))); n != 8 {
		t.Errorf("%d messages, want 8", n)
	}
}

// What a crash has left of a record, or in its place, ends the log.
func TestRecordCutOffEndsTheLog(t *testing.T) {
	whole := record(3)
	damaged := append([]byte{}, whole...)
	damaged[len(damaged)-1] ^= 1
	for name, last := range map[string][]byte{
		"cut off": whole[:len(whole)-1], "only a head": whole[:recordHead], "part of a head": whole[:3], "damaged": damaged, "zeros": make([]byte, 100),
	} {
		if n := counted(t, logged(t, record(2), last, record(1))); n != 2 {
			t.Errorf("%s: %d messages, want 2", name, n)
		}
	}
}

// Notes that could not be written come into the file with the next ones.
func TestNotesWaitForTheDisk(t *testing.T) {
	dir := t.TempDir()
	r := openNode(t, dir)
	r.message()
	r.Tick()
	working := r.counts
	broken, err := os.Open(working.Name()) // for reading only
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	r.counts = broken
	for range 3 {
		r.message()
		r.message()
		r.Tick()
	}
	r.Tick()
	r.message()
	r.counts = working
	r.Tick()
	r.message()
	r.Tick()
	if n := counted(t, dir); n != 9 {
		t.Errorf("%d messages, want 9", n)
	}
}

// While there is no room for a new log the present one goes on, and a new one is
// still due afterwards.
func TestLogGoesOnWhereNoneCanBeMade(t *testing.T) {
	dir := t.TempDir()
	r := openNode(t, dir)
	r.message()
	r.dir = filepath.Join(dir, "missing")
	r.snapshot()
	r.dir = dir
	r.message()
	r.Tick()
	if n := counted(t, dir); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}

	r = openNode(t, dir)
	common := detector.Seed{3, 4}
	r.src.Detector.Reseed(common)
	r.dir = filepath.Join(dir, "missing")
	r.Tick()
	r.dir = dir
	r.Tick()
	r = openNode(t, dir)
	if r.src.Detector.Seed() != common {
		t.Error("hashes of another seed were never followed by a snapshot")
	}
}

// TestDamagedCountsAreKept: a snapshot is set aside, and a log with a bad record
// before its end is copied, before the next snapshot removes them.
func TestDamagedCountsAreKept(t *testing.T) {
	whole := record(3)
	bad := append([]byte{}, whole...)
	bad[len(bad)-1] ^= 1
	dir := logged(t, record(2), bad, record(1))
	snap := filepath.Join(dir, "counts-00000002.snap")
	os.WriteFile(snap, []byte("garbage"), 0o600)
	openNode(t, dir).Close()
	for _, pattern := range []string{snap + ".damaged-*", filepath.Join(dir, "counts-00000001.log.damaged-*")} {
		if found, _ := filepath.Glob(pattern); len(found) != 1 {
			t.Errorf("%s: %q", pattern, found)
		}
	}
}

// A full disk costs no state for longer than it is full: what could not be
// written, or only in part, is written with all others.
func TestFaultOfTheDiskForgetsNoSuspension(t *testing.T) {
	for what, end := range map[string]func(*node){"a tick": func(n *node) { n.Tick() }, "the end": func(n *node) { n.Close() }} {
		dir := t.TempDir()
		n := openNode(t, dir)
		file := filepath.Join(dir, statesName)
		good := n.Disk.states
		n.Disk.states, _ = os.Open(file) // which cannot be written to
		n.suspend("lost@x.example")
		good.WriteString(`{"scope":"sen`) // as far as the disk had room
		n.Disk.states.Close()
		n.Disk.states = good
		n.suspend("next@x.example")
		end(n)
		n = openNode(t, dir)
		for _, name := range []string{"lost@x.example", "next@x.example"} {
			if s := n.known[detector.Who{Scope: detector.Sender, Name: name}]; s == nil || s.Level != Suspended {
				t.Errorf("after %s: %s is no longer suspended", what, name)
			}
		}
	}
}
