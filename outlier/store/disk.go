package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"postern/internal/statefile"
	"postern/outlier/detector"
)

// Disk keeps counts and states in a folder. Counts are a snapshot and the log of
// what came after it, which is written every second; states are lines of JSON,
// each written before the change takes effect. It is safe for concurrent use.
type Disk struct {
	src *Source
	dir string

	// disk is held while counts are written, which may take long. It comes
	// before Source.Lock, and that before mu.
	disk   sync.Mutex
	gen    uint64 // number of the present log of counts
	counts *os.File
	size   int64
	seed   detector.Seed // of the hashes in the log; events that come may have others

	// Source.Lock protects these two.
	pending []byte // a record of events that is not in the file yet; see seal
	spare   []byte // room for the next ones, empty

	mu      sync.Mutex
	states  *os.File
	written int64 // octets of states
	dirty   bool  // states are to be synced
	closed  bool
	byHand  bool // suspensions made by hand are to be copied

	stateFile, copyFile *statefile.File
	report              func(error) // how each try to write went
}

const (
	// maxLog is the size of the log of counts at which a new snapshot is due.
	maxLog = 16 << 20
	// maxCountsRead bounds what is read of a file of counts.
	maxCountsRead = 1 << 30
	// recordHead is what begins a record: its size without that, and a checksum.
	recordHead = 8
	// maxPending bounds the notes in memory while the disk fails.
	maxPending = 4 << 20
	// maxSpare is the room that is kept for the notes of another second, while
	// there are that many.
	maxSpare = 2 << 20
)

// OpenDisk makes the folder. A disk that is full or read-only is reported, and
// tried again at each tick; all is kept in memory until then. report is told how each
// try to write went; nil: nobody.
func OpenDisk(src *Source, dir string, report func(error)) (*Disk, error) {
	k := &Disk{
		src: src, dir: dir, report: report,
		stateFile: statefile.New(filepath.Join(dir, statesName), maxStatesRead),
		copyFile:  statefile.New(filepath.Join(dir, copyName), maxStatesRead),
	}
	if k.report == nil {
		k.report = func(error) {}
	}
	err := os.MkdirAll(dir, 0o700)
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fs.ErrExist) { // a file, or a link to nothing
		src.Log.Error("outlier state begins anew", "err", statefile.New(dir, 0).SetAside(err))
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil && !statefile.IsDiskTrouble(err) {
		return nil, err
	}
	return k, nil
}

func (k *Disk) path(gen uint64, suffix string) string {
	return filepath.Join(k.dir, fmt.Sprintf("counts-%08d.%s", gen, suffix))
}

// Loaded is what Load has found beside the counts.
type Loaded struct {
	// Latest is the time of the latest that is there, before which the clock of the
	// watch must not stand.
	Latest time.Time
	// States are those that were written last, one for each name as it was spelled.
	States []*State
}

// Load reads what is there: the counts into the detector, and the states. Begin must
// follow. The error is not about what lies on the disk: what is damaged is set aside,
// and the log says so.
func (k *Disk) Load() (l Loaded, err error) {
	gens, err := k.generations()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return l, err
	}
	for i := len(gens) - 1; i >= 0; i-- {
		file := statefile.New(k.path(gens[i], "snap"), maxCountsRead)
		b, err := file.Read()
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = k.restore(b, &l)
		}
		if err == nil {
			gens = gens[i:]
			break
		}
		k.src.Log.Error("outlier counts not read", "err", file.SetAside(err))
	}
	restored := !k.src.Detector.Empty()
	for _, g := range gens {
		k.gen = max(k.gen, g)
		if err := k.replay(k.path(g, "log"), restored || !k.src.Detector.Empty(), &l); err != nil {
			k.src.Log.Error("outlier counts not read in full", "err", statefile.KeepCopy(k.path(g, "log"), err))
		}
	}
	k.loadStates(&l)
	return l, nil
}

// restore reads a snapshot.
func (k *Disk) restore(b []byte, l *Loaded) error {
	d := k.src.Detector
	found, err := d.Restore(b, k.src.Name)
	if err != nil {
		return err
	}
	if found.Forgotten > 0 {
		d.KnownFrom(k.src.Now().Unix())
		k.src.Log.Warn(fmt.Sprintf("known recipients forgotten: max_known has changed, %d places instead of %d; each client counts as new from today on, and limits on strangers refuse nothing for 14 days", d.Places(), found.Forgotten))
	}
	l.Latest = found.At
	return nil
}

// Begin writes the states anew, as the watch has made them of those that were there,
// and begins a log of counts.
func (k *Disk) Begin() error {
	if err := k.writeStates(); err != nil {
		k.written = maxStates + 1
		k.report(err)
	}
	_, err := k.rotate(k.src.Detector.Seed())
	if err != nil && !statefile.IsDiskTrouble(err) && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	k.report(err)
	return nil
}

// generations are the numbers of all files of counts, in ascending order.
func (k *Disk) generations() (gens []uint64, err error) {
	files, err := os.ReadDir(k.dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		name, ok := strings.CutPrefix(f.Name(), "counts-")
		if !ok {
			continue
		}
		number, _, _ := strings.Cut(name, ".")
		if g, err := strconv.ParseUint(number, 10, 64); err == nil && !slices.Contains(gens, g) {
			gens = append(gens, g)
		}
	}
	slices.Sort(gens)
	return gens, nil
}

// replay counts the events of a log. What a crash has cut off is left out; a
// damaged record ends the log, and is an error where others follow. The log begins with
// the seed of the hashes in it, which holds when there was no snapshot to restore.
func (k *Disk) replay(file string, restored bool, l *Loaded) error {
	b, err := statefile.New(file, maxCountsRead).Read()
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if len(b) < detector.SeedSize {
		return nil
	}
	if s := detector.ReadSeed(b); s != k.src.Detector.Seed() {
		if restored {
			return errors.New("its hashes have another seed than the snapshot")
		}
		k.src.Detector.Reset(s)
	}
	b = b[detector.SeedSize:]
	var n detector.Event
	var last int64
	var damage error
	for len(b) >= recordHead {
		size, sum := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
		b = b[recordHead:]
		if size == 0 || int64(size) > int64(len(b)) {
			break
		}
		if crc32.ChecksumIEEE(b[:size]) != sum {
			if len(b) > int(size) { // not the last one, which a crash may have left so
				damage = errors.New("a record is damaged, and those behind it are not counted")
			}
			break
		}
		for notes := b[:size]; len(notes) > 0; {
			if notes, err = n.Read(notes); err != nil {
				return err
			}
			k.src.Count(&n)
			last = max(last, n.At)
		}
		b = b[size:]
	}
	if at := time.Unix(last, 0); at.After(l.Latest) {
		l.Latest = at
	}
	return damage
}

// Note adds an event to the log of counts.
func (k *Disk) Note(ev *detector.Event) {
	if len(k.pending) > maxPending {
		return // the disk has failed for long, which was reported
	}
	if len(k.pending) == 0 {
		k.pending = append(k.pending, make([]byte, recordHead)...)
	}
	k.pending = ev.Append(k.pending)
}

// seal makes a record of what is pending; one checksum for the notes of a second
// costs less than one for each. Nil when there are none.
func seal(pending []byte) []byte {
	if len(pending) == 0 {
		return nil
	}
	notes := pending[recordHead:]
	binary.LittleEndian.PutUint32(pending, uint32(len(notes)))
	binary.LittleEndian.PutUint32(pending[4:], crc32.ChecksumIEEE(notes))
	return pending
}

// Tick writes what has come, and a snapshot where one is due; it is called every second.
func (k *Disk) Tick() {
	k.disk.Lock()
	defer k.disk.Unlock()
	if !k.reopen() {
		return
	}
	k.flush()
	k.src.Lock.Lock()
	due := k.size > maxLog || k.seed != k.src.Detector.Seed()
	k.src.Lock.Unlock()
	if due {
		_ = k.snapshot() // reported
	}
	k.rewriteStates()
}

// reopen begins a log of counts where there is none, since the disk was full or
// read-only; false when there still is none.
func (k *Disk) reopen() bool {
	if k.counts != nil {
		return true
	}
	err := os.MkdirAll(k.dir, 0o700)
	if err == nil {
		k.src.Lock.Lock()
		_, err = k.rotate(k.src.Detector.Seed())
		k.src.Lock.Unlock()
	}
	k.report(err)
	return err == nil
}

// flush writes the notes that have come and syncs the states.
func (k *Disk) flush() {
	k.src.Lock.Lock()
	notes := k.pending
	k.pending, k.spare = k.spare, nil
	k.src.Lock.Unlock()
	err := k.write(notes)
	k.src.Lock.Lock()
	if err != nil && len(k.pending) > 0 {
		k.pending = append(notes, k.pending[recordHead:]...)
	} else if err != nil {
		k.pending = notes
	} else if room := cap(notes); room <= maxSpare && len(notes) > room/16 {
		k.spare = notes[:0]
	}
	k.src.Lock.Unlock()
	k.mu.Lock()
	states := k.states
	if !k.dirty {
		states = nil
	}
	k.dirty = false
	k.mu.Unlock()
	if states != nil {
		if e := states.Sync(); e != nil && !errors.Is(e, os.ErrClosed) {
			err = errors.Join(err, e)
			k.mu.Lock()
			k.written = maxStates + 1 // what the disk has of it is not known: write it anew
			k.mu.Unlock()
		}
	}
	if len(notes) > 0 || states != nil {
		k.report(err)
	}
}

func (k *Disk) write(notes []byte) error {
	if len(notes) == 0 {
		return nil
	}
	n, err := k.counts.Write(seal(notes))
	if err != nil {
		k.counts.Truncate(k.size) // the part that was written; it comes again
		return err
	}
	k.size += int64(n)
	return nil
}

// rotate begins a new log of counts and gives the old one back.
func (k *Disk) rotate(s detector.Seed) (old *os.File, err error) {
	f, err := statefile.Open(k.path(k.gen+1, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_TRUNC)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(s.Bytes()); err != nil {
		f.Close()
		return nil, err
	}
	old, k.counts, k.size, k.seed = k.counts, f, detector.SeedSize, s
	k.gen++
	return old, nil
}

// Save writes a snapshot now.
func (k *Disk) Save() error {
	k.disk.Lock()
	defer k.disk.Unlock()
	if !k.reopen() {
		return errors.New("the state folder cannot be written")
	}
	k.flush()
	return k.snapshot()
}

// snapshot writes all counts and removes the logs that are in it; disk is held. Its error
// has been reported.
func (k *Disk) snapshot() error {
	k.src.Lock.Lock()
	old, err := k.rotate(k.src.Detector.Seed())
	if err != nil { // the present log goes on
		k.src.Lock.Unlock()
		k.report(err)
		return err
	}
	state := k.src.Detector.Snapshot(k.src.Now())
	notes := k.pending
	k.pending = nil
	k.src.Lock.Unlock()
	old.Write(seal(notes)) // for a crash before the snapshot is in place
	old.Close()
	err = statefile.New(k.path(k.gen, "snap"), 0).Write(state.Encode())
	k.report(err)
	if err != nil {
		return err
	}
	gens, _ := k.generations()
	for _, g := range gens {
		if g < k.gen {
			os.Remove(k.path(g, "log"))
			os.Remove(k.path(g, "snap"))
		}
	}
	return nil
}

// Close writes a last snapshot and closes the files.
func (k *Disk) Close() {
	k.disk.Lock()
	defer k.disk.Unlock()
	if k.reopen() {
		k.flush()
		_ = k.snapshot() // reported
	}
	k.rewriteStates()
	if k.counts != nil {
		k.counts.Close()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.states != nil {
		k.states.Close()
	}
	k.states, k.closed = nil, true
}
