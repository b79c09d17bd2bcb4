// Package text reads and writes the small values of the configuration, each in
// one place: durations, sizes, and words of which one is to be chosen.
package text

import (
	"fmt"
	"strconv"
	"strings"
)

// OneOf sets v to the one of values that b is; the error lists them.
func OneOf[T ~string](v *T, b []byte, values ...T) error {
	quoted := make([]string, len(values))
	for i, want := range values {
		if string(b) == string(want) {
			*v = want
			return nil
		}
		quoted[i] = strconv.Quote(string(want))
	}
	return fmt.Errorf("%q is unknown; write one of %s", b, strings.Join(quoted, ", "))
}
