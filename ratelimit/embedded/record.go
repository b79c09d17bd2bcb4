package embedded

import "time"

// record is the state of one budget, recordSize octets in a chunk:
//
//	hash u32, touched u32, ext u32, size u32, limit u16, keyLen u16, live u8, pinned u8, owing u8
//	body: the key, then the logs of its windows
//
// A body that outgrows the record lies in shard.exts. touched is the second of
// the last charge, rounded down.
type record []byte

const (
	recordSize = 160
	recordHead = 24
	bodySize   = recordSize - recordHead
	chunkSize  = 128 << 10
	inChunk    = chunkSize / recordSize
)

func (r record) hash() uint32        { return le.Uint32(r) }
func (r record) setHash(h uint32)    { le.PutUint32(r, h) }
func (r record) touched() uint32     { return le.Uint32(r[4:]) }
func (r record) setTouched(s uint32) { le.PutUint32(r[4:], s) }

// ext is 1 + the index of the body in shard.exts, 0 when the body is inside; in
// a free record, 1 + the index of the next free one.
func (r record) ext() uint32       { return le.Uint32(r[8:]) }
func (r record) setExt(e uint32)   { le.PutUint32(r[8:], e) }
func (r record) size() int         { return int(le.Uint32(r[12:])) }
func (r record) setSize(n int)     { le.PutUint32(r[12:], uint32(n)) }
func (r record) limit() uint16     { return le.Uint16(r[16:]) }
func (r record) setLimit(l uint16) { le.PutUint16(r[16:], l) }
func (r record) keyLen() int       { return int(le.Uint16(r[18:])) }
func (r record) setKeyLen(n int)   { le.PutUint16(r[18:], uint16(n)) }
func (r record) live() bool        { return r[20] != 0 }
func (r record) setLive(l bool)    { r.flag(20, l) }

// pinned: a decision in progress holds the record's index.
func (r record) pinned() bool     { return r[21] != 0 }
func (r record) setPinned(p bool) { r.flag(21, p) }

// owing: the record is in shard.owing.
func (r record) owing() bool     { return r[22] != 0 }
func (r record) setOwing(o bool) { r.flag(22, o) }

func (r record) flag(at int, on bool) {
	r[at] = 0
	if on {
		r[at] = 1
	}
}

// record is the record with an index.
func (sh *shard) record(i uint32) record {
	at := int(i) % inChunk * recordSize
	return record(sh.chunks[int(i)/inChunk][at : at+recordSize : at+recordSize])
}

// body is the key and logs of a record.
func (sh *shard) body(r record) []byte {
	if e := r.ext(); e != 0 {
		return sh.exts[e-1][:r.size()]
	}
	return r[recordHead : recordHead+r.size()]
}

func (sh *shard) key(r record) []byte { return sh.body(r)[:r.keyLen()] }

// window finds the log of a window; offset -1 when there is none.
func (sh *shard) window(r record, id windowID) (w log, offset int) {
	body := sh.body(r)
	for at := r.keyLen(); at < len(body); {
		w := log(body[at:])
		if w.id() == id {
			return w[:w.size()], at
		}
		at += w.size()
	}
	return nil, -1
}

// insert opens n octets at an offset of the body; the record's logs move.
func (sh *shard) insert(r record, at, n int) []byte {
	size := r.size()
	sh.fit(r, size+n)
	r.setSize(size + n)
	body := sh.body(r)
	copy(body[at+n:], body[at:size])
	clear(body[at : at+n])
	return body
}

// remove closes n octets at an offset of the body.
func (sh *shard) remove(r record, at, n int) {
	body := sh.body(r)
	copy(body[at:], body[at+n:])
	r.setSize(len(body) - n)
}

// fit makes the body's place hold size octets.
func (sh *shard) fit(r record, size int) {
	e := r.ext()
	if e == 0 && size <= bodySize || e != 0 && size <= cap(sh.exts[e-1]) {
		return
	}
	old := sh.body(r)
	grown := make([]byte, len(old), size+size/2)
	copy(grown, old)
	sh.extBytes += cap(grown)
	if e != 0 {
		sh.extBytes -= cap(sh.exts[e-1])
		sh.exts[e-1] = grown
		return
	}
	if n := len(sh.extFree); n > 0 {
		e = sh.extFree[n-1]
		sh.extFree = sh.extFree[:n-1]
		sh.exts[e-1] = grown
	} else {
		sh.exts = append(sh.exts, grown)
		e = uint32(len(sh.exts))
	}
	r.setExt(e)
}

// shrink takes a body that fits back into its record, and gives back a place
// that is far too large.
func (sh *shard) shrink(r record) {
	e := r.ext()
	if e == 0 {
		return
	}
	body := sh.body(r)
	switch {
	case len(body) <= bodySize:
		copy(r[recordHead:], body)
		sh.dropExt(e)
		r.setExt(0)
	case cap(sh.exts[e-1]) > 4*len(body):
		small := make([]byte, len(body), len(body)+len(body)/2)
		copy(small, body)
		sh.extBytes += cap(small) - cap(sh.exts[e-1])
		sh.exts[e-1] = small
	}
}

func (sh *shard) dropExt(e uint32) {
	sh.extBytes -= cap(sh.exts[e-1])
	sh.exts[e-1] = nil
	sh.extFree = append(sh.extFree, e)
}

// clean drops every charge that is over its window, and every window without
// charges. It reports whether anything is left.
func (sh *shard) clean(r record, now int64) bool {
	idle := now/int64(time.Second) - int64(r.touched())
	body := sh.body(r)
	size := len(body)
	for at := r.keyLen(); at < size; {
		w := log(body[at:size])
		s := w.id().scale()
		before := w.size()
		gone := 0
		switch {
		case idle > w.id().seconds()+1:
			gone = before
		case w.id().distinct():
			gone = w.cleanDistinct(s, now)
			copy(body[at+before-gone:], body[at+before:size])
		default:
			n := w.dead(s, now)
			if gone = n * entrySize; gone > 0 {
				copy(body[at+windowHead:], body[at+windowHead+gone:size])
				w.setCount(w.count() - n)
			}
		}
		if gone == before {
			copy(body[at:], body[at+before:size])
			size -= gone
			continue
		}
		size -= gone
		if w.near() != 0 && s.age(s.now(now), w.near()) >= s.span {
			w.setNear(0)
		}
		if w.count() == 0 && w.near() == 0 {
			copy(body[at:], body[at+windowHead:size])
			size -= windowHead
			continue
		}
		at += w.size()
	}
	r.setSize(size)
	return size > r.keyLen()
}
