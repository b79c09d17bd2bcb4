package parts

import "bytes"

// part is what is known of a part while it passes.
type part struct {
	w      *walk
	level  *level
	depth  int
	header int // octets of its Content fields
	fields int

	kind      kind
	signed    bool // it is S/MIME, which may hold a message that is not encrypted
	charset   string
	typed     uint64 // hash of its Content-Type; 0: none yet
	encoded   uint64 // likewise of its encoding
	multipart bool   // its type says that it is one

	base64, quoted, plain bool // the encodings that it may have

	open    bool // its header is read
	line    bool // a line of it has begun
	begun   bool // a line of it was not empty
	decoder base64Decoder
	quoting quotedDecoder
	streams [3]stream // as it is, from base64, from quoted-printable
}

// kind is the sort of a part by its type.
type kind int

const (
	otherKind kind = iota
	textKind
	htmlKind
	messageKind
)

func (p *part) reset(w *walk, l *level, depth int) {
	*p = part{w: w, level: l, depth: depth, kind: textKind, plain: true}
}

// setType takes a Content-Type.
func (p *part) setType(w *walk, v []byte) {
	v = bytes.TrimSpace(v)
	h := p.level.hash(v) | 1
	if p.typed != 0 && p.typed != h {
		w.ambiguous("two Content-Type fields")
	}
	p.typed = h
	w.fold = uncomment(w.fold[:0], v[:min(len(v), maxValue)])
	w.joined = lower(w.joined[:0], w.fold)
	t, _, _ := bytes.Cut(w.joined, []byte(";"))
	kind := otherKind
	switch {
	case bytes.Contains(t, []byte("message/partial")):
		w.ambiguous("part of a message that others go on with")
	case bytes.Contains(t, []byte("message/rfc822")), bytes.Contains(t, []byte("message/global")), bytes.Contains(t, []byte("message/news")):
		kind = messageKind
	case bytes.Contains(t, []byte("pkcs7-mime")):
		p.signed = true
	case bytes.Contains(t, []byte("mimearchive")):
		w.mail = true
	case bytes.Contains(t, []byte("html")):
		kind = htmlKind
	case bytes.Contains(t, []byte("text/")), len(bytes.Trim(t, ` "`)) == 0:
		kind = textKind
	case bytes.Contains(t, []byte("multipart/")):
		kind = textKind // what stands around its parts
		p.multipart = true
	}
	if p.kind == textKind || kind == messageKind {
		p.kind = kind
	}
	for _, known := range typeNames {
		if bytes.Contains(t, []byte(known.media)) {
			w.kind(known.kind)
		}
	}
	if _, rest, ok := bytes.Cut(w.joined, []byte("charset")); ok {
		rest = bytes.Trim(bytes.TrimLeft(rest, "* \t="), ` "'`)
		if i := bytes.IndexAny(rest, "; \t\"'"); i >= 0 {
			rest = rest[:i]
		}
		p.charset = string(rest[:min(len(rest), 40)])
	}
}

// typeNames are types for which readers find an extension of their own where a part
// has no name.
var typeNames = [...]struct{ media, kind string }{
	{"msdownload", "exe"}, {"x-dosexec", "exe"}, {"portable-executable", "exe"}, {"x-msdos-program", "exe"}, {"/x-exe", "exe"},
	{"x-executable", "elf"}, {"javascript", "js"}, {"ecmascript", "js"}, {"/hta", "hta"}, {"vbscript", "vbs"}, {"java-archive", "jar"},
	{"iso9660", "iso"}, {"x-cd-image", "iso"}, {"x-ms-shortcut", "lnk"}, {"x-msi", "msi"}, {"x-sh", "sh"}, {"x-shellscript", "sh"},
	{"x-bat", "bat"}, {"x-powershell", "ps1"}, {"x-zip", "zip"}, {"application/zip", "zip"}, {"vnd.rar", "rar"}, {"x-rar", "rar"},
	{"x-7z", "7z"},
}

// setEncoding takes a Content-Transfer-Encoding. What is not known is read in all
// ways.
func (p *part) setEncoding(w *walk, v []byte) {
	w.fold = uncomment(w.fold[:0], v[:min(len(v), maxValue)])
	w.joined = lower(w.joined[:0], w.fold)
	t := bytes.Trim(w.joined, " \t\"';")
	h := p.level.hash(t) | 1
	if p.encoded != 0 && p.encoded != h {
		w.ambiguous("two Content-Transfer-Encoding fields")
	}
	if p.encoded == 0 {
		p.plain = false
	}
	p.encoded = h
	switch {
	case bytes.Equal(t, []byte("base64")):
		p.base64 = true
	case bytes.Equal(t, []byte("quoted-printable")):
		p.quoted = true
	case len(t) == 0, bytes.Equal(t, []byte("7bit")), bytes.Equal(t, []byte("8bit")), bytes.Equal(t, []byte("binary")), bytes.Contains(t, []byte("uu")):
		p.plain = true
	default:
		p.base64, p.quoted, p.plain = true, true, true
	}
}

func lower(to, v []byte) []byte {
	for _, c := range v {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		to = append(to, c)
	}
	return to
}

// encodes reports whether the part holds octets that have to be decoded.
func (p *part) encodes() bool { return p.open && p.base64 && !p.multipart }

// matters reports whether the part would be another one without its fields.
func (p *part) matters() bool {
	return p.multipart || p.base64 || p.quoted || p.kind == messageKind || p.kind == otherKind
}

// inline reports whether a message follows as it is.
func (p *part) inline() bool { return p.kind == messageKind && p.plain && !p.base64 && !p.quoted }

// begin makes ready for what follows the header.
func (p *part) begin() {
	p.open = true
	if p.multipart {
		if p.base64 {
			p.w.ambiguous("encoded multipart")
		}
		p.level.quoted = p.level.quoted || p.quoted
		p.base64, p.quoted, p.plain = false, false, true
	}
	text := p.kind == textKind || p.kind == htmlKind || p.w.html
	inner := (p.w.mail || p.kind == messageKind || p.signed) && !p.multipart
	encodings := 0
	for i, has := range [...]bool{p.plain, p.base64, p.quoted} {
		if !has {
			continue
		}
		encodings++
		if inner && encodings == 2 {
			p.w.ambiguous("message in an unknown encoding")
		}
		p.streams[i].begin(p, text && encodings == 1, inner && encodings == 1)
	}
}

// body takes a line, or a piece of one.
func (p *part) body(b []byte, start bool) {
	p.line = true
	if !p.begun && len(b) > 0 {
		p.begun = true
		if p.kind == messageKind && start && isField(b) {
			p.w.ambiguous("message that is encoded only by its header")
		}
	}
	if p.plain {
		p.streams[0].write(b)
	}
	if p.base64 {
		p.unbase64(b)
	}
	if p.quoted {
		p.unquote(b)
	}
}

func (p *part) unbase64(b []byte) {
	var out [1026]byte
	for len(b) > 0 {
		n := min(len(b), 1360)
		p.streams[1].write(out[:p.decoder.decode(out[:], b[:n])])
		b = b[n:]
	}
}

func (p *part) unquote(b []byte) {
	var out [1026]byte
	for len(b) > 0 {
		n := min(len(b), 512) // each octet may free two that were held
		p.streams[2].write(p.quoting.decode(out[:0], b[:n]))
		b = b[n:]
	}
}

// newline takes the end of a line of the body, and reports whether it belongs to
// the part.
func (p *part) newline(b []byte) bool {
	if !p.line {
		return false
	}
	p.line = false
	p.raw(b)
	if p.quoted {
		var out [8]byte
		p.streams[2].write(p.quoting.newline(out[:0]))
	}
	return true
}

// raw takes octets of a line's end.
func (p *part) raw(b []byte) {
	if p.open && p.plain {
		p.streams[0].write(b)
	}
}

// end takes the end of the part.
func (p *part) end() {
	if !p.open {
		return
	}
	p.open = false
	if p.base64 {
		var out [3]byte
		p.streams[1].write(out[:p.decoder.flush(out[:])])
		if d := &p.decoder; !p.plain && (d.broke || d.junk && p.kind == otherKind) {
			p.w.ambiguous("damaged base64")
		}
	}
	for i := range p.streams {
		p.streams[i].end()
	}
}
