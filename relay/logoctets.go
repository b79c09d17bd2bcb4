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

// ordinary reports that s has no traits; a text with "!" may be so and not be found.
// It looks at eight octets at a time: nearly all values of nearly all lines are
// ordinary, and one by one they would cost as much as the rest of the line.
//
// Eight octets are one number. An octet less n gets the highest bit where it was
// below n, and elsewhere only if it had it before; the same finds an octet that
// is 0 after those of one character were taken off by XOR.
func ordinary(s string) bool {
	if len(s) < 8 {
		return traitsOf(s) == 0
	}
	const ones, high = 0x0101010101010101, 0x8080808080808080
	var found uint64
	for i, last := 0, len(s)-8; ; i = min(i+8, last) {
		x := first8(s[i:])
		equals, backslash := x^ones*'=', x^ones*'\\'
		found |= (x - ones*'#') &^ x // controls, space, '!' and '"'
		found |= (equals - ones) &^ equals
		found |= (backslash - ones) &^ backslash
		found |= x | (x + ones) // from 0x7f on
		if i == last {
			return found&high == 0
		}
	}
}

// first8 is the first eight octets of s as a number; the compiler knows it as one
// load.
func first8(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}
