package parts

import (
	"bytes"
	"unicode/utf8"
)

// maxFileName is how many characters the name of a file may have on Windows.
const maxFileName = 255

// maxParams is how many parameters of one field are looked at.
const maxParams = 64

// piece is a part of a value that was cut (RFC 2231 s. 3).
type piece struct {
	base   string // "filename", "name" or "boundary"
	number int
	value  []byte
}

// params takes the names and boundaries that a field has in any reading: wherever
// an equals sign follows such a word.
func (l *level) params(v []byte) {
	w := l.w
	w.pieces = w.pieces[:0]
	seen := 0
	for at := 0; ; at++ {
		i := bytes.IndexByte(v[at:], '=')
		if i < 0 {
			break
		}
		at += i
		key, number := keyBefore(v[:at])
		if key == "" {
			continue
		}
		if seen++; seen > maxParams {
			w.ambiguous("more than 64 parameters in a field")
			break
		}
		value := v[at+1:]
		l.values(key, value)
		if number >= 0 {
			w.pieces = append(w.pieces, piece{key, number, whole(value)})
		}
	}
	l.join("filename")
	l.join("name")
	l.join("boundary")
}

// keyBefore reads the word in front of an equals sign, such as "filename*0*"; ""
// where it names nothing. The number is -1 where the value is not a piece.
func keyBefore(v []byte) (key string, number int) {
	v = bytes.TrimRight(v, " \t\"'")
	start := len(v)
	for start > 0 && isKey(v[start-1]) {
		start--
	}
	word := v[start:]
	number = -1
	if i := bytes.IndexByte(word, '*'); i >= 0 {
		for _, c := range word[i+1:] {
			if c >= '0' && c <= '9' && number < 10_000 {
				number = max(number, 0)*10 + int(c-'0')
			}
		}
		number = max(number, 0)
		word = word[:i]
	}
	switch n := len(word); {
	case n >= 8 && hasFold(word[n-8:], "filename"):
		return "filename", number
	case n >= 4 && hasFold(word[n-4:], "name"):
		return "name", number
	case n >= 8 && hasFold(word[n-8:], "boundary"):
		return "boundary", number
	}
	return "", -1
}

func isKey(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '*' || c == '%'
}

// values takes what stands behind an equals sign, in each way to read it: up to
// white space, a semicolon or the end, within quotes, with and without backslashes.
func (l *level) values(key string, v []byte) {
	v = bytes.TrimLeft(v[:min(len(v), 2*maxValue)], " \t")
	if len(v) == 0 {
		l.value(key, v)
		return
	}
	semicolon := bytes.IndexByte(v, ';')
	if semicolon < 0 {
		semicolon = len(v)
	}
	if v[0] != '"' && v[0] != '\'' {
		token := bytes.IndexAny(v[:semicolon], " \t")
		if token >= 0 {
			l.value(key, v[:token])
		}
		l.value(key, bytes.TrimRight(v[:semicolon], " \t"))
		if semicolon < len(v) && bytes.IndexByte(v[semicolon:], '=') < 0 {
			l.value(key, v)
		}
		return
	}
	inner, rest := quoted(v)
	l.value(key, inner)
	if bytes.IndexByte(inner, '\\') >= 0 {
		l.w.joined = unescape(l.w.joined[:0], inner)
		l.value(key, l.w.joined)
		// Or the first quote behind a backslash ends it.
		if i := bytes.IndexByte(v[1:], v[0]); i >= 0 && i < len(inner) {
			l.value(key, bytes.TrimRight(v[1:1+i], `\`))
		}
	}
	if len(v)-len(rest) < semicolon && len(bytes.TrimSpace(rest)) > 0 && rest[0] != ';' {
		l.value(key, bytes.Trim(v[:semicolon], " \t\"'")) // junk behind the closing quote
	}
}

// quoted cuts a quoted string, whose closing quote may be missing.
func quoted(v []byte) (inner, rest []byte) {
	for i := 1; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case v[0]:
			return v[1:i], v[i+1:]
		}
	}
	return v[1:], nil
}

// unescape appends v without the backslashes in front of what they quote.
func unescape(to, v []byte) []byte {
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' && i+1 < len(v) {
			i++
		}
		to = append(to, v[i])
	}
	return to
}

// value takes one reading of a value.
func (l *level) value(key string, v []byte) {
	if len(v) > maxValue {
		l.w.ambiguous("name over 2 KiB")
		v = v[len(v)-maxValue:]
	}
	if key != "boundary" {
		if len(v) > maxFileName && utf8.RuneCount(v) > maxFileName && !bytes.ContainsAny(v, "%?") {
			l.w.ambiguous("name over 255 characters, which readers cut")
		}
		l.w.candidate(v)
		return
	}
	if l.w.may(len(v)) {
		l.w.readings(v, l.declare)
	}
}

// whole is a value in its likeliest reading.
func whole(v []byte) []byte {
	v = bytes.TrimLeft(v, " \t")
	if len(v) > 0 && (v[0] == '"' || v[0] == '\'') && bytes.IndexByte(v[1:], v[0]) >= 0 && !bytes.HasPrefix(v, []byte("''")) {
		inner, _ := quoted(v)
		return inner
	}
	if i := bytes.IndexAny(v, "; \t"); i >= 0 {
		v = v[:i]
	}
	return v
}

// join takes the values of which a name or boundary is put together: in the order
// of their numbers and in that of the field, up to a number that is missing and
// beyond it, with what was percent-encoded and a charset in front.
func (l *level) join(base string) {
	w := l.w
	count, last, sorted := 0, -1, true
	for i := range w.pieces {
		if p := &w.pieces[i]; p.base == base {
			sorted = sorted && p.number > last
			count, last = count+1, p.number
		}
	}
	if count == 0 {
		return
	}
	w.joined = w.joined[:0]
	for i := range w.pieces {
		if p := &w.pieces[i]; p.base == base {
			w.joined = append(w.joined, p.value...)
		}
	}
	l.extended(base, w.joined)
	if sorted && last == count-1 {
		return
	}
	// They do not stand as they should.
	w.joined = w.joined[:0]
	for number, found := 0, 0; found < count && number <= maxParams; number++ {
		n := 0
		for i := range w.pieces {
			if p := &w.pieces[i]; p.base == base && p.number == number {
				if n > 0 {
					w.ambiguous("parameter with two pieces of one number")
				}
				w.joined = append(w.joined, p.value...)
				n++
			}
		}
		if n == 0 {
			l.extended(base, w.joined) // some readers end here
		}
		found += n
	}
	l.extended(base, w.joined)
}

// extended takes a value that may be percent-encoded in a charset (RFC 2231 s. 4).
func (l *level) extended(base string, v []byte) {
	if len(v) == 0 {
		return
	}
	l.value(base, v)
	charset, rest, ok := bytes.Cut(v, []byte("'"))
	if !ok || len(charset) > 80 {
		return
	}
	if _, text, ok := bytes.Cut(rest, []byte("'")); ok {
		rest = text
	}
	l.value(base, rest)
	if len(rest) > maxValue || !l.w.may(2*len(rest)) {
		return
	}
	l.w.name.data = percent(l.w.name.data[:0], rest)
	l.w.name.words = l.w.convert(l.w.name.words[:0], string(bytes.ToLower(bytes.TrimSpace(charset))), l.w.name.data)
	if base == "boundary" {
		l.declare(l.w.name.words)
	} else {
		l.w.match(l.w.name.words)
	}
}
