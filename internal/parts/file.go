package parts

import (
	"bytes"
	"encoding/binary"
)

const (
	windowSize = 16 << 10
	// carry is how much of a window stays for the next: the longest record of an
	// archive that is read in one piece.
	carry = 4 << 10
)

// file looks at the octets of one attachment as they pass.
type file struct {
	w      *walk
	window []byte
	at     int64 // where in the file window begins
	looked int   // octets of window in which no record begins that has not been seen
	sort   fileSort

	zip   zipFile
	rar   rarFile
	seven sevenFile

	letter letterFile
}

// fileSort is what the first octets say.
type fileSort int

const (
	notYet fileSort = iota
	otherFile
	zipSort
	oleSort
	pdfSort
	tnefSort
)

func (f *file) reset(w *walk) {
	seven := f.seven.held[:0]
	*f = file{w: w, window: f.window[:0]}
	f.seven.held = seven
}

func (f *file) write(b []byte) {
	for len(b) > 0 {
		n := copy(f.window[len(f.window):cap(f.window)], b)
		f.window = f.window[:len(f.window)+n]
		b = b[n:]
		if len(f.window) == cap(f.window) {
			f.look(len(f.window) - carry)
			f.slide(len(f.window) - carry)
		}
	}
}

// slide drops the first n octets of the window.
func (f *file) slide(n int) {
	f.window = f.window[:copy(f.window, f.window[n:])]
	f.at += int64(n)
	f.looked = max(0, f.looked-n)
}

// end takes the end of the file, and gives its window back.
func (f *file) end() {
	if len(f.window) > 0 {
		f.look(len(f.window))
	}
	f.finishZip()
	f.finishSeven()
	f.finishLetter()
	f.w.files = append(f.w.files, f)
}

// look looks at records that begin before the octet until of the window.
func (f *file) look(until int) {
	if f.w.over() {
		return
	}
	b := f.window
	if f.at == 0 && f.sort == notYet {
		f.first(b)
	}
	if i := 32769 - f.at; i >= 0 && i+5 <= int64(len(b)) {
		if m := string(b[i : i+5]); m == "CD001" || m == "BEA01" {
			f.w.kind("iso")
		}
	}
	f.sevens(until)
	f.zips(until)
	f.rars(until)
	switch f.sort {
	case oleSort:
		f.ole(until)
	case pdfSort:
		f.pdf(until)
	case tnefSort:
		f.tnef(until)
	}
	f.looked = max(f.looked, until)
}

// magics are first octets that tell a kind.
var magics = [...]struct{ octets, kind string }{
	{"\x7fELF", "elf"}, {"7z\xbc\xaf\x27\x1c", "7z"}, {"Rar!\x1a\x07", "rar"}, {"\x1f\x8b\x08", "gz"}, {"BZh", "bz2"}, {"\xfd7zXZ\x00", "xz"},
	{"\x28\xb5\x2f\xfd", "zst"}, {"MSCF\x00\x00\x00\x00", "cab"}, {"ITSF\x03\x00\x00\x00", "chm"}, {"{\\rtf", "rtf"},
	{"L\x00\x00\x00\x01\x14\x02\x00", "lnk"}, {"\xca\xfe\xba\xbe", "class"}, {"\xcf\xfa\xed\xfe", "macho"}, {"\xce\xfa\xed\xfe", "macho"},
	{"\xfe\xed\xfa\xcf", "macho"}, {"\xfe\xed\xfa\xce", "macho"}, {"vhdxfile", "vhdx"}, {"conectix", "vhd"},
	{"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", "one"}, {"FWS", "swf"}, {"CWS", "swf"}, {"ZWS", "swf"},
	{"\x00asm", "wasm"}, {"**ACE**", "ace"}, {"#!/", "sh"},
}

// first tells the sort of a file by its first octets.
func (f *file) first(b []byte) {
	f.sort = otherFile
	switch {
	case bytes.HasPrefix(b, []byte("PK\x03\x04")), bytes.HasPrefix(b, []byte("PK\x05\x06")), bytes.HasPrefix(b, []byte("PK00PK\x03\x04")):
		f.sort = zipSort
	case bytes.HasPrefix(b, []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")):
		f.sort = oleSort
		f.w.kind("ole")
	case bytes.HasPrefix(b, []byte("\x78\x9f\x3e\x22")):
		f.sort = tnefSort
	case bytes.Contains(b[:min(len(b), 1024)], []byte("%PDF-")):
		f.sort = pdfSort
		f.w.kind("pdf")
	case isMZ(b):
		f.w.kind("exe")
	case len(b) >= 262 && string(b[257:262]) == "ustar":
		f.w.kind("tar")
	}
	for _, m := range magics {
		if len(b) >= len(m.octets) && string(b[:len(m.octets)]) == m.octets {
			f.w.kind(m.kind)
		}
	}
}

// isMZ reports whether b begins a program of Windows or DOS, and not a text with
// these two letters: its header is never text.
func isMZ(b []byte) bool {
	return len(b) > 2 && (b[0] == 'M' && b[1] == 'Z' || b[0] == 'Z' && b[1] == 'M') &&
		bytes.ContainsFunc(b[2:min(len(b), 64)], func(r rune) bool { return r < '\t' })
}

// tnef looks for the names and contents of the attachments of a winmail.dat
// ([MS-OXTNEF]).
func (f *file) tnef(until int) {
	for i := f.looked; i < until; i++ {
		b := f.window[i:]
		switch {
		case len(b) < 12:
			return
		case string(b[:5]) == "\x02\x10\x80\x01\x00": // attAttachTitle
			f.name(cut(b[9:], int64(binary.LittleEndian.Uint32(b[5:9]))))
		case string(b[:5]) == "\x02\x0f\x80\x06\x00": // attAttachData
			f.within(cut(b[9:], int64(binary.LittleEndian.Uint32(b[5:9]))))
		case (b[0] == 0x1e || b[0] == 0x1f) && b[1] == 0 && (b[2] == 7 || b[2] == 4 || b[2] == 1) && (b[3] == 0x37 || b[3] == 0x30) && string(b[4:8]) == "\x01\x00\x00\x00":
			// PidTagAttachLongFilename, PidTagAttachFilename, PidTagDisplayName
			v := cut(b[12:], int64(binary.LittleEndian.Uint32(b[8:12])))
			if b[0] == 0x1f {
				v = f.w.narrow(v)
			}
			f.name(v)
		}
	}
}

// within looks at the first octets of what lies in another file.
func (f *file) within(b []byte) {
	inner := file{w: f.w}
	inner.first(b)
}

// cut returns at most n octets, of those that are there.
func cut(b []byte, n int64) []byte { return b[:max(0, min(n, int64(len(b)), maxValue))] }

// name takes a name that a file holds.
func (f *file) name(v []byte) { f.w.match(bytes.TrimRight(v, "\x00")) }

// narrow turns UTF-16 into UTF-8; what is not ASCII is a question mark, but for
// forms of ASCII letters.
func (w *walk) narrow(v []byte) []byte {
	to := w.name.decoded[:0]
	for i := 0; i+1 < len(v); i += 2 {
		switch c := binary.LittleEndian.Uint16(v[i:]); {
		case c < 0x80:
			to = append(to, byte(c))
		case c >= 0xff01 && c <= 0xff5e:
			to = append(to, byte(c-0xff01+'!'))
		default:
			to = append(to, '?')
		}
	}
	w.name.decoded = to
	return to
}
