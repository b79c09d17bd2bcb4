package parts

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// candidate takes what stands for a name in a field, and holds all readings of it
// against the rules.
func (w *walk) candidate(v []byte) { w.readings(v, w.match) }

// readings calls use with v and with all that readers may make of it: encoded words
// decoded, though none belong into a parameter (RFC 2047 s. 5), and percent signs.
func (w *walk) readings(v []byte, use func([]byte)) {
	use(v)
	if bytes.Contains(v, []byte("=?")) && w.may(4*len(v)) {
		w.name.words = w.words(w.name.words[:0], v, false)
		use(w.name.words)
		w.name.words = w.words(w.name.words[:0], v, true)
		use(w.name.words)
	}
	if bytes.IndexByte(v, '%') >= 0 {
		w.name.percent = percent(w.name.percent[:0], v)
		use(w.name.percent)
	}
}

// match holds a name against the rules, in the forms in which a system may store
// it.
func (w *walk) match(v []byte) {
	if w.over() || len(v) == 0 {
		return
	}
	if !w.may(len(v) * (2 + w.want.Refused.cost())) {
		return
	}
	form := w.normal(v)
	if w.refuse(trimName(form)) {
		return
	}
	// What stands behind a NUL or, on Windows, a colon is not part of the name.
	if i := bytes.IndexByte(v, 0); i > 0 {
		w.refuse(trimName(w.normal(v[:i])))
		return
	}
	if i := bytes.IndexByte(form, ':'); i > 1 {
		w.refuse(trimName(form[:i]))
	}
	if n := len(form); n > 38 && form[n-1] == '}' && form[n-38] == '{' && form[n-39] == '.' {
		w.ambiguous("name ends in a class identifier")
	}
}

// refuse notes a name in normal form that matches the rules.
func (w *walk) refuse(form []byte) bool {
	entry, ok := w.want.Refused.match(form)
	switch {
	case bytes.HasSuffix(form, []byte(".eml")), bytes.HasSuffix(form, []byte(".mht")), bytes.HasSuffix(form, []byte(".mhtml")):
		w.mail = true
	case bytes.HasSuffix(form, []byte(".p7m")):
		w.mail, w.signed = true, true
	case bytes.HasSuffix(form, []byte("htm")), bytes.HasSuffix(form, []byte("html")), bytes.HasSuffix(form, []byte(".svg")):
		w.html = true
	}
	if ok {
		w.report.Refused, w.report.Name = entry, string(form[max(0, len(form)-200):])
	}
	return ok
}

// may counts the octets of names that are looked at, and reports whether there may
// be more.
func (w *walk) may(octets int) bool {
	if w.work += octets; w.work > maxWork {
		w.stop("too many names")
		return false
	}
	return true
}

// normal returns a name in lower case without what cannot be seen: controls, format
// characters, other forms of the same letters. It is good until the next call.
func (w *walk) normal(v []byte) []byte {
	form, ascii := w.name.form[:0], true
	for _, c := range v {
		switch {
		case c >= utf8.RuneSelf:
			ascii = false
		case c < ' ' || c == 0x7f:
			continue
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		}
		form = append(form, c)
	}
	if !ascii && w.may(4*len(v)) {
		w.name.folded = norm.NFKC.Append(w.name.folded[:0], form...)
		form = form[:0]
		for rest := w.name.folded; len(rest) > 0; {
			r, n := utf8.DecodeRune(rest)
			if rest = rest[n:]; !unicode.Is(unicode.Cf, r) {
				form = utf8.AppendRune(form, unicode.ToLower(r))
			}
		}
	}
	w.name.form = form
	return form
}

// trimName drops what Windows drops from the end of a name, and what is left there
// of the syntax around it.
func trimName(v []byte) []byte { return bytes.Trim(v, " .\t\"'`;,)<>") }

// percent appends v with its %XX decoded.
func percent(to, v []byte) []byte {
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && i+2 < len(v) {
			if hi, lo := unhex(v[i+1]), unhex(v[i+2]); hi >= 0 && lo >= 0 {
				to = append(to, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		to = append(to, v[i])
	}
	return to
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
