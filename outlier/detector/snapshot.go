package detector

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"time"

	"postern/outlier/detector/compact"
	"postern/outlier/detector/sketch"
)

const (
	snapshotHead = "postern outlier counts 2\n"
	// snapshotHead1 began the files of releases that knew no regular mail.
	snapshotHead1 = "postern outlier counts 1\n"
)

// Snapshot is a copy of all that a detector knows at one moment. Unlike the detector
// it may be used while that goes on counting.
type Snapshot struct {
	seed    Seed
	at      time.Time
	clients []firstSeen
	slabs   [][]entry
	used    uint32
	since   uint16 // Detector.lastingSince
	known   uint16 // Detector.knownSince
	marks   sketch.Marks
	regular map[uint64]runs
}

// firstSeen is a client with the day of its first message.
type firstSeen struct {
	name string
	born uint16
}

// Snapshot copies what is known at a time.
func (d *Detector) Snapshot(at time.Time) *Snapshot {
	s := &Snapshot{seed: d.seed, at: at, used: d.meters.next, since: d.lastingSince, known: d.knownSince, marks: d.known.Copy()}
	for _, c := range d.byNum { // not the pointers: Merge changes what is behind them
		s.clients = append(s.clients, firstSeen{c.name, c.born})
	}
	s.regular = make(map[uint64]runs, len(d.meters.regular))
	for hash, rs := range d.meters.regular {
		s.regular[hash] = *rs
	}
	for _, slab := range d.meters.slabs {
		s.slabs = append(s.slabs, slices.Clone(slab))
	}
	return s
}

// Encode writes the snapshot in the form that Restore reads.
func (s *Snapshot) Encode() []byte {
	w := compact.Writer(snapshotHead)
	w.U64(s.seed[0])
	w.U64(s.seed[1])
	w.U64(uint64(s.at.UnixNano()))
	w.Num(len(s.clients))
	for _, c := range s.clients {
		w.Str(c.name)
		w.U16(c.born)
	}
	for i := range s.used {
		e := &s.slabs[i/slabSize][i%slabSize]
		if !e.used {
			continue
		}
		var rs *runs
		if r, ok := s.regular[e.hash]; ok {
			rs = &r
		}
		e.write(&w, rs)
		if e.has(isSolo) {
			user, _ := SplitNames(e.name)
			e.asUser(user).write(&w, nil)
		}
	}
	w.U8(0)
	w.Num(len(s.marks))
	w = s.marks.Append(w)
	s.encodeLasting(&w)
	w.U32(crc32.ChecksumIEEE(w))
	return w
}

// write appends an entry with its runs, nil for none.
func (e *entry) write(w *compact.Writer, rs *runs) {
	w.U8(1 + uint8(e.scope))
	w.U16(e.client)
	w.Str(e.name)
	e.encode(w)
	e.encodeTail(w, rs)
}

// encodeLasting appends the lasting records, which earlier releases do not look for
// behind the rest: since when they are kept, and those of the entries in their order. Then
// comes since when recipients are known, where that is not for as long as the clients are.
func (s *Snapshot) encodeLasting(w *compact.Writer) {
	if s.since == 0 && s.known == 0 {
		return
	}
	w.U16(s.since)
	for i := range s.used {
		if e := &s.slabs[i/slabSize][i%slabSize]; e.used {
			e.lasting.encode(w)
			if e.has(isSolo) {
				e.lasting.encode(w) // its user's
			}
		}
	}
	if s.known > 0 {
		w.U16(s.known)
	}
}

// Restored is what Restore has found.
type Restored struct {
	At time.Time // of the snapshot
	// Forgotten is for how many recipients the sketch of the snapshot had places,
	// where it was of another size than Settings.MaxKnown asks for; then nobody is
	// known, and KnownFrom is to be called. Else 0.
	Forgotten int
}

// Fold gives the one name of a sender, user or client: an older release kept them by
// the letters as they were sent.
type Fold func(Who) string

// Restore puts the counts of a snapshot in the place of the present ones, under the
// names that fold gives; of several with one name the larger count holds. After an
// error the present ones are as they were.
func (d *Detector) Restore(b []byte, fold Fold) (Restored, error) {
	head, r, err := openSnapshot(b)
	if err != nil {
		return Restored{}, err
	}
	g := New(d.settings, Seed{r.U64(), r.U64()})
	found := Restored{At: time.Unix(0, int64(r.U64()))}
	for range r.Num() {
		if r.Bad {
			return Restored{}, compact.ErrCut
		}
		g.client(r.Str(), 0).born = r.U16()
	}
	places, err := g.readEntries(r, head != snapshotHead1, fold)
	if err != nil {
		return Restored{}, err
	}
	buckets := r.Num()
	raw := r.Take(buckets * 16)
	if r.Bad {
		return Restored{}, compact.ErrCut
	}
	if g.readTail(r, places); r.Bad {
		return Restored{}, compact.ErrCut
	}
	if buckets == g.known.Size() {
		g.known.Fill(raw)
	} else {
		found.Forgotten = 8 * buckets
	}
	*d = *g
	return found, nil
}

// openSnapshot checks the head and the checksum, and gives the head and what follows it.
func openSnapshot(b []byte) (head string, r *compact.Reader, err error) {
	if len(b) < len(snapshotHead)+4 {
		return "", nil, compact.ErrCut
	}
	head = string(b[:len(snapshotHead)])
	if head != snapshotHead && head != snapshotHead1 {
		return "", nil, errors.New("is not a file of counts of this version")
	}
	body := b[:len(b)-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return "", nil, compact.ErrCut
	}
	return head, &compact.Reader{Rest: body[len(snapshotHead):]}, nil
}

// readTail reads the lasting records of the entries that were in these places, and since
// when there are any; earlier releases ended before one or the other.
func (d *Detector) readTail(r *compact.Reader, places []top) {
	if len(r.Rest) == 0 {
		return
	}
	d.lastingSince = r.U16()
	for _, p := range places {
		var l lasting
		if l.decode(r); p.e.is(p.hash) { // its place may have been given to another
			p.e.lasting.raise(&l)
		}
	}
	if len(r.Rest) > 0 {
		d.knownSince = r.U16()
	}
}

// readEntries reads the meters of a snapshot, with what earlier releases did not know
// of them where tail is set. It gives the place of each in the order of the snapshot.
func (d *Detector) readEntries(r *compact.Reader, tail bool, fold Fold) (places []top, err error) {
	for {
		n := r.U8()
		if n == 0 || r.Bad {
			return places, nil
		}
		sc := scope(n - 1)
		num, name := r.U16(), r.Str()
		var m meter
		m.decode(r)
		var rs *runs
		if tail {
			rs = m.decodeTail(r)
		} else {
			m.put(isOld, true)
		}
		if r.Bad || int(num) >= len(d.byNum) || sc >= scopes {
			return nil, compact.ErrCut
		}
		own := fold(Who{sc.whose(), name})
		d.partOf(sc, own)
		e, isNew := d.meters.get(sc, own, num, int64(m.last))
		if !isNew {
			m.join(e.meter)
			rs = later(rs, d.meters.runsOf(e))
		}
		e.meter = m
		d.meters.setRuns(e, rs)
		d.joined(e, before(places, e))
		places = append(places, top{e, e.hash})
	}
}

// before gives the entry that was read before that of a user, as which a sender that
// stands for its user is written; nil for another.
func before(places []top, e *entry) *entry {
	if len(places) == 0 || e.scope != ofUser {
		return nil
	}
	p := places[len(places)-1]
	if user, _ := SplitNames(p.e.name); !p.e.is(p.hash) || p.e.scope != ofUserSender || user != e.name {
		return nil
	}
	return p.e
}

// Places is for how many known recipients there is room.
func (d *Detector) Places() int { return 8 * d.known.Size() }
