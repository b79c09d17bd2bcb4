package halves

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"postern/internal/statefile"
)

// The file is a head with the keys and then slots of one size, each with a record or
// free. A slot is written as a whole and has a checksum: after a crash it holds the
// old record, the new one, or nothing, and nobody was told of the new one before it
// was synced.
const (
	magic    = "postern halves 1\n"
	headSize = 128
	slotSize = 96
	growBy   = 256 // slots
	maxSlots = 2 * maxTotal
)

// Kinds of records.
const (
	kindFree = iota
	kindBegun
	kindTaken
	kindRefused
)

// record is what a slot holds.
type record struct {
	kind    byte
	to, sum hash
	client  hash
	until   time.Time // of a mark: when it was made
	id      [20]byte  // of the transaction
	n       int       // of a mark: recipients
	slot    int       // -1: it is not on disk
}

func (r *record) text() string { return string(bytes.TrimRight(r.id[:], "\x00")) }

func (r *record) encode() []byte {
	b := make([]byte, slotSize)
	b[4] = r.kind
	binary.BigEndian.PutUint32(b[84:], uint32(r.n))
	binary.BigEndian.PutUint64(b[8:], uint64(r.until.UnixMilli()))
	copy(b[16:], r.to[:])
	copy(b[32:], r.sum[:])
	copy(b[48:], r.client[:])
	copy(b[64:], r.id[:])
	binary.BigEndian.PutUint32(b, crc32.ChecksumIEEE(b[4:]))
	return b
}

// decodeRecord reads a slot; ok is false for one that is free or damaged.
func decodeRecord(b []byte, slot int) (r record, ok bool) {
	if len(b) != slotSize || binary.BigEndian.Uint32(b) != crc32.ChecksumIEEE(b[4:]) {
		return r, false
	}
	r = record{
		kind: b[4], n: int(binary.BigEndian.Uint32(b[84:])), until: time.UnixMilli(int64(binary.BigEndian.Uint64(b[8:]))),
		to: hash(b[16:32]), sum: hash(b[32:48]), client: hash(b[48:64]), id: [20]byte(b[64:84]), slot: slot,
	}
	return r, r.kind >= kindBegun && r.kind <= kindRefused
}

// File is what the disk is written through; tests have faults in it.
type File interface {
	io.WriterAt
	Sync() error
	Close() error
}

// disk is the file of slots. What stands in a slot is changed in memory, and written by
// flush, so that nobody waits for a disk while the lock of the Memory is held. put, free
// and unreserve do nothing on a nil disk. The first error stays until mend has written
// everything anew.
type disk struct {
	name string
	open func(name string) (File, error)

	// io is held by who reads or writes the file; it is taken before the lock of the
	// Memory, never while that is held.
	io sync.Mutex

	// Under the lock of the Memory. held becomes longer only with io held, too.
	file     File
	err      error
	faults   int       // errors, ever: who finds another number than before cannot trust a sync
	unproven bool      // written anew, and not yet synced
	held     []*record // by slot; nil: it is free
	unused   []int
	reserved int // of unused
	dirty    map[int]struct{}
	head     bool // the head is to be written
	closed   bool
}

func openFile(name string) (File, error) { return statefile.Open(name, os.O_RDWR) }

// contents are what a file holds.
type contents struct {
	keys  [][32]byte
	found []record
	slots int
	file  File // nil: it could not be opened
}

// load opens the file, makes it where there is none, and returns what it holds; io is
// held. aside is the error of a damaged file that was set aside; with err the file cannot
// be used now.
func (d *disk) load() (c contents, aside, err error) {
	f := statefile.New(d.name, headSize+maxSlots*slotSize)
	b, readErr := f.Read()
	if readErr == nil {
		c, readErr = parse(b)
	}
	if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
		if statefile.IsDiskTrouble(readErr) {
			return contents{}, nil, readErr
		}
		aside = f.SetAside(readErr)
	}
	if readErr != nil {
		c = contents{}
		if err := f.Write(headOf(nil)); err != nil {
			return contents{}, aside, err
		}
	}
	if c.file, err = d.open(d.name); err != nil {
		return contents{}, aside, err
	}
	return c, aside, nil
}

func parse(b []byte) (c contents, err error) {
	if c.keys, err = keysOf(b); err != nil {
		return contents{}, err
	}
	for b = b[headSize:]; len(b) >= slotSize; b = b[slotSize:] {
		if r, ok := decodeRecord(b[:slotSize], c.slots); ok {
			c.found = append(c.found, r)
		}
		c.slots++
	}
	return c, nil
}

// headOf is a head with at most two keys.
func headOf(keys [][32]byte) []byte {
	b := make([]byte, headSize)
	n := copy(b, magic)
	b[n] = byte(min(len(keys), 2))
	for i := range min(len(keys), 2) {
		copy(b[n+1+32*i:], keys[i][:])
	}
	binary.BigEndian.PutUint32(b[headSize-4:], crc32.ChecksumIEEE(b[:headSize-4]))
	return b
}

var errHead = errors.New("is not a memory of halves")

func keysOf(b []byte) (keys [][32]byte, err error) {
	n := len(magic)
	if len(b) < headSize || string(b[:n]) != magic || binary.BigEndian.Uint32(b[headSize-4:]) != crc32.ChecksumIEEE(b[:headSize-4]) || b[n] > 2 {
		return nil, errHead
	}
	for i := range int(b[n]) {
		keys = append(keys, [32]byte(b[n+1+32*i:n+33+32*i]))
	}
	return keys, nil
}

// fail notes an error, if err is one.
func (d *disk) fail(err error) {
	if err == nil {
		return
	}
	d.faults++
	if d.err == nil {
		d.err = fmt.Errorf("write %s: %w", d.name, err)
	}
}

// ready reports whether what has to be kept could be written now.
func (d *disk) ready() bool { return d != nil && d.err == nil && !d.unproven }

// unreserve gives n slots back.
func (d *disk) unreserve(n int) {
	if d != nil {
		d.reserved -= n
	}
}

// put gives a record a slot, if it has none and one is free.
func (d *disk) put(r *record) {
	if d == nil {
		return
	}
	if r.slot < 0 {
		if len(d.unused) == 0 {
			return
		}
		r.slot = d.unused[len(d.unused)-1]
		d.unused = d.unused[:len(d.unused)-1]
	}
	d.held[r.slot] = r
	d.dirty[r.slot] = struct{}{}
}

// free empties a slot; -1 is none. A slot that still looks taken after a crash does no
// harm: it says what was true.
func (d *disk) free(slot int) {
	if d == nil || slot < 0 {
		return
	}
	d.held[slot] = nil
	d.unused = append(d.unused, slot)
	d.dirty[slot] = struct{}{}
}

// grown adds free slots that the file has.
func (d *disk) grown(n int) {
	for range n {
		d.unused = append(d.unused, len(d.held))
		d.held = append(d.held, nil)
	}
}

// again has everything written once more: after an error nobody knows what is on the disk.
func (d *disk) again() {
	d.err, d.head = nil, true
	for slot := range d.held {
		d.dirty[slot] = struct{}{}
	}
}

// piece is what is to be written at a place of the file.
type piece struct {
	at int64
	b  []byte
}

// pieces takes up to that many slots that are to be written, neighbours in one piece.
func (d *disk) pieces(most int, keys [][32]byte) (all []piece) {
	if d.head {
		d.head = false
		all = append(all, piece{0, headOf(keys)})
	}
	var slots []int
	for slot := range d.dirty {
		if slots = append(slots, slot); len(slots) == most {
			break
		}
	}
	slices.Sort(slots)
	for i, slot := range slots {
		delete(d.dirty, slot)
		b := make([]byte, slotSize)
		if r := d.held[slot]; r != nil {
			b = r.encode()
		}
		if i > 0 && slots[i-1] == slot-1 {
			last := &all[len(all)-1]
			last.b = append(last.b, b...)
			continue
		}
		all = append(all, piece{headSize + int64(slot)*slotSize, b})
	}
	return all
}
