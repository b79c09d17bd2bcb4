package ratelimit

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"postern/internal/text"
	"postern/ratelimit/recipients"
)

// MaxNumber is the largest N of a limit. MinWindow and MaxWindow bound its
// window, MaxPeriod the memory of Once.
const (
	MaxNumber = 100_000_000_000_000
	MinWindow = time.Second
	MaxWindow = recipients.Longest
	MaxPeriod = 366 * 24 * time.Hour
)

// Number is a hard cap over a rolling window, written "500/1h" or "1GiB/24h". N is 0 to
// MaxNumber, and 0 refuses always; Window is MinWindow to MaxWindow.
type Number struct {
	N      int64
	Window time.Duration
	size   bool // N was written as a size
}

// Numbers is a list of numbers; in the file one number may stand without
// brackets.
type Numbers []Number

// UnmarshalText reads a single number.
func (ns *Numbers) UnmarshalText(text []byte) error {
	var n Number
	if err := n.UnmarshalText(text); err != nil {
		return err
	}
	*ns = Numbers{n}
	return nil
}

// UnmarshalText reads "N/window".
func (n *Number) UnmarshalText(text []byte) error {
	count, window, ok := strings.Cut(string(text), "/")
	if !ok {
		return fmt.Errorf(`limit %q has no window; write it as "500/1h"`, text)
	}
	value, size, err := parseCount(strings.TrimSpace(count))
	if err != nil {
		return fmt.Errorf("limit %q: %w", text, err)
	}
	length, err := parseWindow(strings.TrimSpace(window))
	if err != nil {
		return fmt.Errorf("limit %q: %w", text, err)
	}
	*n = Number{N: value, Window: length, size: size}
	return nil
}

// MarshalText writes the number as UnmarshalText reads it.
func (n Number) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// String is the number as it is written in the file.
func (n Number) String() string {
	count := strconv.FormatInt(n.N, 10)
	if n.size {
		count = text.FormatSize(n.N)
	}
	return count + "/" + FormatWindow(n.Window)
}

// parseCount reads a whole number, or a size in octets.
func parseCount(s string) (n int64, size bool, err error) {
	digits, unit, size := text.CutUnit(s)
	value, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
	if err != nil {
		return 0, false, fmt.Errorf("%q is not a whole number of 0 or more", digits)
	}
	unit = max(unit, 1)
	if int64(value) > MaxNumber/unit {
		return 0, false, fmt.Errorf("the number is over %d", int64(MaxNumber))
	}
	return int64(value) * unit, size, nil
}

// parseWindow reads "90s", "10m", "1h30m", "7d", "1d12h".
func parseWindow(s string) (time.Duration, error) {
	bad := fmt.Errorf(`%q is not a window; write one from "1s" to "31d"`, s)
	var days time.Duration
	rest := s
	if head, tail, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(head, 10, 16)
		if err != nil {
			return 0, bad
		}
		days, rest = time.Duration(n)*24*time.Hour, tail
	}
	var part time.Duration
	if rest != "" || days == 0 {
		d, err := time.ParseDuration(rest)
		if err != nil || strings.ContainsAny(rest, "+-") {
			return 0, bad
		}
		part = d
	}
	if part > MaxWindow || days+part > MaxWindow || days+part < MinWindow || part%time.Second != 0 {
		return 0, bad
	}
	return days + part, nil
}

// FormatWindow writes a window as the file has it: "1h", "24h", "7d", "1h30m".
// Whole days are written in hours up to 48h.
func FormatWindow(d time.Duration) string {
	if day := 24 * time.Hour; d > 2*day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// Percent is a share of a limit, 1 to 100, written "20%".
type Percent int

// UnmarshalText reads "20%".
func (p *Percent) UnmarshalText(text []byte) error {
	digits, ok := strings.CutSuffix(string(text), "%")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || n > 100 {
		return fmt.Errorf(`%q is not a share; write it as "20%%", from 1%% to 100%%`, text)
	}
	*p = Percent(n)
	return nil
}

// MarshalText writes the share as UnmarshalText reads it.
func (p Percent) MarshalText() ([]byte, error) {
	return append(strconv.AppendInt(nil, int64(p), 10), '%'), nil
}
