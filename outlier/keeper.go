package outlier

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
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

// keeper holds counts and states on disk. Counts are a snapshot and the log of
// what came after it, which is written every second; states are lines of JSON,
// each written before the change takes effect.
type keeper struct {
	dir string
	log *slog.Logger

	// disk is held while counts are written, which may take long. It comes
	// before Watch.mu, and that before mu.
	disk   sync.Mutex
	gen    uint64 // number of the present log of counts
	counts *os.File
	size   int64

	// Watch.mu protects these three.
	reseeded bool   // the notes that come have other hashes than those in the log
	pending  []byte // a record of notes that is not in the file yet; see seal
	spare    []byte // room for the next ones, empty

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

// openKeeper makes the folder. A disk that is full or read-only is reported, and
// tried again at each tick; all is kept in memory until then.
func openKeeper(dir string, log *slog.Logger, report func(error)) (*keeper, error) {
	k := &keeper{
		dir: dir, log: log, report: report,
		stateFile: statefile.New(filepath.Join(dir, statesName), maxStatesRead),
		copyFile:  statefile.New(filepath.Join(dir, copyName), maxStatesRead),
	}
	if k.report == nil {
		k.report = func(error) {}
	}
	err := os.MkdirAll(dir, 0o700)
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fs.ErrExist) { // a file, or a link to nothing
		log.Error("outlier state begins anew", "err", statefile.New(dir, 0).SetAside(err))
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil && !statefile.IsDiskTrouble(err) {
		return nil, err
	}
	return k, nil
}

func (k *keeper) path(gen uint64, suffix string) string {
	return filepath.Join(k.dir, fmt.Sprintf("counts-%08d.%s", gen, suffix))
}

// load reads what is there and opens the files for writing.
func (k *keeper) load(w *Watch) error {
	gens, err := k.generations()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for i := len(gens) - 1; i >= 0; i-- {
		b, err := statefile.New(k.path(gens[i], "snap"), maxCountsRead).Read()
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = w.restore(b)
		}
		if err == nil {
			gens = gens[i:]
			break
		}
		k.log.Error("outlier counts not read", "err", statefile.New(k.path(gens[i], "snap"), 0).SetAside(err))
	}
	restored := !w.detector.Empty()
	for _, g := range gens {
		k.gen = max(k.gen, g)
		if err := k.replay(w, k.path(g, "log"), restored || !w.detector.Empty()); err != nil {
			k.log.Error("outlier counts not read in full", "err", statefile.KeepCopy(k.path(g, "log"), err))
		}
	}
	k.loadStates(w)
	_, err = k.rotate(w.detector.Seed())
	if err != nil && !statefile.IsDiskTrouble(err) && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	k.report(err)
	return nil
}

// restore reads a snapshot.
func (w *Watch) restore(b []byte) error {
	found, err := w.detector.Restore(b, w.nameOf)
	if err != nil {
		return err
	}
	if found.Forgotten > 0 {
		w.log.Warn(fmt.Sprintf("known recipients forgotten: max_known has changed, %d places instead of %d", w.detector.Places(), found.Forgotten))
	}
	w.clock.notBefore(found.At)
	return nil
}

// generations are the numbers of all files of counts, in ascending order.
func (k *keeper) generations() (gens []uint64, err error) {
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

// replay counts the notes of a log. What a crash has cut off is left out; a
// damaged record ends the log, and is an error where others follow. The log begins with the seed of the hashes in it, which holds when there was no
// snapshot to restore.
func (k *keeper) replay(w *Watch, file string, restored bool) error {
	b, err := statefile.New(file, maxCountsRead).Read()
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if len(b) < detector.SeedSize {
		return nil
	}
	if s := detector.ReadSeed(b); s != w.detector.Seed() {
		if restored {
			return errors.New("its hashes have another seed than the snapshot")
		}
		w.detector.Reset(s)
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
			w.count(&n)
			last = max(last, n.At)
		}
		b = b[size:]
	}
	w.clock.notBefore(time.Unix(last, 0))
	return damage
}

// note adds a transaction to the log of counts; Watch.mu is held.
func (k *keeper) note(n *detector.Event) {
	if len(k.pending) > maxPending {
		return // the disk has failed for long; note logged it
	}
	if len(k.pending) == 0 {
		k.pending = append(k.pending, make([]byte, recordHead)...)
	}
	k.pending = n.Append(k.pending)
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

// tick writes what has come, and a snapshot where one is due.
func (k *keeper) tick(w *Watch) {
	k.disk.Lock()
	defer k.disk.Unlock()
	if !k.reopen(w) {
		return
	}
	k.flush(w)
	w.mu.Lock()
	due := k.size > maxLog || k.reseeded
	w.mu.Unlock()
	if due {
		k.snapshot(w)
	}
	k.rewriteStates(w)
}

// reopen begins a log of counts where there is none, since the disk was full or
// read-only; false when there still is none.
func (k *keeper) reopen(w *Watch) bool {
	if k.counts != nil {
		return true
	}
	err := os.MkdirAll(k.dir, 0o700)
	if err == nil {
		w.mu.Lock()
		_, err = k.rotate(w.detector.Seed())
		w.mu.Unlock()
	}
	k.report(err)
	return err == nil
}

// flush writes the notes that have come and syncs the states.
func (k *keeper) flush(w *Watch) {
	w.mu.Lock()
	notes := k.pending
	k.pending, k.spare = k.spare, nil
	w.mu.Unlock()
	err := k.write(notes)
	w.mu.Lock()
	if err != nil && len(k.pending) > 0 {
		k.pending = append(notes, k.pending[recordHead:]...)
	} else if err != nil {
		k.pending = notes
	} else if room := cap(notes); room <= maxSpare && len(notes) > room/16 {
		k.spare = notes[:0]
	}
	w.mu.Unlock()
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

func (k *keeper) write(notes []byte) error {
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
func (k *keeper) rotate(s detector.Seed) (old *os.File, err error) {
	f, err := statefile.Open(k.path(k.gen+1, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_TRUNC)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(s.Bytes()); err != nil {
		f.Close()
		return nil, err
	}
	old, k.counts, k.size = k.counts, f, detector.SeedSize
	k.gen++
	return old, nil
}

// snapshot writes all counts and removes the logs that are in it; disk is held.
func (k *keeper) snapshot(w *Watch) {
	w.mu.Lock()
	old, err := k.rotate(w.detector.Seed())
	if err != nil { // the present log goes on
		w.mu.Unlock()
		k.report(err)
		return
	}
	state := w.detector.Snapshot(w.clock.read())
	notes := k.pending
	k.pending, k.reseeded = nil, false
	w.mu.Unlock()
	old.Write(seal(notes)) // for a crash before the snapshot is in place
	old.Close()
	err = statefile.New(k.path(k.gen, "snap"), 0).Write(state.Encode())
	k.report(err)
	if err != nil {
		return
	}
	gens, _ := k.generations()
	for _, g := range gens {
		if g < k.gen {
			os.Remove(k.path(g, "log"))
			os.Remove(k.path(g, "snap"))
		}
	}
}

// close writes a last snapshot and closes the files.
func (k *keeper) close(w *Watch) {
	k.disk.Lock()
	defer k.disk.Unlock()
	if k.reopen(w) {
		k.flush(w)
		k.snapshot(w)
	}
	k.rewriteStates(w)
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
