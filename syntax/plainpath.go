package syntax

import "postern/mail"

// plainPath reads the form that nearly all paths have, in one pass: a Dot-string
// of ASCII, "@", a domain in lower case without A-labels, ">". end is where the
// ">" stands; 0 for all else, which anyPath must judge.
func plainPath(s string) (a mail.Address, end int) {
	at := plainLocal(s)
	if at == 0 {
		return mail.Address{}, 0
	}
	n := plainDomain(s[at+1:])
	if n == 0 {
		return mail.Address{}, 0
	}
	end = at + 1 + n
	return mail.Address{Local: s[:at], Domain: s[at+1 : end]}, end
}

// plainLocal returns where the "@" after a plain local-part stands, or 0.
func plainLocal(s string) int {
	dot := true // a dot may not come first, last or after another
	for i := range min(len(s), maxLocal+1) {
		switch c := s[i]; {
		case c == '@' && !dot:
			return i
		case c == '.' && !dot:
			dot = true
		case c < 0x80 && mail.IsAtext(c):
			dot = false
		default:
			return 0
		}
	}
	return 0
}

// plainDomain returns where the ">" after a plain domain stands, or 0.
func plainDomain(s string) int {
	start, name := 0, false // of the label; name: it has more than digits
	for i := range min(len(s), maxDomain+1) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z':
			name = true
		case c >= '0' && c <= '9':
		case c == '-' && i > start:
			name = true
		case c == '.' && plainLabelEnds(s[start:i]):
			start, name = i+1, false
		case c == '>' && name && plainLabelEnds(s[start:i]):
			return i
		default:
			return 0
		}
	}
	return 0
}

// plainLabelEnds judges a label of lower-case LDH that does not begin with "-".
func plainLabelEnds(l string) bool {
	return l != "" && len(l) <= maxLabel && l[len(l)-1] != '-' && (len(l) < 4 || l[:4] != "xn--")
}
