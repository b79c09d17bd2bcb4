package text

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

var durationUnits = []struct {
	name   string
	length time.Duration
}{ // longer names first where one begins with the other
	{"ms", time.Millisecond}, {"us", time.Microsecond}, {"ns", 1},
	{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second},
}

// ParseDuration reads "90s", "10m", "1h30m" or "7d": whole numbers, each with
// one of d, h, m, s, ms, us, ns. A day has 24 hours. There is no sign.
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf(`%q is not a duration; write one such as "90s", "10m", "1h" or "7d"`, s)
	var total time.Duration
	if s == "" {
		return 0, bad
	}
	for rest := s; rest != ""; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return 0, bad
		}
		unit := durationUnit(rest[digits:])
		if unit < 0 {
			return 0, bad
		}
		u := durationUnits[unit]
		if n > int64((math.MaxInt64-total)/u.length) {
			return 0, fmt.Errorf("%q is longer than 292 years; write a shorter duration", s)
		}
		total += time.Duration(n) * u.length
		rest = rest[digits+len(u.name):]
	}
	return total, nil
}

func durationUnit(s string) int {
	for i, u := range durationUnits {
		if strings.HasPrefix(s, u.name) {
			return i
		}
	}
	return -1
}

// FormatDuration writes d as the file has it, in the largest units that fit.
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	var b strings.Builder
	for _, name := range []string{"d", "h", "m", "s", "ms", "us", "ns"} {
		u := durationUnits[durationUnit(name)]
		if n := d / u.length; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, name)
			d -= n * u.length
		}
	}
	return b.String()
}
