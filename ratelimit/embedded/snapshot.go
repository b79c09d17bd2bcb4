package embedded

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"os"
	"time"

	"postern/internal/statefile"
	"postern/internal/text"
	"postern/ratelimit"
)

// A snapshot is one file:
//
//	snapshotMagic
//	u32 length, then snapshotHead as JSON
//	for each budget: limit u16, key length u16, touched u32, size u32, body
//	u16 of ones, then the CRC-64 of all before it
//
// Body is as in a record: the key and the logs of its windows.
const snapshotMagic = "postern limits 1\n"

const (
	snapshotRecord = 12
	noLimit        = 1<<16 - 1
	maxHead        = 64 << 20
	maxBody        = 4 << 20
)

// snapshotHead is what a snapshot knows beside the counts.
type snapshotHead struct {
	Saved      time.Time             `json:"saved"`
	Clock      int64                 `json:"clock"`          // of the store
	Boot       string                `json:"boot,omitempty"` // which start of the machine
	Uptime     time.Duration         `json:"uptime"`         // since then
	Limits     []string              `json:"limits"`
	Shares     []string              `json:"shares"`
	Allowances []ratelimit.Allowance `json:"raises"`
	Nodes      int64                 `json:"nodes,omitempty"`
	// Keyed: logs of DistinctRecipients have hashes under a secret. Releases of
	// before had no such thing.
	Keyed bool `json:"keyed,omitempty"`
}

var crcTable = crc64.MakeTable(crc64.ECMA)

// snapshotEvery is the time between snapshots: with the writing of a large one
// a crash forgets at most 10 seconds.
const snapshotEvery = 8 * time.Second

// Run saves a snapshot at path every few seconds in which counts have changed,
// or the last Save failed, at once after a temporary override or a reset, and a last one when
// ctx ends; then it returns. report is told how each Save went.
func (e *Store) Run(ctx context.Context, path string, report func(error)) {
	tick := time.NewTicker(snapshotEvery)
	defer tick.Stop()
	failed := false
	save := func() {
		err := e.Save(path)
		failed = err != nil
		report(err)
	}
	for {
		select {
		case <-ctx.Done():
			save()
			return
		case <-tick.C:
			if failed || e.hasChanged() {
				save()
			}
		case <-e.dirty:
			save()
		}
	}
}

func (e *Store) hasChanged() bool {
	for i := range e.shards {
		sh := &e.shards[i]
		sh.mu.Lock()
		changed := sh.changed
		sh.mu.Unlock()
		if changed {
			return true
		}
	}
	return false
}

// Save writes all counts and temporary overrides to path, in place of what is there: a
// reader, or a crash, finds the old file or the new one. Decisions wait for the
// copying of one shard at a time. Only one Save may run at a time.
func (e *Store) Save(path string) error {
	err := e.snapshot(path).Replace(func(file io.Writer) error {
		crc := crc64.New(crcTable)
		if err := e.writeAll(io.MultiWriter(file, crc)); err != nil {
			return err
		}
		_, err := file.Write(crc.Sum(nil))
		return err
	})
	if err != nil {
		return fmt.Errorf("save limits: %w", err)
	}
	return nil
}

// snapshot is the file at path.
func (e *Store) snapshot(path string) *statefile.File {
	if e.file == nil || e.file.Name() != path {
		e.file = statefile.New(path, 0) // it is read in pieces
	}
	return e.file
}

func (e *Store) writeAll(out io.Writer) error {
	// The clock is read before the counts: a charge made meanwhile then lies in
	// its future, and counts for no less than its window.
	head, err := json.Marshal(e.head())
	if err != nil {
		return err
	}
	b := append([]byte(snapshotMagic), 0, 0, 0, 0)
	le.PutUint32(b[len(snapshotMagic):], uint32(len(head)))
	if _, err := out.Write(append(b, head...)); err != nil {
		return err
	}
	for i := range e.shards {
		b = e.shards[i].appendRecords(b[:0])
		if _, err := out.Write(b); err != nil {
			return err
		}
	}
	_, err = out.Write([]byte{0xff, 0xff})
	return err
}

func (e *Store) head() snapshotHead {
	head := snapshotHead{Saved: e.clock.now().Round(0), Clock: e.clock.read(), Allowances: e.liveAllowances(), Nodes: e.nodes.Load(), Keyed: true}
	if !e.clock.wall {
		head.Boot, head.Uptime = uptime()
	}
	n := e.names.Load()
	head.Limits, head.Shares = make([]string, len(n.limits)), make([]string, len(n.shares))
	for name, id := range n.limits {
		head.Limits[id] = name
	}
	for name, id := range n.shares {
		head.Shares[id] = name
	}
	return head
}

func (sh *shard) appendRecords(b []byte) []byte {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.changed = false
	for i := range sh.next {
		r := sh.record(i)
		if !r.live() {
			continue
		}
		b = le.AppendUint16(b, r.limit())
		b = le.AppendUint16(b, uint16(r.keyLen()))
		b = le.AppendUint32(b, r.touched())
		b = le.AppendUint32(b, uint32(r.size()))
		b = append(b, sh.body(r)...)
	}
	return b
}

// Load takes over the counts of a snapshot, before the store's first use. No
// file at path is not an error. One that cannot be read as a whole is set aside
// under another name, which the error tells, and the store stays empty: that
// is for the operator to know, and no reason not to start. The error also says
// when the counts did not all fit.
func (e *Store) Load(path string) error {
	file, err := statefile.Open(path, os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		defer file.Close()
		err = e.loadFrom(file)
	}
	if err == nil || errors.Is(err, ratelimit.ErrFull) {
		return err
	}
	return fmt.Errorf("all counts begin at 0: %w", e.snapshot(path).SetAside(err))
}

func (e *Store) loadFrom(file *os.File) error {
	if err := checkSnapshot(file); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return e.restore(file)
}

// checkSnapshot reads a file to its end and compares the checksum.
func checkSnapshot(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	size := info.Size() - crc64.Size
	if size < int64(len(snapshotMagic)) {
		return errors.New("too short for a snapshot")
	}
	crc := crc64.New(crcTable)
	if _, err := io.CopyN(crc, file, size); err != nil {
		return err
	}
	sum := make([]byte, crc64.Size)
	if _, err := io.ReadFull(file, sum); err != nil {
		return err
	}
	if !bytes.Equal(sum, crc.Sum(nil)) {
		return errors.New("its checksum is wrong")
	}
	return nil
}

var errFormat = errors.New("not in the format of a snapshot of this version")

func (e *Store) restore(file io.Reader) error {
	in := bufio.NewReaderSize(file, 1<<20)
	head, err := readHead(in)
	if err != nil {
		return err
	}
	e.clock.resume(head.Clock + int64(max(0, e.sinceSaved(head))))
	shares := map[string]uint8{}
	for i, name := range head.Shares {
		shares[name] = uint8(i)
	}
	e.names.Store(&names{limits: map[string]uint16{}, shares: shares})
	e.allowances.Store(newAllowances(ratelimit.CanonicalAllowances(head.Allowances)))
	e.nodes.Store(head.Nodes)
	now := e.clock.read()
	lost := 0
	for {
		r, err := readRecord(in, head)
		switch {
		case err != nil:
			e.clear()
			return err
		case r == nil:
			if lost > 0 {
				return fmt.Errorf("load limits: %s of the snapshot: %w", text.Count(lost, "key", "keys"), ratelimit.ErrFull)
			}
			return nil
		}
		if !e.adopt(r, head, now) {
			lost++
		}
	}
}

// sinceSaved is the time since a snapshot was made. Within one run of the
// machine its own uptime tells, whatever was done to the clock.
func (e *Store) sinceSaved(head *snapshotHead) time.Duration {
	if !e.clock.wall && head.Boot != "" {
		if boot, up := uptime(); boot == head.Boot {
			return up - head.Uptime
		}
	}
	return e.clock.now().Sub(head.Saved)
}

func readHead(in io.Reader) (*snapshotHead, error) {
	b := make([]byte, len(snapshotMagic)+4)
	if _, err := io.ReadFull(in, b); err != nil || string(b[:len(snapshotMagic)]) != snapshotMagic {
		return nil, errFormat
	}
	n := le.Uint32(b[len(snapshotMagic):])
	if n > maxHead {
		return nil, errFormat
	}
	b = make([]byte, n)
	if _, err := io.ReadFull(in, b); err != nil {
		return nil, errFormat
	}
	head := &snapshotHead{}
	if err := json.Unmarshal(b, head); err != nil {
		return nil, errFormat
	}
	if len(head.Limits) >= noLimit || len(head.Shares) == 0 || len(head.Shares) > lastShare+1 || head.Shares[0] != "" || head.Clock < 0 {
		return nil, errFormat
	}
	return head, nil
}

// saved is one budget of a snapshot.
type saved struct {
	limit, keyLen uint16
	touched       uint32
	body          []byte
}

// readRecord returns nil at the end.
func readRecord(in io.Reader, head *snapshotHead) (*saved, error) {
	var b [snapshotRecord]byte
	if _, err := io.ReadFull(in, b[:2]); err != nil {
		return nil, errFormat
	}
	s := &saved{limit: le.Uint16(b[:])}
	if s.limit == noLimit {
		return nil, nil
	}
	if _, err := io.ReadFull(in, b[2:]); err != nil {
		return nil, errFormat
	}
	s.keyLen, s.touched = le.Uint16(b[2:]), le.Uint32(b[4:])
	size := le.Uint32(b[8:])
	if int(s.limit) >= len(head.Limits) || s.keyLen == 0 || size > maxBody || uint32(s.keyLen) > size {
		return nil, errFormat
	}
	s.body = make([]byte, size)
	if _, err := io.ReadFull(in, s.body); err != nil || !validLogs(s.body[s.keyLen:], len(head.Shares)) {
		return nil, errFormat
	}
	if !head.Keyed {
		markPlain(s.body[s.keyLen:])
	}
	return s, nil
}

// markPlain gives logs of distinct recipients that know of no secret the unit
// of such.
func markPlain(logs []byte) {
	for len(logs) > 0 {
		w := log(logs)
		if id := w.id(); id.unit() == ratelimit.DistinctRecipients {
			le.PutUint32(w, uint32(makeWindowID(plainDistinct, id.length(), id.share())))
		}
		logs = logs[w.size():]
	}
}

// validLogs reports whether b is a run of whole logs.
func validLogs(b []byte, shares int) bool {
	for len(b) > 0 {
		if len(b) < windowHead {
			return false
		}
		w := log(b)
		if w.id().unit() > plainDistinct || w.id().seconds() == 0 || w.id().share() != knownID && int(w.id().share()) >= shares || w.size() > len(b) {
			return false
		}
		b = b[w.size():]
	}
	return true
}

// adopt makes a budget of the snapshot its own; false when memory is full.
func (e *Store) adopt(s *saved, head *snapshotHead, now int64) bool {
	limit, key := e.limitID(head.Limits[s.limit]), s.body[:s.keyLen]
	own := []byte(ratelimit.CanonicalKey(string(key)))
	hash := e.hash(limit, own)
	sh := e.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if old, ok := sh.lookup(uint32(hash), limit, own); ok {
		return sh.join(old, s, now)
	}
	i, ok := sh.adopt(uint32(hash), limit, own, s, now)
	if ok && sh.record(i).size() == len(own) {
		sh.drop(i)
	}
	return ok
}

// adopt makes a record of what was saved, without what has passed.
func (sh *shard) adopt(hash uint32, limit uint16, key []byte, s *saved, now int64) (i uint32, ok bool) {
	i, err := sh.create(hash, limit, key, now)
	if err != nil {
		return 0, false
	}
	r := sh.record(i)
	logs := s.body[s.keyLen:]
	body := sh.insert(r, len(key), len(logs))
	copy(body[len(key):], logs)
	r.setTouched(s.touched)
	sh.clean(r, now)
	return i, true
}

// join adds to record i what was saved under another spelling of its sender or
// user: of each window the larger count holds.
func (sh *shard) join(i uint32, s *saved, now int64) bool {
	sh.record(i).setPinned(true)
	defer func() { sh.record(i).setPinned(false) }()
	r := sh.record(i)
	// What was saved is rid of what has passed, by its own time, in a record of
	// its own, which no lookup finds.
	j, ok := sh.adopt(r.hash(), noLimit, sh.key(r), s, now)
	if !ok {
		return false
	}
	defer sh.drop(j)
	other := sh.record(j)
	r.setTouched(max(r.touched(), s.touched))
	for logs := sh.body(other)[other.keyLen():]; len(logs) > 0; {
		w := log(logs)
		w = w[:w.size()]
		logs = logs[len(w):]
		if old, at := sh.window(r, w.id()); at >= 0 {
			if old.used() >= w.used() {
				continue
			}
			sh.remove(r, at, len(old))
		}
		at := r.size()
		copy(sh.insert(r, at, len(w))[at:], w)
	}
	return true
}

// clear forgets everything.
func (e *Store) clear() {
	for i := range e.shards {
		sh := &e.shards[i]
		for j := range sh.next {
			if r := sh.record(j); r.live() {
				sh.drop(j)
			}
		}
	}
	e.names.Store(&names{limits: map[string]uint16{}, shares: map[string]uint8{"": 0}})
	e.allowances.Store(newAllowances(nil))
}
