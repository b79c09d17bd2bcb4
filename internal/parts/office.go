package parts

import (
	"bytes"
	"encoding/binary"
)

// Marks in the documents of Office before 2007, and around the encrypted ones of
// today ([MS-OFFCRYPTO], [MS-DOC], [MS-XLS]).
var (
	olePackage  = wide("EncryptedPackage")
	oleSummary  = wide("EncryptedSummary")
	oleMSI      = []byte("\x84\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46")
	oleMessage  = wide("__substg1.0_3707") // the name of an attachment of Outlook
	oleWorkbook = []byte("\x09\x08\x10\x00\x00\x06")
)

// wide is s in UTF-16.
func wide(s string) []byte {
	b := make([]byte, 0, 2*len(s))
	for i := range len(s) {
		b = append(b, s[i], 0)
	}
	return b
}

// ole looks for marks of encryption in a compound file, and for that of an
// installer.
func (f *file) ole(until int) {
	b := f.window[f.looked:]
	if bytes.Contains(b, olePackage) || bytes.Contains(b, oleSummary) {
		f.w.encrypted("office")
	}
	if bytes.Contains(b, oleMSI) {
		f.w.kind("msi")
	}
	f.outlook(until)
	// Streams begin with a sector.
	const sector = 512
	for i := f.looked + int((sector-(f.at+int64(f.looked))%sector)%sector); i < until && i+64 <= len(f.window); i += sector {
		s := f.window[i:]
		switch {
		case isMZ(s):
			f.letter.program = true
		case s[0] == 0xec && s[1] == 0xa5 && s[3] == 0 && binary.LittleEndian.Uint16(s[10:])&0x100 != 0:
			f.w.encrypted("office") // fEncrypted of a document's FIB
		case bytes.HasPrefix(s, oleWorkbook) && filePass(s[20:64]):
			f.w.encrypted("office")
		}
	}
}

// letterFile is what was seen of a message that Outlook has written into a compound
// file (.msg). Which of it is an attachment shows only once all of it has passed.
type letterFile struct {
	attached    bool   // it has attachments
	program     bool   // a stream in it begins like a program
	entry, name string // the first text in it that the rules refuse as a name
}

// outlook looks for names in UTF-16, in which Outlook writes those of attachments.
func (f *file) outlook(until int) {
	l, b := &f.letter, f.window
	l.attached = l.attached || bytes.Contains(b[f.looked:], oleMessage)
	for i := f.looked; i < until && l.entry == ""; {
		j := bytes.Index(b[i:until], []byte(".\x00"))
		if j < 0 {
			return
		}
		begun := i
		if i += j; (f.at+int64(i))%2 != 0 {
			i++
			continue
		}
		start, end := i, i
		for start-2 >= begun && i-start < 128 && b[start-1] == 0 && b[start-2] >= ' ' {
			start -= 2
		}
		for end+1 < len(b) && end-i < 128 && b[end+1] == 0 && b[end] >= ' ' {
			end += 2
		}
		if entry, ok := f.w.want.Refused.match(trimName(f.w.normal(f.w.narrow(b[start:end])))); ok {
			l.entry, l.name = entry, string(f.w.name.form)
		}
		i = end
	}
}

func (f *file) finishLetter() {
	l := &f.letter
	switch {
	case !l.attached || f.w.over():
	case l.entry != "":
		f.w.report.Refused, f.w.report.Name = l.entry, l.name
	case l.program:
		f.w.kind("exe")
	}
}

// filePass reports whether the records at the start of a workbook hold FilePass.
func filePass(b []byte) bool {
	for len(b) >= 4 {
		n := 4 + int(binary.LittleEndian.Uint16(b[2:]))
		switch binary.LittleEndian.Uint16(b) {
		case 0x2f:
			return true
		case 0x86, 0x5c, 0x60, 0xe1, 0xc1, 0xe2: // what may stand in front of it
		default:
			return false
		}
		if n > len(b) {
			return false
		}
		b = b[n:]
	}
	return false
}

// pdf looks for the key Encrypt of a trailer (ISO 32000-2 s. 7.5.5), of which each
// letter may be written as a number.
func (f *file) pdf(until int) {
	for i := f.looked; i < until; i++ {
		j := bytes.IndexByte(f.window[i:until], '/')
		if j < 0 {
			return
		}
		i += j
		if encrypts(f.window[i+1:]) {
			f.w.encrypted("pdf")
			return
		}
	}
}

func encrypts(b []byte) bool {
	for _, c := range []byte("Encrypt") {
		switch {
		case len(b) > 0 && b[0] == c:
			b = b[1:]
		case len(b) > 2 && b[0] == '#' && unhex(b[1]) >= 0 && unhex(b[2]) >= 0 && byte(unhex(b[1])<<4|unhex(b[2])) == c:
			b = b[3:]
		default:
			return false
		}
	}
	b = bytes.TrimLeft(b[:min(len(b), 100)], " \t\r\n\f\x00")
	return len(b) > 0 && (b[0] == '<' || b[0] >= '0' && b[0] <= '9' || b[0] == '%')
}
