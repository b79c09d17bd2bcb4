package parts

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// rarFile is where the next block of a RAR file begins.
type rarFile struct {
	version int // 0: none was found
	next    int64
	done    bool
}

// rars follows the blocks of a RAR file (versions 4 and 5), which may begin behind a
// program that unpacks it.
func (f *file) rars(until int) {
	r := &f.rar
	if r.version == 0 {
		i := bytes.Index(f.window[f.looked:], []byte("Rar!\x1a\x07"))
		if i < 0 || f.looked+i >= until || f.looked+i+8 > len(f.window) {
			return
		}
		i += f.looked
		if r.version, r.next = 4, f.at+int64(i)+7; f.window[i+6] == 1 {
			r.version, r.next = 5, r.next+1
		}
	}
	for !r.done && r.next >= f.at && r.next < f.at+int64(until) {
		b := f.window[r.next-f.at:]
		size := int64(0)
		if r.version == 5 {
			size = f.rar5(b)
		} else {
			size = f.rar4(b)
		}
		if size <= 0 {
			r.done = true
		}
		r.next += size
	}
}

// rar4 takes a block, and returns how long it is with what belongs to it; 0 when it
// is the last.
func (f *file) rar4(b []byte) int64 {
	if len(b) < 7 {
		return 0
	}
	sort, flags, size := b[2], binary.LittleEndian.Uint16(b[3:]), int64(binary.LittleEndian.Uint16(b[5:]))
	if size < 7 || size > int64(len(b)) {
		f.w.ambiguous("RAR file that cannot be read")
		return 0
	}
	if sort == 0x73 && flags&0x80 != 0 { // its headers are encrypted
		f.w.encrypted("rar")
		return 0
	}
	if sort == 0x7b {
		return 0
	}
	total := size
	if (sort == 0x74 || sort == 0x7a || flags&0x8000 != 0) && size >= 11 {
		total += int64(binary.LittleEndian.Uint32(b[7:]))
	}
	if sort != 0x74 || size < 32 {
		return total
	}
	if flags&4 != 0 {
		f.w.encrypted("rar")
	}
	at := int64(32)
	if flags&0x100 != 0 && size >= 40 {
		total += int64(binary.LittleEndian.Uint32(b[32:])) << 32
		at = 40
	}
	name := cut(b[at:size], int64(binary.LittleEndian.Uint16(b[26:])))
	if old, wide, ok := bytes.Cut(name, []byte{0}); ok && flags&0x200 != 0 {
		f.rar4Wide(old, wide)
		name = old
	}
	f.name(name)
	return total
}

// rar4Wide takes a name in Unicode, which is packed and refers to the other name.
func (f *file) rar4Wide(old, packed []byte) {
	n := numbers{b: packed}
	high := n.octet()
	out := f.w.name.data[:0]
	put := func(lo, hi byte) { out = append(out, lo, hi) }
	for flags, bits := byte(0), 0; len(n.b) > 0 && len(out) < maxValue; bits -= 2 {
		if bits == 0 {
			flags, bits = n.octet(), 8
		}
		switch flags >> (bits - 2) & 3 {
		case 0:
			put(n.octet(), 0)
		case 1:
			put(n.octet(), high)
		case 2:
			lo := n.octet()
			put(lo, n.octet())
		case 3:
			count, add, hi := n.octet(), byte(0), byte(0)
			if count&0x80 != 0 {
				add, hi = n.octet(), high
			}
			for i := 0; i < int(count&0x7f)+2 && len(out)/2 < len(old); i++ {
				put(old[len(out)/2]+add, hi)
			}
		}
	}
	f.w.name.data = out
	f.w.match(f.w.narrow(out))
}

// rar5 is rar4 for version 5.
func (f *file) rar5(b []byte) int64 {
	if len(b) < 7 {
		return 0
	}
	h := numbers{b: b[4:]}
	size := h.next()
	start := int64(len(b) - len(h.b))
	if size <= 0 || size > int64(len(h.b)) {
		f.w.ambiguous("RAR file that cannot be read")
		return 0
	}
	h.b = h.b[:size]
	total := start + size
	sort, flags := h.next(), h.next()
	extra := int64(0)
	if flags&1 != 0 {
		extra = h.next()
	}
	if flags&2 != 0 {
		total += h.next()
	}
	switch sort {
	case 4:
		f.w.encrypted("rar")
		return 0
	case 5:
		return 0
	case 2:
		f.rar5File(&h, extra)
	}
	return total
}

func (f *file) rar5File(h *numbers, extra int64) {
	records := numbers{b: h.b[max(0, int64(len(h.b))-max(0, extra)):]}
	flags := h.next()
	h.next() // unpacked size
	h.next() // attributes
	if flags&2 != 0 {
		h.skip(4)
	}
	if flags&4 != 0 {
		h.skip(4)
	}
	h.next() // compression
	h.next() // system
	n := h.next()
	f.name(cut(h.b, n))
	for len(records.b) > 0 {
		size := records.next()
		if size <= 0 || size > int64(len(records.b)) {
			return
		}
		r := numbers{b: records.b[:size]}
		if r.next() == 1 {
			f.w.encrypted("rar")
		}
		records.skip(size)
	}
}

// numbers reads integers of seven bits an octet, the least first. Behind the end all
// are 0.
type numbers struct{ b []byte }

func (n *numbers) next() (v int64) {
	for shift := 0; len(n.b) > 0 && shift < 56; shift += 7 {
		c := n.b[0]
		n.b = n.b[1:]
		if v |= int64(c&0x7f) << shift; c < 0x80 {
			return v
		}
	}
	return v
}

func (n *numbers) octet() (c byte) {
	if len(n.b) > 0 {
		c, n.b = n.b[0], n.b[1:]
	}
	return c
}

func (n *numbers) skip(k int64) { n.b = n.b[min(k, int64(len(n.b))):] }

// sevenFile keeps the end of a 7z file, where its directory lies, and what is packed
// in front of it.
type sevenFile struct {
	base   int64 // where what the offsets count from begins; 0: no such file
	header int64 // where the directory begins, from base
	size   int64
	from   int64 // where held begins in the file
	held   []byte
	next   int64 // the octet of the file that is to be held next
}

const (
	sevenStart  = 32
	sevenBefore = 32 << 10 // octets in front of the directory
	sevenMost   = 32 << 10 // octets of it
)

// sevens finds a 7z file and keeps its end.
func (f *file) sevens(until int) {
	s := &f.seven
	if s.base == 0 {
		i := bytes.Index(f.window[f.looked:], []byte("7z\xbc\xaf\x27\x1c"))
		if i < 0 || f.looked+i >= until || f.looked+i+sevenStart > len(f.window) {
			return
		}
		i += f.looked
		b := f.window[i:]
		s.base = f.at + int64(i) + sevenStart
		s.header, s.size = int64(binary.LittleEndian.Uint64(b[12:])), int64(binary.LittleEndian.Uint64(b[20:]))
		if s.header < 0 || s.size < 0 || s.header > 1<<40 || s.size > 1<<40 {
			f.w.ambiguous("7z file that cannot be read")
			s.header, s.size = 0, 0
		}
		s.from = s.base + max(0, s.header-sevenBefore)
		s.next = s.from
	}
	end := min(f.at+int64(len(f.window)), s.base+s.header+min(s.size, sevenMost))
	if begin := max(s.next, f.at); begin == s.next && begin < end {
		s.held = append(s.held, f.window[begin-f.at:end-f.at]...)
		s.next = end
	}
}

// The identifiers of methods in a 7z directory.
var (
	sevenAES  = []byte("\x06\xf1\x07\x01")
	sevenLZMA = []byte("\x23\x03\x01\x01\x05")
)

// finishSeven reads the directory of a 7z file.
func (f *file) finishSeven() {
	s := &f.seven
	if s.base == 0 || f.w.over() || s.size == 0 {
		return
	}
	at := s.base + s.header - s.from
	if at >= int64(len(s.held)) {
		f.w.ambiguous("7z file without its directory")
		return
	}
	header := s.held[at:]
	if bytes.Contains(header, sevenAES) {
		f.w.encrypted("7z")
		return
	}
	switch header[0] {
	case 0x01:
		f.sevenNames(header)
	case 0x17:
		f.sevenPacked(header)
	default:
		f.w.ambiguous("7z file that cannot be read")
	}
}

// sevenPacked unpacks a directory that is packed itself, by LZMA.
func (f *file) sevenPacked(header []byte) {
	const unread = "7z file that cannot be read"
	s := &f.seven
	if len(header) < 2 {
		f.w.ambiguous(unread)
		return
	}
	n := sevenNumbers{header[2:]}
	position, streams := n.next(), n.next()
	sizes := n.octet()
	packed := n.next()
	coder := bytes.Index(header, sevenLZMA)
	if header[1] != 0x06 || streams != 1 || sizes != 0x09 || coder < 0 || coder+10 > len(header) {
		f.w.ambiguous(unread)
		return
	}
	props := header[coder+5 : coder+10]
	n = sevenNumbers{header[coder+10:]}
	if n.octet() != 0x0c {
		f.w.ambiguous(unread)
		return
	}
	unpacked := n.next()
	from := s.base + position - s.from
	lc, lp := props[0]%9, props[0]/9%5
	if from < 0 || packed < 0 || packed > sevenBefore || from+packed > int64(len(s.held)) || unpacked < 0 || unpacked > maxUnpacked || lc+lp > 4 {
		f.w.ambiguous(unread)
		return
	}
	directory, err := unpackLZMA(s.held[from:from+packed], props, unpacked)
	switch {
	case err != nil:
		f.w.ambiguous(unread)
	case bytes.Contains(directory, sevenAES):
		f.w.encrypted("7z")
	default:
		f.sevenNames(directory)
	}
}

func unpackLZMA(packed, props []byte, size int64) ([]byte, error) {
	// No distance is longer than what is unpacked.
	var head [13]byte
	head[0] = props[0]
	binary.LittleEndian.PutUint32(head[1:], uint32(max(size, 4096)))
	binary.LittleEndian.PutUint64(head[5:], uint64(size))
	r, err := lzma.NewReader(io.MultiReader(bytes.NewReader(head[:]), bytes.NewReader(packed)))
	if err != nil {
		return nil, err
	}
	out := make([]byte, size)
	_, err = io.ReadFull(r, out)
	return out, err
}

// sevenNames takes the names in a directory: property 0x11, its size, a zero, and
// names in UTF-16 with a zero behind each.
func (f *file) sevenNames(b []byte) {
	for i := range b {
		if b[i] != 0x11 {
			continue
		}
		n := sevenNumbers{b[i+1:]}
		size := n.next()
		if size < 3 || size%2 == 0 || size > int64(len(n.b)) || n.b[0] != 0 {
			continue
		}
		v := n.b[1:size]
		if len(v) < 2 || v[len(v)-1] != 0 || v[len(v)-2] != 0 {
			continue
		}
		for start, at := 0, 0; at+1 < len(v); at += 2 {
			if v[at] == 0 && v[at+1] == 0 {
				f.w.match(f.w.narrow(cut(v[start:at], maxValue)))
				start = at + 2
			}
		}
	}
}

// sevenNumbers reads integers as 7z writes them: the leading ones of the first octet
// say how many octets follow.
type sevenNumbers struct{ b []byte }

func (n *sevenNumbers) octet() byte {
	if len(n.b) == 0 {
		return 0
	}
	c := n.b[0]
	n.b = n.b[1:]
	return c
}

func (n *sevenNumbers) next() (v int64) {
	first := n.octet()
	mask := byte(0x80)
	for i := range 8 {
		if first&mask == 0 {
			return v + int64(first&(mask-1))<<(8*i)
		}
		v |= int64(n.octet()) << (8 * i)
		mask >>= 1
	}
	return v
}
