package relay

import "unicode/utf8"

// traits are what the octets of a text ask for.
type traits uint8

const (
	marked  traits = 1 << iota // quotation marks around it in slog's text
	escaped                    // another form between marks, in either format
	control                    // is one
	wide                       // not ASCII
)

// traitsOf is a single look at each octet, without a branch.
func traitsOf(s string) (t traits) {
	for i := range len(s) {
		t |= octetTraits[s[i]]
	}
	return t
}

var octetTraits = func() (all [256]traits) {
	for c := range all {
		t := &all[c]
		if c <= ' ' || c == '"' || c == '=' {
			*t |= marked
		}
		if c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			*t |= escaped
		}
		if c < ' ' || c == 0x7f {
			*t |= control
		}
		if c >= utf8.RuneSelf {
			*t |= wide
		}
	}
	return all
}()

// ordinary reports that s has no traits. It looks at eight octets at a time:
// nearly all values of nearly all lines are ordinary, and one by one they would
// cost as much as the rest of the line.
func ordinary(s string) bool {
	if len(s) < 8 {
		return traitsOf(s) == 0
	}
	for i := 0; i+8 < len(s); i += 8 {
		if odd(s[i:]) {
			return false
		}
	}
	return !odd(s[len(s)-8:])
}

// odd reports whether any of the first eight octets of s has a trait. It takes
// them as one number: an octet less one, say, gets the highest bit where it was
// 0, and elsewhere only if it had it before.
func odd(s string) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
	mark, equals, backslash := x^ones*'"', x^ones*'=', x^ones*'\\'
	found := (x - ones*'!') &^ x                                                                       // below '!'
	found |= ((mark - ones) &^ mark) | ((equals - ones) &^ equals) | ((backslash - ones) &^ backslash) // 0 there
	found |= x | (x + ones)                                                                            // above '~'
	return found&high != 0
}
