package parts

import (
	"bytes"
	"hash/maphash"
)

// level reads the lines of one message: of the one that leaves, or of one that lies
// encoded in it. Messages that lie in it as they are belong to the same level.
type level struct {
	w      *walk
	nested int

	line    []byte // the start of a line that has not ended
	atStart bool   // the next octet begins a line
	cr      bool   // the last octet was a CR, which ended a line
	fed     bool   // that line belongs to the part

	bounds  map[uint64]int // by hash of each boundary: the depth of its parts
	lengths []int          // of the boundaries, each once

	quoted bool // a multipart says that all of it is quoted-printable

	inHeader bool
	first    bool   // no line of this header has come
	lenient  bool   // it is not certain that this is a message
	pseudo   bool   // this header stands behind a line that is not certainly a boundary
	blank    bool   // a line of white space stood in this header
	behind   bool   // fields stood behind it
	dashes   dashes // what the line before may have been
	field    []byte // the field that has not ended, with LF where it is folded
	keep     bool   // it is a Content field

	part part
}

// dashes is what a line that begins with "--" may be.
type dashes int

const (
	noDashes  dashes = iota
	anyDashes        // some line
	prefixed         // it begins with a boundary
)

// message begins to read a message.
func (l *level) message() {
	l.beginPart(l.part.depth)
	l.header()
}

func (l *level) header() {
	l.inHeader, l.first, l.pseudo, l.blank, l.behind = true, true, false, false, false
}

// beginPart begins a part, whose header comes next.
func (l *level) beginPart(depth int) {
	l.part.reset(l.w, l, depth)
	l.w.mail, l.w.html, l.w.signed = false, false, false
	if l.w.report.Parts++; l.w.report.Parts > maxParts {
		l.w.stop("more than 1000 parts")
	}
}

// write takes what follows of the message.
func (l *level) write(p []byte) {
	for len(p) > 0 && !l.w.over() {
		if l.cr {
			l.cr = false
			if p[0] == '\n' {
				if l.fed {
					l.part.raw(p[:1])
				}
				p = p[1:]
				continue
			}
		}
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			i = len(p)
		}
		if j := bytes.IndexByte(p[:i], '\r'); j >= 0 {
			i = j
		}
		if i == len(p) {
			l.feed(p, false)
			return
		}
		n := i + 1
		if p[i] == '\r' {
			if l.cr = n == len(p); !l.cr && p[n] == '\n' {
				n++
			}
		}
		l.ended(p[:i], p[i:n])
		p = p[n:]
	}
}

// ended takes the end of a line.
func (l *level) ended(p, newline []byte) {
	l.feed(p, true)
	l.fed = l.part.newline(newline)
	l.atStart = true
}

// feed takes octets of a line. Its first maxHeldLine octets are taken together, in
// whatever pieces they come.
func (l *level) feed(p []byte, end bool) {
	if !l.atStart {
		l.take(p, end)
		return
	}
	room := maxHeldLine - len(l.line)
	switch {
	case len(p) <= room && !end:
		l.line = append(l.line, p...)
		return
	case len(p) <= room && len(l.line) == 0:
		l.take(p, true)
		return
	case len(l.line) == 0:
		l.take(p[:room], false)
		l.take(p[room:], end)
		return
	}
	first := min(room, len(p))
	l.line = append(l.line, p[:first]...)
	whole := end && first == len(p)
	l.take(l.line, whole)
	l.line = l.line[:0]
	if !whole {
		l.take(p[first:], end)
	}
}

// take takes a line, or a piece of a long one.
func (l *level) take(p []byte, end bool) {
	start := l.atStart
	l.atStart = false
	if start && l.boundary(p, end) {
		return
	}
	if l.inHeader {
		l.headerLine(p, start, end)
		return
	}
	l.part.body(p, start)
}

// boundary judges a line that may be one between parts, and reports whether it was.
func (l *level) boundary(p []byte, end bool) bool {
	before := l.dashes
	l.dashes = noDashes
	if before != noDashes && !l.inHeader && (hasFold(p, "content-") || before == prefixed && isField(p)) {
		// The line before was a boundary to some reader.
		if l.part.encodes() {
			l.w.ambiguous("line like a boundary in encoded octets")
		}
		l.next(l.part.depth)
		l.pseudo = true
		return false
	}
	if l.quoted && hasFold(p, "=2d") {
		l.w.ambiguous("encoded boundary")
	}
	if len(p) < 2 || p[0] != '-' || p[1] != '-' || !end || len(p) > maxBoundary+8 {
		return false
	}
	b := bytes.TrimRight(p[2:], " \t")
	if depth, ok := l.bounds[l.hash(b)]; ok {
		l.next(l.depthOf(depth))
		return true
	}
	if b, ok := bytes.CutSuffix(b, []byte("--")); ok {
		if depth, ok := l.bounds[l.hash(bytes.TrimRight(b, " \t"))]; ok {
			// Behind the last part; there may be more all the same.
			l.next(l.depthOf(depth))
			l.inHeader = false
			l.part.begin()
			l.dashes = prefixed
			return true
		}
	}
	l.dashes = anyDashes
	if l.begins(b) {
		l.dashes = prefixed
	}
	return false
}

// depthOf is the depth of the parts of a boundary. One that is below zero was named
// by a part that is not a multipart, which only some readers take apart.
func (l *level) depthOf(bound int) int {
	if bound < 0 {
		l.w.ambiguous("boundary of a part that is not a multipart")
	}
	return max(bound, -bound)
}

// begins reports whether a line begins with one of the boundaries.
func (l *level) begins(b []byte) bool {
	for _, n := range l.lengths {
		if n > len(b) {
			continue
		}
		if l.w.prefixes++; l.w.prefixes > maxPrefixes {
			l.w.stop("too many lines like boundaries")
			return false
		}
		if _, ok := l.bounds[l.hash(b[:n])]; ok {
			return true
		}
	}
	return false
}

func (l *level) hash(b []byte) uint64 { return maphash.Bytes(l.w.seed, b) }

// begin takes the end of a header. A message that lies in this one as it is goes on
// in the same level.
func (l *level) begin() {
	l.inHeader = false
	if l.behind && !l.pseudo && l.part.matters() {
		l.w.ambiguous("line of white space within a header")
	}
	if !l.part.inline() {
		l.part.begin()
		return
	}
	depth := l.part.depth + 1
	if depth > maxDepth {
		l.w.ambiguous("parts more than 20 deep")
	}
	l.part.end()
	l.beginPart(depth)
	l.header()
}

// next ends a part and begins another.
func (l *level) next(depth int) {
	l.endField()
	l.part.end()
	l.beginPart(depth)
	l.header()
}

// declare takes a boundary that a field names in some reading.
func (l *level) declare(b []byte) {
	b = bytes.TrimRight(b, " \t")
	depth := l.part.depth + 1
	switch {
	case len(b) == 0:
		l.w.ambiguous("empty boundary")
		return
	case len(b) > maxBoundary:
		l.w.ambiguous("boundary over 512 octets")
		return
	case depth > maxDepth:
		l.w.ambiguous("parts more than 20 deep")
		return
	case len(l.bounds) >= 4*maxParts:
		l.w.ambiguous("too many boundaries")
		return
	}
	h := l.hash(b)
	if old, ok := l.bounds[h]; ok && (old > 0 || !l.part.multipart) {
		return
	}
	if !l.part.multipart {
		depth = -depth
	}
	l.bounds[h] = depth
	for _, n := range l.lengths {
		if n == len(b) {
			return
		}
	}
	l.lengths = append(l.lengths, len(b))
}

// end takes the end of the message, and gives the level back.
func (l *level) end() {
	if len(l.line) > 0 {
		l.take(l.line, true)
	}
	l.endField()
	if l.inHeader {
		l.inHeader = false
		l.part.begin()
	}
	l.part.end()
	l.w.levels = append(l.w.levels, l)
}

// hasFold reports whether p begins with prefix, which is in lower case.
func hasFold(p []byte, prefix string) bool {
	if len(p) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		c := p[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != prefix[i] {
			return false
		}
	}
	return true
}

// isField reports whether a line begins a header field: a name and a colon.
func isField(p []byte) bool {
	i := bytes.IndexByte(p, ':')
	if i <= 0 {
		return false
	}
	for _, c := range bytes.TrimRight(p[:i], " \t") {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return p[0] != ' ' && p[0] != '\t'
}
