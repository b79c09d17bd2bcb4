package parts

import "bytes"

// headerLine takes a line of a header.
func (l *level) headerLine(p []byte, start, end bool) {
	if !start {
		l.keepField(p)
		return
	}
	first := l.first
	l.first = false
	p0 := p
	if first {
		p0 = bytes.TrimPrefix(p, []byte("\xef\xbb\xbf"))
	}
	switch {
	case len(p0) == 0 && end:
		l.endField()
		l.begin()
	case len(bytes.Trim(p0, " \t")) == 0 && end:
		l.blank = true // the end of the header to some readers
	case (p0[0] == ' ' || p0[0] == '\t') && !first:
		l.foldField(p0)
	case isField(p0):
		l.endField()
		l.behind = l.behind || l.blank
		l.keep = hasFold(p0, "content")
		l.keepField(p0)
	case first && (hasFold(p0, "from ") || hasFold(p0, ">from ")):
		// A line of mbox in front of the header.
	case controls(p0) && l.hidden(p0):
	default:
		l.endField()
		if !l.pseudo && !(l.lenient && first) {
			l.w.ambiguous("line in a header that is not a field")
		}
		l.begin()
		l.part.body(p, true)
	}
}

func controls(p []byte) bool {
	return bytes.ContainsFunc(p, func(r rune) bool { return r < ' ' && r != '\t' })
}

// hidden takes a line that is a field once its controls are dropped.
func (l *level) hidden(p []byte) bool {
	clean := l.w.fold[:0]
	for _, c := range p[:min(len(p), maxValue)] {
		if c >= ' ' || c == '\t' {
			clean = append(clean, c)
		}
	}
	l.w.fold = clean
	if !hasFold(clean, "content") {
		return false
	}
	l.w.ambiguous("control character in a header")
	l.endField()
	l.keep = true
	l.keepField(clean)
	return true
}

func (l *level) foldField(p []byte) {
	if l.keep {
		l.keepField([]byte{'\n'})
		l.keepField(p)
	}
}

// keepField appends to a field that is kept.
func (l *level) keepField(p []byte) {
	if !l.keep {
		return
	}
	if l.part.header+len(p) > maxHeader || l.w.held+len(p) > maxHeaders {
		l.w.ambiguous("header of a part over 64 KiB")
		return
	}
	l.part.header += len(p)
	l.w.held += len(p)
	l.field = append(l.field, p...)
}

// endField judges a field that has ended.
func (l *level) endField() {
	f := l.field
	l.field, l.keep = l.field[:0], false
	l.w.held -= len(f)
	if len(f) == 0 {
		return
	}
	if l.part.fields++; l.part.fields > maxFields {
		l.w.ambiguous("more than 32 Content fields in a part")
		return
	}
	name, value, _ := bytes.Cut(f, []byte(":"))
	l.content(bytes.TrimRight(name, " \t"), value)
}

// content takes what a Content field says, in each way to read it.
func (l *level) content(name, value []byte) {
	w := l.w
	w.plain = unfold(w.plain[:0], value, false)
	switch {
	case equalFold(name, "content-type"):
		l.part.setType(w, w.plain)
	case equalFold(name, "content-transfer-encoding"):
		l.part.setEncoding(w, w.plain)
	case equalFold(name, "content-description"), equalFold(name, "content-location"):
		w.candidate(bytes.Trim(w.plain[:min(len(w.plain), maxValue)], " \t"))
	}
	l.params(w.plain)
	if bytes.IndexByte(value, '\n') >= 0 {
		// Some readers take the white space of a fold for part of it.
		w.fold = unfold(w.fold[:0], value, true)
		l.params(w.fold)
	}
	if bytes.IndexByte(w.plain, '(') >= 0 {
		w.fold = uncomment(w.fold[:0], w.plain)
		l.params(w.fold)
	}
}

// unfold appends a field without the line ends in it, with whole without the white
// space behind them, too.
func unfold(to, v []byte, whole bool) []byte {
	for i := 0; i < len(v); i++ {
		if v[i] != '\n' {
			to = append(to, v[i])
			continue
		}
		for whole && i+1 < len(v) && (v[i+1] == ' ' || v[i+1] == '\t') {
			i++
		}
	}
	return to
}

// uncomment appends v without what stands in parentheses outside of quotes.
func uncomment(to, v []byte) []byte {
	depth, quoted := 0, false
	for i := 0; i < len(v); i++ {
		c := v[i]
		switch {
		case c == '\\' && i+1 < len(v):
			i++
			if depth == 0 {
				to = append(to, c, v[i])
			}
			continue
		case quoted:
			quoted = c != '"'
		case c == '"' && depth == 0:
			quoted = true
		case c == '(':
			depth++
			continue
		case c == ')' && depth > 0:
			depth--
			continue
		}
		if depth == 0 {
			to = append(to, c)
		}
	}
	return to
}

func equalFold(p []byte, lower string) bool { return len(p) == len(lower) && hasFold(p, lower) }
