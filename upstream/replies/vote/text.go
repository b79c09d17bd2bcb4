package vote

import (
	"unicode"
	"unicode/utf8"
)

// plainLetters are what the letters from U+00C0 to U+017F are without their marks.
const plainLetters = "aaaaaaaceeeeiiiidnooooo ouuuuytsaaaaaaaceeeeiiiidnooooo ouuuuyty" +
	"aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkklllllll" +
	"lllnnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs"

// appendPlain appends text in the form that the lexicon and the model know:
// words in lower case without accents, one blank between two, " | " where a
// sentence ends, and a blank on both sides of what is written without any.
// Words in capitals are those of masked parts and stay. It reads each octet once.
func appendPlain(out []byte, text string) []byte {
	out = append(out, ' ')
	wide := false // the last letter is of a script without blanks
	for i := 0; i < len(text); {
		if c := text[i]; c < utf8.RuneSelf {
			i++
			switch {
			case isWordByte(c):
				if wide {
					out = appendBlank(out)
					wide = false
				}
				out = append(out, c)
			case c == '\'' && i < len(text) && text[i] == 't': // doesn't
			case (c == '.' || c == ';' || c == '!' || c == '?') && (i == len(text) || text[i] == ' '):
				out = append(appendBlank(out), '|', ' ')
				wide = false
			default:
				out = appendBlank(out)
				wide = false
			}
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && n == 1 {
			r = rune(text[i]) // ISO 8859-1, where it is no UTF-8
		}
		i += n
		out, wide = appendRune(out, r, wide)
	}
	return appendBlank(out)
}

func appendRune(out []byte, r rune, wide bool) ([]byte, bool) {
	r = unicode.ToLower(r)
	switch {
	case r >= 0xc0 && r <= 0x17f:
		return append(out, plainLetters[r-0xc0]), false
	case r == 0x451: // ё
		return utf8.AppendRune(out, 0x435), false
	case unicode.Is(unicode.Mn, r):
		return out, wide
	case !unicode.IsLetter(r) && r != 0x30fc: // ー makes a vowel long
		return appendBlank(out), false
	case r < 0x2e80:
		return utf8.AppendRune(out, r), false
	}
	if !wide {
		out = appendBlank(out)
	}
	return utf8.AppendRune(out, r), true
}

func appendBlank(out []byte) []byte {
	if len(out) > 0 && out[len(out)-1] == ' ' {
		return out
	}
	return append(out, ' ')
}

func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z'
}
