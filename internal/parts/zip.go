package parts

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
)

// zipFile is what was seen of the directories of a ZIP file (APPNOTE.TXT 6.3.10).
// Readers go by the central directory at its end, or by the local headers in front
// of each file; so both must say the same. Each header adds a hash to a sum, and
// archives that lie unpacked in others add to both sums likewise.
type zipFile struct {
	local, central   uint64 // sums
	locals, centrals int
	ends, named      int // ends of central directories, and the entries that they name
	office           bool
	jar              bool
}

const (
	zipLocal   = 30 // octets of a header without what has no fixed length
	zipCentral = 46
	zipEnd     = 22
	maxZipName = 1024
)

// zips looks for headers of ZIP files.
func (f *file) zips(until int) {
	for i := f.looked; i < until; i++ {
		j := bytes.Index(f.window[i:min(len(f.window), until+3)], []byte("PK"))
		if j < 0 || i+j >= until || i+j+4 > len(f.window) {
			return
		}
		i += j
		b := f.window[i:]
		switch string(b[2:4]) {
		case "\x03\x04":
			f.zipHeader(b, zipLocal)
		case "\x01\x02":
			f.zipHeader(b, zipCentral)
		case "\x05\x06":
			if len(b) >= zipEnd {
				f.zip.ends++
				f.zip.named += int(binary.LittleEndian.Uint16(b[10:]))
			}
		}
	}
}

// zipHeader takes the header of one file in an archive.
func (f *file) zipHeader(b []byte, fixed int) {
	if len(b) < fixed {
		return
	}
	v, z := b[4:], &f.zip
	if fixed == zipCentral {
		v = b[6:]
	}
	flags, method := binary.LittleEndian.Uint16(v[2:]), binary.LittleEndian.Uint16(v[4:])
	nameLength, extraLength := int(binary.LittleEndian.Uint16(v[22:])), int(binary.LittleEndian.Uint16(v[24:]))
	name := b[fixed:min(len(b), fixed+nameLength)]
	if !zipMethod(method) {
		// Nobody can unpack it, or these are octets that look like a header.
		if nameLength <= maxZipName {
			f.zipName(name)
		}
		return
	}
	if len(name) < nameLength || nameLength > maxZipName {
		f.w.ambiguous("name over 1 KiB in a ZIP file")
	}
	extra := b[min(len(b), fixed+nameLength):min(len(b), fixed+nameLength+extraLength)]
	if len(extra) < extraLength && fixed == zipCentral {
		f.w.ambiguous("long extra fields in a ZIP file")
	}
	// Bit 0: encrypted. Bit 13: so is the directory.
	if flags&(1|1<<13) != 0 || method == 99 {
		f.w.encrypted("zip")
	}
	f.zipName(name)
	f.zipExtra(extra)
	h := f.zipHash(name, method, flags&1)
	if fixed == zipCentral {
		z.central, z.centrals = z.central+h, z.centrals+1
	} else {
		z.local, z.locals = z.local+h, z.locals+1
	}
}

func zipMethod(m uint16) bool { return m <= 20 || m >= 93 && m <= 99 }

func (f *file) zipHash(name []byte, method, encrypted uint16) uint64 {
	form := f.w.normal(name)
	for i, c := range form {
		if c == '\\' {
			form[i] = '/'
		}
	}
	form = append(form, byte(method), byte(encrypted))
	f.w.name.form = form
	return maphash.Bytes(f.w.seed, form)
}

func (f *file) zipName(name []byte) {
	switch {
	case bytes.EqualFold(name, []byte("[Content_Types].xml")), bytes.Equal(name, []byte("mimetype")):
		f.zip.office = true
	case bytes.EqualFold(name, []byte("META-INF/MANIFEST.MF")):
		f.zip.jar = true
	}
	if n := len(name); n > 0 && name[n-1] != '/' {
		f.w.match(name)
	}
}

// zipExtra looks for the name that takes the place of the other one (APPNOTE.TXT
// 4.6.9).
func (f *file) zipExtra(v []byte) {
	for len(v) >= 4 {
		id, n := binary.LittleEndian.Uint16(v), int(binary.LittleEndian.Uint16(v[2:]))
		if v = v[4:]; n > len(v) {
			return
		}
		if id == 0x7075 && n > 5 {
			f.w.match(v[5:n])
		}
		v = v[n:]
	}
}

// finishZip says what the file was, and whether its directories agree.
func (f *file) finishZip() {
	z := &f.zip
	if z.locals+z.centrals == 0 && f.sort != zipSort {
		return
	}
	if f.sort == zipSort || z.centrals > 0 && z.ends > 0 {
		switch {
		case z.jar:
			f.w.kind("jar")
		case !z.office:
			f.w.kind("zip")
		}
	}
	if z.central != z.local || z.centrals != z.locals || f.sort == zipSort && z.ends == 0 {
		f.w.ambiguous("ZIP directories that do not agree")
	} else if uint16(z.named) != uint16(z.centrals) && z.named < 0xffff {
		f.w.ambiguous("ZIP directory with another number of files")
	}
}
