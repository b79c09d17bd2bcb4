package detector

import (
	"encoding/binary"
	"errors"
	"iter"
	"math"
	"math/bits"
)

var errCut = errors.New("data is cut off or damaged")

// writer appends values to a slice.
type writer []byte

func (w *writer) u8(v uint8)    { *w = append(*w, v) }
func (w *writer) u16(v uint16)  { *w = binary.LittleEndian.AppendUint16(*w, v) }
func (w *writer) u32(v uint32)  { *w = binary.LittleEndian.AppendUint32(*w, v) }
func (w *writer) u64(v uint64)  { *w = binary.LittleEndian.AppendUint64(*w, v) }
func (w *writer) f32(v float32) { w.u32(math.Float32bits(v)) }
func (w *writer) num(v int)     { *w = binary.AppendUvarint(*w, uint64(v)) }
func (w *writer) str(s string)  { w.num(len(s)); *w = append(*w, s...) }

// reader takes values off a slice. After the first that is not there, bad is
// set and all are zero.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.rest) {
		r.bad = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) f32() float32 {
	f := math.Float32frombits(r.u32())
	if f != f || f < 0 || f > math.MaxFloat32 {
		r.bad = true
		return 0
	}
	return f
}

func (r *reader) num() int {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > math.MaxInt64 {
		r.bad = true
		return 0
	}
	r.take(n)
	return int(v)
}

func (r *reader) str() string { return string(r.take(r.num())) }

func (r *reader) err() error {
	if r.bad {
		return errCut
	}
	return nil
}

// packed is a number of recipients, or of 64ths, as it is stored: exact up to
// 2,047, beyond that with eleven significant bits, rounded.
func packed(f float32) uint16 {
	n := uint64(math.Round(float64(min(max(f, 0), 1<<40))))
	if n < 2048 {
		return uint16(n)
	}
	e := bits.Len64(n) - 12 // n is in [2^(11+e), 2^(12+e))
	m := (n + (1<<e)/2) >> e
	if m >= 4096 {
		m, e = m/2, e+1
	}
	return uint16(e+1)<<11 | uint16(m&0x7FF)
}

func unpacked(c uint16) float32 {
	e := c >> 11
	if e == 0 {
		return float32(c)
	}
	return float32(uint64(c&0x7FF|0x800) << (e - 1))
}

// encode appends the meter.
func (m *meter) encode(w *writer) {
	w.u32(m.last)
	for i := range m.ring {
		for j := range m.ring[i] {
			for k := range kinds {
				w.u16(packed(m.ring[i][j][k]))
			}
		}
	}
	for k := range kinds {
		w.f32(m.leak[k])
		for i := range windows {
			w.u16(packed(64 * m.record[k][i]))
			w.u16(packed(64 * m.today[k][i]))
		}
	}
	w.u16(m.day)
	w.u16(m.born)
	w.u32(m.messages)
	w.f32(m.away)
	*w = append(*w, m.history[:]...)
}

func (m *meter) decode(r *reader) {
	m.last = r.u32()
	for i := range m.ring {
		for j := range m.ring[i] {
			for k := range kinds {
				m.ring[i][j][k] = unpacked(r.u16())
			}
		}
	}
	for k := range kinds {
		m.leak[k] = r.f32()
		for i := range windows {
			m.record[k][i] = unpacked(r.u16()) / 64
			m.today[k][i] = unpacked(r.u16()) / 64
		}
	}
	m.day = r.u16()
	m.born = r.u16()
	m.messages = r.u32()
	m.away = r.f32()
	copy(m.history[:], r.take(historyDays))
}

// encodeTail appends what earlier releases did not know of an entry: its flags,
// when it last counted as a name under alarm, and its runs, nil for none.
func (m *meter) encodeTail(w *writer, rs *runs) {
	f := m.flags
	f.put(isRegular, rs != nil)
	w.u8(uint8(f))
	w.u8(m.alarmed)
	if rs == nil {
		return
	}
	w.u16(rs.last)
	w.f32(rs.carry)
	rs.inside.encode(w)
	for p := range rs.all() {
		p.encode(w)
	}
}

// decodeTail reads what encodeTail writes.
func (m *meter) decodeTail(r *reader) *runs {
	m.flags, m.alarmed = flags(r.u8()), r.u8()
	if !m.has(isRegular) {
		return nil
	}
	rs := &runs{last: r.u16(), carry: r.f32()}
	rs.inside.decode(r)
	for p := range rs.all() {
		p.decode(r)
	}
	return rs
}

// all yields the run under way and the past ones.
func (r *runs) all() iter.Seq[*run] {
	return func(yield func(*run) bool) {
		if !yield(&r.way) {
			return
		}
		for i := range r.past {
			if !yield(&r.past[i]) {
				return
			}
		}
	}
}

func (p *run) encode(w *writer) {
	w.u16(p.day)
	w.u16(p.gap)
	flags := p.times << 1
	if p.loud {
		flags |= 1
	}
	w.u8(flags)
	for k := range p.top {
		for i := range windows {
			w.f32(p.top[k][i])
		}
	}
}

func (p *run) decode(r *reader) {
	p.day, p.gap = r.u16(), r.u16()
	flags := r.u8()
	p.times, p.loud = min(flags>>1, 2), flags&1 != 0
	for k := range p.top {
		for i := range windows {
			p.top[k][i] = r.f32()
		}
	}
}

// Append appends the event in the form in which it stands in files and in Redis, and
// which Read reads. It is done for each transaction, and by hand costs half as
// much as through the methods of writer.
func (ev *Event) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(ev.At))
	var flags uint8
	if ev.Alone {
		flags |= 1
	}
	if ev.Shadowed {
		flags |= 2
	}
	b = append(b, flags)
	for _, s := range [...]string{ev.Client, ev.User, ev.Sender} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	b = binary.AppendUvarint(b, uint64(ev.Away))
	b = binary.AppendUvarint(b, uint64(len(ev.Recipients)))
	for i := range ev.Recipients {
		c := &ev.Recipients[i]
		var f uint8
		if c.Refused {
			f |= 1
		}
		if c.Took {
			f |= 2
		}
		if c.Inside {
			f |= 4
		}
		b = append(binary.LittleEndian.AppendUint64(b, c.Hash), f)
	}
	return b
}

// Size is what Append appends at most, in octets.
func (ev *Event) Size() int {
	return 8 + 1 + 5*binary.MaxVarintLen64 + len(ev.Client) + len(ev.User) + len(ev.Sender) + 9*len(ev.Recipients)
}

// maxRecipients bounds the recipients of an event that is read.
const maxRecipients = 100_000

// Read takes an event off b and gives what is left of it. Recipients are read into
// the slice that ev has.
func (ev *Event) Read(b []byte) (rest []byte, err error) {
	r := &reader{rest: b}
	*ev = Event{At: int64(r.u64()), Recipients: ev.Recipients[:0]}
	flags := r.u8()
	ev.Alone, ev.Shadowed = flags&1 != 0, flags&2 != 0
	ev.Client, ev.User, ev.Sender = r.str(), r.str(), r.str()
	ev.Away = r.num()
	count := r.num()
	if r.bad || count > maxRecipients || ev.Away > maxRecipients || ev.Client == "" || ev.At < 0 || ev.At > math.MaxUint32 {
		return nil, errCut
	}
	for range count {
		h, f := r.u64(), r.u8()
		ev.Recipients = append(ev.Recipients, Recipient{Hash: h, Refused: f&1 != 0, Took: f&2 != 0, Inside: f&4 != 0})
	}
	return r.rest, r.err()
}
