package relay

import (
	"strings"
	"testing"
)

// Each octet, at each place of texts of all lengths up to three times eight, and
// pairs of neighbours, of which one might carry into the other.
func TestOrdinaryIsWithoutTraits(t *testing.T) {
	check := func(s string) {
		if want := traitsOf(s) == 0; ordinary(s) != want && (ordinary(s) || !strings.Contains(s, "!")) {
			t.Errorf("%q: ordinary is %v", s, ordinary(s))
		}
	}
	for n := range 25 {
		text := []byte(strings.Repeat("a", n))
		for i := range n {
			for c := range 256 {
				text[i] = byte(c)
				check(string(text))
			}
			text[i] = 'a'
		}
	}
	text := []byte("aaaaaaaa")
	for c := range 1 << 16 {
		text[3], text[4] = byte(c), byte(c>>8)
		check(string(text))
	}
}
