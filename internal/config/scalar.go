package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
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
	bad := fmt.Errorf(`%q is not a duration; write as "90s", "10m", "1h" or "7d"`, s)
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

var sizeUnits = []struct {
	name   string
	length int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// ParseSize reads a number of octets: "25MiB" (powers of 1,024), "10KB" (powers
// of 1,000) or "512B".
func ParseSize(s string) (int64, error) {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSuffix(digits, " "), 10, 63)
		if err != nil {
			break
		}
		if int64(n) > math.MaxInt64/u.length {
			return 0, fmt.Errorf("%q is too large; write a smaller size", s)
		}
		return int64(n) * u.length, nil
	}
	return 0, fmt.Errorf(`%q is not a size; write as "25MiB", "10KB" or "512B"`, s)
}

// FormatSize writes n as the file has it, in the largest unit that divides it.
func FormatSize(n int64) string {
	for _, name := range []string{"TiB", "GiB", "MiB", "KiB"} {
		for _, u := range sizeUnits {
			if u.name == name && n >= u.length && n%u.length == 0 {
				return strconv.FormatInt(n/u.length, 10) + name
			}
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// parsePrefix reads a network. What does not stand for exactly one network is
// refused, so that nobody allows more or less than was meant.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.Prefix{}, fmt.Errorf("%q has no prefix length; for this one address write %q", s, netip.PrefixFrom(a, a.BitLen()))
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, fmt.Errorf(`%q is not a network; write as "192.0.2.0/24" or "2001:db8::/32"`, s)
	case p.Addr().Is4In6():
		return p, fmt.Errorf("%q is an IPv4 network in IPv6 form; write it as IPv4", s)
	case p != p.Masked():
		one := netip.PrefixFrom(p.Addr(), p.Addr().BitLen())
		return p, fmt.Errorf("%q has bits beyond its length; write %q for the network or %q for the one address", s, p.Masked(), one)
	}
	return p, nil
}

func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, fmt.Errorf(`%q is not an IP address; write as "192.0.2.1" or "2001:db8::1"`, s)
	}
	return a.Unmap(), nil
}

func parseAddrPort(s string) (netip.AddrPort, error) {
	a, err := netip.ParseAddrPort(s)
	if err == nil {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
	}
	if port, ok := strings.CutPrefix(s, ":"); ok {
		return a, fmt.Errorf(`%q names no address; write "0.0.0.0:%s" for all of IPv4, "[::]:%s" for all, or "127.0.0.1:%s"`, s, port, port, port)
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return a, fmt.Errorf("%q has no port; write %q", s, netip.AddrPortFrom(netip.MustParseAddr(s), 25))
	}
	return a, fmt.Errorf(`%q is not an IP address with a port; write as "127.0.0.1:2525" or "[::1]:2525"`, s)
}

// integer reads a TOML integer.
func integer(text string, bits int) (int64, error) {
	n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 0, bits)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%s is too large; write a smaller number", text)
	}
	return n, err
}
