package text

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

var sizeUnits = []struct {
	name   string
	length int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// ParseSize reads a number of octets: "25MiB" (powers of 1,024), "10KB" (powers
// of 1,000) or "512B".
func ParseSize(s string) (int64, error) {
	if digits, unit, ok := CutUnit(s); ok {
		n, err := strconv.ParseUint(digits, 10, 63)
		switch {
		case err != nil:
		case int64(n) > math.MaxInt64/unit:
			return 0, fmt.Errorf("%q is too large; write a smaller size", s)
		default:
			return int64(n) * unit, nil
		}
	}
	return 0, fmt.Errorf(`%q is not a size; write one such as "25MiB", "10KB" or "512B"`, s)
}

// CutUnit parts a size from its unit, in octets, with the blank that may stand
// between them; ok is false where s ends in no unit.
func CutUnit(s string) (rest string, unit int64, ok bool) {
	for _, u := range sizeUnits {
		if rest, ok = strings.CutSuffix(s, u.name); ok {
			return strings.TrimSuffix(rest, " "), u.length, true
		}
	}
	return s, 0, false
}

// FormatSize writes n octets as ParseSize reads them, in the largest binary unit
// that divides n.
func FormatSize(n int64) string {
	for i := 3; i >= 0; i-- {
		if u := sizeUnits[i]; n >= u.length && n%u.length == 0 {
			return strconv.FormatInt(n/u.length, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}
