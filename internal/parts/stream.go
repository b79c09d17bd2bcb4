package parts

import "bytes"

// stream is what a part holds by one of its encodings.
type stream struct {
	w      *walk
	file   *file
	nested *level
	// envelope takes the S/MIME around nested away; nil: there is none.
	envelope *envelope
	uu       uuFinder
	text     bool
	html     bool

	charset string
}

// begin makes ready. text: it is what readers show or open as text; inner: it is, or
// holds, a message.
func (s *stream) begin(p *part, text, inner bool) {
	w := p.w
	*s = stream{w: w, file: w.newFile(), html: p.kind == htmlKind || w.html, charset: p.charset}
	s.uu = uuFinder{w: w, start: true}
	switch {
	case !inner:
		s.text = text && w.want.Text != nil
	case p.level.nested >= maxNested:
		w.ambiguous("encoded messages more than 8 deep")
	default:
		s.nested = w.newLevel(p.depth+1, p.level.nested+1)
		s.nested.lenient = p.kind != messageKind
		if p.signed || w.signed {
			s.envelope = &envelope{}
		}
		s.nested.message()
	}
	if s.text {
		w.text = w.text[:0]
	}
}

func (s *stream) write(b []byte) {
	w := s.w
	if w == nil || len(b) == 0 || w.over() {
		return
	}
	s.file.write(b)
	s.uu.write(b)
	switch {
	case s.envelope != nil:
		s.envelope.open(w, b, s.nested)
	case s.nested != nil:
		s.nested.write(b)
	}
	if s.text {
		s.keep(b)
	}
}

// keep keeps text up to its bounds.
func (s *stream) keep(b []byte) {
	w := s.w
	room := min(maxText, maxTextTotal-w.textUsed) - len(w.text)
	if len(b) > room {
		w.report.TextLeft = true
		b = b[:max(0, room)]
	}
	w.text = append(w.text, b...)
}

// end takes the end of the part.
func (s *stream) end() {
	if s.w == nil {
		return
	}
	w := s.w
	s.uu.end()
	if s.nested != nil {
		s.nested.end()
	}
	s.file.end()
	if s.text && len(w.text) > 0 && !w.over() {
		w.textUsed += len(w.text)
		w.want.Text(&Text{HTML: s.html, Charset: s.charset, Octets: w.text})
	}
	s.w = nil
}

// uuFinder looks in text for files that stand there as text: uuencoded, yEnc or
// BinHex.
type uuFinder struct {
	w     *walk
	start bool // the next octet begins a line
	skip  bool // this line says nothing
	line  [256]byte
	have  int
	file  *file // of the file that is being decoded
}

func (u *uuFinder) write(b []byte) {
	for len(b) > 0 {
		if u.skip {
			i := bytes.IndexByte(b, '\n')
			if i < 0 {
				return
			}
			b, u.skip = b[i+1:], false
			continue
		}
		c := b[0]
		switch {
		case c == '\n':
			u.judge()
			b = b[1:]
		case u.have == 0 && u.file == nil && c|0x20 != 'b' && c != '=' && c != '(':
			u.skip = true
		case u.have == len(u.line):
			u.judge()
			u.skip = true
		default:
			n := bytes.IndexByte(b, '\n')
			if n < 0 {
				n = len(b)
			}
			n = copy(u.line[u.have:], b[:n])
			u.have += n
			b = b[n:]
		}
	}
}

// judge takes a line.
func (u *uuFinder) judge() {
	line := bytes.TrimRight(u.line[:u.have], "\r")
	u.have = 0
	if u.file != nil && u.decode(line) {
		return
	}
	switch {
	case hasFold(line, "begin"):
		if name := beginName(line); len(name) > 0 {
			u.w.candidate(name)
			u.close()
			u.file = u.w.newFile()
		}
	case hasFold(line, "=ybegin "):
		if _, name, ok := bytes.Cut(line, []byte("name=")); ok {
			u.w.candidate(name)
			u.w.ambiguous("yEnc file in text")
		}
	case hasFold(line, "(this file must be converted with binhex"):
		u.w.ambiguous("BinHex file in text")
	}
}

// beginName is the name in the line before a uuencoded file: "begin 644 name", or as
// Outlook has it, any word behind two spaces.
func beginName(line []byte) []byte {
	rest := line[len("begin"):]
	if hasFold(rest, "-base64") {
		rest = rest[len("-base64"):]
	}
	if len(rest) < 2 || rest[0] != ' ' && rest[0] != '\t' {
		return nil
	}
	two := rest[1] == ' '
	rest = bytes.TrimLeft(rest, " \t")
	i := 0
	for i < len(rest) && rest[i] >= '0' && rest[i] <= '7' {
		i++
	}
	switch {
	case i >= 3 && i < len(rest) && (rest[i] == ' ' || rest[i] == '\t'):
		return bytes.TrimSpace(rest[i:])
	case two:
		return bytes.TrimSpace(rest)
	}
	return nil
}

// decode takes a line of a uuencoded file; false where it does not belong to one.
func (u *uuFinder) decode(line []byte) bool {
	if len(line) == 0 {
		return true
	}
	n := int(line[0]-' ') & 63
	if line[0] < ' ' || line[0] > '`' || len(line)-1 < n/3*4 {
		u.close()
		return false
	}
	var out [64]byte
	got := 0
	for v := line[1:]; len(v) > 0 && got+3 <= len(out) && got < n; {
		var q [4]byte
		for i := range min(4, len(v)) {
			q[i] = (v[i] - ' ') & 63
		}
		v = v[min(4, len(v)):]
		out[got], out[got+1], out[got+2] = q[0]<<2|q[1]>>4, q[1]<<4|q[2]>>2, q[2]<<6|q[3]
		got += 3
	}
	if n == 0 {
		u.close()
		return true
	}
	u.file.write(out[:min(got, n)])
	return true
}

func (u *uuFinder) close() {
	if u.file != nil {
		u.file.end()
		u.file = nil
	}
}

func (u *uuFinder) end() {
	if u.have > 0 {
		u.judge()
	}
	u.close()
}
