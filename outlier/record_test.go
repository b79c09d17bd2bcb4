package outlier

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"postern/outlier/detector"
)

// counted is how many messages of the sender a new node reads in dir.
func counted(t *testing.T, dir string) int {
	t.Helper()
	r := newRigIn(t, dir, nil, nil)
	return r.detector.Messages(detector.Who{Scope: Sender, Name: "a@x.example"})
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

// message is one of the sender that counted asks for.
func (r *rig) message() {
	ev := event("shop", "", "a@x.example")
	to(ev, "b@y.example", false)
	r.Observe(ev)
}

// Notes that could not be written come into the file with the next ones.
func TestNotesWaitForTheDisk(t *testing.T) {
	dir := t.TempDir()
	r := newRigIn(t, dir, nil, nil)
	r.message()
	r.Tick()
	working := r.keep.counts
	broken, err := os.Open(working.Name()) // for reading only
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	r.keep.counts = broken
	for range 3 {
		r.message()
		r.message()
		r.Tick()
	}
	r.Tick()
	r.message()
	r.keep.counts = working
	r.Tick()
	r.message()
	r.Tick()
	r.kill()
	if n := counted(t, dir); n != 9 {
		t.Errorf("%d messages, want 9", n)
	}
}

// While there is no room for a new log the present one goes on, and a new one is
// still due afterwards.
func TestLogGoesOnWhereNoneCanBeMade(t *testing.T) {
	dir := t.TempDir()
	r := newRigIn(t, dir, nil, nil)
	r.message()
	r.keep.dir = filepath.Join(dir, "missing")
	r.keep.snapshot(r.Watch)
	r.keep.dir = dir
	r.message()
	r.Tick()
	r.kill()
	if n := counted(t, dir); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}

	r.open(dir, nil, nil)
	common := detector.Seed{3, 4}
	r.mu.Lock()
	r.reseed(common)
	r.mu.Unlock()
	r.keep.dir = filepath.Join(dir, "missing")
	r.Tick()
	r.keep.dir = dir
	r.Tick()
	r.kill()
	r.open(dir, nil, nil)
	if r.detector.Seed() != common {
		t.Error("hashes of another seed were never followed by a snapshot")
	}
}
