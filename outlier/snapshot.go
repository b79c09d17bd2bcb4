package outlier

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"
)

const (
	snapshotHead = "postern outlier counts 2\n"
	// snapshotHead1 began the files of releases that knew no regular mail.
	snapshotHead1 = "postern outlier counts 1\n"
)

// snapshot is a copy of all counts at one moment.
type snapshot struct {
	seed    seed
	at      time.Time
	clients []*clientInfo
	slabs   [][]entry
	used    uint32
	buckets []bucket
	regular map[uint64]runs
}

// copyState copies the counts; w.mu is held.
func (w *Watch) copyState() *snapshot {
	g := &w.engine
	s := &snapshot{seed: g.seed, at: w.clock.read(), used: g.roster.next, buckets: slices.Clone(g.known.buckets)}
	s.clients = slices.Clone(g.byNum)
	s.regular = make(map[uint64]runs, len(g.roster.regular))
	for hash, rs := range g.roster.regular {
		s.regular[hash] = *rs
	}
	for _, slab := range g.roster.slabs {
		s.slabs = append(s.slabs, slices.Clone(slab))
	}
	return s
}

func (s *snapshot) encode() []byte {
	w := writer(snapshotHead)
	w.u64(s.seed[0])
	w.u64(s.seed[1])
	w.u64(uint64(s.at.UnixNano()))
	w.num(len(s.clients))
	for _, c := range s.clients {
		w.str(c.name)
		w.u16(c.born)
	}
	for i := range s.used {
		e := &s.slabs[i/slabSize][i%slabSize]
		if !e.used {
			continue
		}
		w.u8(1 + uint8(e.scope))
		w.u16(e.client)
		w.str(e.name)
		e.encode(&w)
		var rs *runs
		if r, ok := s.regular[e.hash]; ok {
			rs = &r
		}
		e.encodeTail(&w, rs)
	}
	w.u8(0)
	w.num(len(s.buckets))
	for i := range s.buckets {
		for _, m := range s.buckets[i] {
			w.u16(m)
		}
	}
	w.u32(crc32.ChecksumIEEE(w))
	return w
}

// restore puts the counts of a snapshot in the place of the present ones.
func (w *Watch) restore(b []byte) error {
	if len(b) < len(snapshotHead)+4 {
		return errCut
	}
	head := string(b[:len(snapshotHead)])
	if head != snapshotHead && head != snapshotHead1 {
		return errors.New("is not a file of counts of this version")
	}
	body := b[:len(b)-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return errCut
	}
	r := &reader{rest: body[len(snapshotHead):]}
	g := newEngine(&w.rules.Config, seed{r.u64(), r.u64()})
	at := time.Unix(0, int64(r.u64()))
	for range r.num() {
		if r.bad {
			return errCut
		}
		g.client(r.str(), 0).born = r.u16()
	}
	for {
		sc := r.u8()
		if sc == 0 || r.bad {
			break
		}
		num, name := r.u16(), r.str()
		var m meter
		m.decode(r)
		var rs *runs
		if head == snapshotHead {
			rs = m.decodeTail(r)
		} else {
			m.put(isOld, true)
		}
		if r.bad || int(num) >= len(g.byNum) || scope(sc-1) >= scopes {
			return errCut
		}
		e, isNew := g.roster.get(scope(sc-1), w.meterName(scope(sc-1), name), num, int64(m.last))
		if !isNew {
			m.join(e.meter)
			rs = later(rs, g.roster.runsOf(e))
		}
		e.meter = m
		g.roster.setRuns(e, rs)
	}
	buckets := r.num()
	raw := r.take(buckets * 16)
	if r.bad {
		return errCut
	}
	if buckets == len(g.known.buckets) {
		for i := range g.known.buckets {
			for j := range g.known.buckets[i] {
				g.known.buckets[i][j] = binary.LittleEndian.Uint16(raw[16*i+2*j:])
			}
		}
	} else {
		w.log.Warn(fmt.Sprintf("known recipients forgotten: max_known has changed, %d places instead of %d", 8*len(g.known.buckets), 8*buckets))
	}
	w.engine = g
	w.clock.notBefore(at)
	return nil
}
