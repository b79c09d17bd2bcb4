package outlier

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Mode says what a state does to mail.
type Mode string

// Modes. The empty one stands for "not said here".
const (
	Enforce Mode = "enforce" // throttled and suspended mail is deferred
	Shadow  Mode = "shadow"  // events only
	Exempt  Mode = "exempt"  // not judged; only in a sender's or client's table
)

// UnmarshalText reads "enforce", "shadow" or "exempt".
func (m *Mode) UnmarshalText(text []byte) error {
	switch v := Mode(text); v {
	case Enforce, Shadow, Exempt:
		*m = v
		return nil
	}
	return fmt.Errorf(`mode %q is unknown; write "enforce" or "shadow"`, text)
}

// MarshalText writes the form that UnmarshalText reads.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m), nil }

// Pace is a number of recipients in a window of 1h or 24h, written "500/1h".
type Pace struct {
	Recipients int
	Window     time.Duration
}

// UnmarshalText reads "N/1h" or "N/24h" (also "N/1d"); N from 1 to 100,000,000.
func (p *Pace) UnmarshalText(text []byte) error {
	n, window, found := strings.Cut(string(text), "/")
	count, err := strconv.Atoi(n)
	if !found || err != nil || count < 1 || count > 100_000_000 {
		return fmt.Errorf(`%q is not a volume; write recipients and a window, such as "500/1h"`, text)
	}
	switch window {
	case "1h":
		*p = Pace{count, time.Hour}
	case "24h", "1d":
		*p = Pace{count, 24 * time.Hour}
	default:
		return fmt.Errorf(`window of %q is not counted; write "N/1h" or "N/24h"`, text)
	}
	return nil
}

// MarshalText writes the form that UnmarshalText reads.
func (p Pace) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// String is the form that UnmarshalText reads, such as "500/1h".
func (p Pace) String() string {
	return fmt.Sprintf("%d/%dh", p.Recipients, int(p.Window/time.Hour))
}

// Day is a day of the week, written "mon", "tue", "wed", "thu", "fri", "sat" or "sun".
type Day time.Weekday

// UnmarshalText reads "mon", "tue", "wed", "thu", "fri", "sat" or "sun".
func (d *Day) UnmarshalText(text []byte) error {
	for w := time.Sunday; w <= time.Saturday; w++ {
		if Day(w).String() == string(text) {
			*d = Day(w)
			return nil
		}
	}
	return fmt.Errorf(`day %q is unknown; write "mon", "tue", "wed", "thu", "fri", "sat" or "sun"`, text)
}

// MarshalText writes the form that UnmarshalText reads.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String is the form that UnmarshalText reads, such as "mon".
func (d Day) String() string { return strings.ToLower(time.Weekday(d).String()[:3]) }

// Hours is a part of the day: from hour From, 0 to 23, until hour To, 0 to 24, over
// midnight when To is less than From. The zero value is the whole day.
type Hours struct{ From, To int }

var errHours = errors.New(`is not a part of the day; write two hours, such as "06-10"`)

// UnmarshalText reads "06-10"; the first hour is 00 to 23, the second another one, 00 to
// 24.
func (h *Hours) UnmarshalText(text []byte) error {
	from, to, found := strings.Cut(string(text), "-")
	a, errA := strconv.Atoi(from)
	b, errB := strconv.Atoi(to)
	if !found || errA != nil || errB != nil || len(from) != 2 || len(to) != 2 ||
		a < 0 || a > 23 || b < 0 || b > 24 || a == b {
		return fmt.Errorf("%q %w", text, errHours)
	}
	*h = Hours{a, b}
	return nil
}

// MarshalText writes the form that UnmarshalText reads; empty for the whole day.
func (h Hours) MarshalText() ([]byte, error) {
	if h == (Hours{}) {
		return nil, nil
	}
	return fmt.Appendf(nil, "%02d-%02d", h.From, h.To), nil
}

// has reports whether hour, 0 to 23, is within h.
func (h Hours) has(hour int) bool {
	switch {
	case h.From < h.To:
		return hour >= h.From && hour < h.To
	case h == Hours{}:
		return true
	}
	return hour >= h.From || hour < h.To
}
