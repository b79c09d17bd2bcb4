package console

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/internal/plain"
)

// maxText bounds what is shown of one text of others, in octets.
const maxText = 320

// clean is a text of others as a page shows it: controls and marks that turn text round
// or hide it written out, shortened. It still has to be escaped, as html/template does.
func clean(s string) string {
	cut := false
	if len(s) > maxText {
		end := maxText
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		s, cut = s[:end], true
	}
	s = string(plain.Append(nil, []byte(s)))
	s = strings.NewReplacer("\n", " ", "\t", " ").Replace(s)
	if cut {
		s += "…"
	}
	return s
}

// typed is what somebody has typed or pasted into a form, without what cannot be seen.
func typed(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxTyped)], "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return -1
		}
		return r
	}, s))
}

// maxTyped bounds what is taken of one field of a form, in octets.
const maxTyped = 500
