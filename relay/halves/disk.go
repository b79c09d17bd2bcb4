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

// file is what a disk is written through; tests have faults in it.
type file interface {
	io.WriterAt
	Sync() error
	Close() error
}

// disk is the file of slots. Its user holds a lock, but not for syncing. reserve,
// unreserve, put and free do nothing on a nil disk. The first error stays until rewrite
// has mended it.
type disk struct {
	name string
	open func(name string) (file, error)

	file     file
	err      error
	unproven bool // written anew, and not yet synced
	slots    int
	unused   []int
	reserved int // of unused
}

func openFile(name string) (file, error) { return statefile.Open(name, os.O_RDWR) }

// load opens the file, makes it where there is none, and returns what it holds. An
// error with d.err nil is one of a damaged file that was set aside.
func (d *disk) load() (keys [][32]byte, found []record, err error) {
	f := statefile.New(d.name, headSize+maxSlots*slotSize)
	b, readErr := f.Read()
	if readErr == nil {
		keys, found, readErr = d.parse(b)
	}
	if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
		if statefile.IsDiskTrouble(readErr) {
			d.err = readErr
			return nil, nil, readErr
		}
		err = f.SetAside(readErr)
	}
	if readErr != nil {
		d.slots, d.unused = 0, nil
		if d.err = f.Write(headOf(nil)); d.err != nil {
			return nil, nil, errors.Join(err, d.err)
		}
	}
	d.file, d.err = d.open(d.name)
	if d.err != nil {
		d.file = nil
		return nil, nil, errors.Join(err, d.err)
	}
	return keys, found, err
}

func (d *disk) parse(b []byte) (keys [][32]byte, found []record, err error) {
	keys, err = keysOf(b)
	if err != nil {
		return nil, nil, err
	}
	b = b[headSize:]
	d.slots, d.unused = 0, nil
	for ; len(b) >= slotSize; b = b[slotSize:] {
		if r, ok := decodeRecord(b[:slotSize], d.slots); ok {
			found = append(found, r)
		} else {
			d.unused = append(d.unused, d.slots)
		}
		d.slots++
	}
	return keys, found, nil
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
	if err != nil && d.err == nil {
		d.err = fmt.Errorf("write %s: %w", d.name, err)
	}
}

func (d *disk) write(at int64, b []byte) {
	if d.err != nil {
		return
	}
	_, err := d.file.WriteAt(b, at)
	d.fail(err)
}

func (d *disk) setKeys(keys [][32]byte) { d.write(0, headOf(keys)) }

// ready reports whether what has to be kept could be written now.
func (d *disk) ready() bool { return d != nil && d.err == nil && !d.unproven }

// reserve sees to it that there are n more slots to be written.
func (d *disk) reserve(n int) {
	if d == nil {
		return
	}
	d.reserved += n
	for d.err == nil && len(d.unused) < d.reserved {
		d.write(d.at(d.slots), make([]byte, growBy*slotSize))
		if d.err != nil {
			return
		}
		for range growBy {
			d.unused = append(d.unused, d.slots)
			d.slots++
		}
	}
}

// unreserve gives n slots back.
func (d *disk) unreserve(n int) {
	if d != nil {
		d.reserved -= n
	}
}

func (d *disk) at(slot int) int64 { return headSize + int64(slot)*slotSize }

// put writes a record into its slot, or into a free one.
func (d *disk) put(r *record) {
	if d == nil || d.err != nil {
		return
	}
	if r.slot < 0 {
		if len(d.unused) == 0 {
			d.reserved++
			d.reserve(0)
			d.reserved--
		}
		if len(d.unused) == 0 {
			return
		}
		r.slot = d.unused[len(d.unused)-1]
		d.unused = d.unused[:len(d.unused)-1]
	}
	d.write(d.at(r.slot), r.encode())
}

// free empties a slot; -1 is none. A slot that still looks taken after a crash does no
// harm: it says what was true.
func (d *disk) free(slot int) {
	if d == nil || slot < 0 {
		return
	}
	d.write(d.at(slot), make([]byte, slotSize))
	d.unused = append(d.unused, slot)
}

// rewrite writes everything once more: after an error nobody knows what is on the disk.
func (d *disk) rewrite(keys [][32]byte, index map[hash][]*entry) {
	d.err = nil
	d.write(0, headOf(keys))
	for _, all := range index {
		for _, e := range all {
			d.put(&e.record)
		}
	}
	for _, slot := range d.unused {
		if d.err != nil {
			return
		}
		d.write(d.at(slot), make([]byte, slotSize))
	}
}

func (d *disk) close() {
	if d.file != nil {
		d.file.Close()
		d.file, d.err = nil, errDisk
	}
}
