package detector

import (
	"encoding/binary"
	"iter"
	"math"

	"postern/outlier/detector/compact"
)

// encode appends the meter.
func (m *meter) encode(w *compact.Writer) {
	w.U32(m.last)
	for i := range m.ring {
		for j := range m.ring[i] {
			for k := range kinds {
				w.U16(compact.Packed(m.ring[i][j][k]))
			}
		}
	}
	for k := range kinds {
		w.F32(m.leak[k])
		for i := range windows {
			w.U16(compact.Packed(64 * m.record[k][i]))
			w.U16(compact.Packed(64 * m.today[k][i]))
		}
	}
	w.U16(m.day)
	w.U16(m.born)
	w.U32(m.messages)
	w.F32(m.away)
	*w = append(*w, m.history[:]...)
}

func (m *meter) decode(r *compact.Reader) {
	m.last = r.U32()
	for i := range m.ring {
		for j := range m.ring[i] {
			for k := range kinds {
				m.ring[i][j][k] = compact.Unpacked(r.U16())
			}
		}
	}
	for k := range kinds {
		m.leak[k] = r.F32()
		for i := range windows {
			m.record[k][i] = compact.Unpacked(r.U16()) / 64
			m.today[k][i] = compact.Unpacked(r.U16()) / 64
		}
	}
	m.day = r.U16()
	m.born = r.U16()
	m.messages = r.U32()
	m.away = r.F32()
	copy(m.history[:], r.Take(historyDays))
}

// encodeTail appends what earlier releases did not know of an entry: its flags,
// when it last counted as a name under alarm, and its runs, nil for none.
func (m *meter) encodeTail(w *compact.Writer, rs *runs) {
	f := m.flags & keptFlags
	f.put(isRegular, rs != nil)
	w.U8(uint8(f))
	w.U8(m.alarmed)
	if rs == nil {
		return
	}
	w.U16(rs.last)
	w.F32(rs.carry)
	rs.inside.encode(w)
	for p := range rs.all() {
		p.encode(w)
	}
}

// decodeTail reads what encodeTail writes.
func (m *meter) decodeTail(r *compact.Reader) *runs {
	m.flags, m.alarmed = flags(r.U8())&keptFlags, r.U8()
	if !m.has(isRegular) {
		return nil
	}
	rs := &runs{last: r.U16(), carry: r.F32()}
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

func (p *run) encode(w *compact.Writer) {
	w.U16(p.day)
	w.U16(p.gap)
	flags := p.times << 1
	if p.loud {
		flags |= 1
	}
	w.U8(flags)
	for k := range p.top {
		for i := range windows {
			w.F32(p.top[k][i])
		}
	}
}

func (p *run) decode(r *compact.Reader) {
	p.day, p.gap = r.U16(), r.U16()
	flags := r.U8()
	p.times, p.loud = min(flags>>1, 2), flags&1 != 0
	for k := range p.top {
		for i := range windows {
			p.top[k][i] = r.F32()
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
	r := &compact.Reader{Rest: b}
	*ev = Event{At: int64(r.U64()), Recipients: ev.Recipients[:0]}
	flags := r.U8()
	ev.Alone, ev.Shadowed = flags&1 != 0, flags&2 != 0
	ev.Client, ev.User, ev.Sender = r.Str(), r.Str(), r.Str()
	ev.Away = r.Num()
	count := r.Num()
	if r.Bad || count > maxRecipients || ev.Away > maxRecipients || ev.Client == "" || ev.At < 0 || ev.At > math.MaxUint32 {
		return nil, compact.ErrCut
	}
	for range count {
		h, f := r.U64(), r.U8()
		ev.Recipients = append(ev.Recipients, Recipient{Hash: h, Refused: f&1 != 0, Took: f&2 != 0, Inside: f&4 != 0})
	}
	return r.Rest, r.Err()
}
