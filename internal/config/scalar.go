package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// parsePrefix reads a network. What does not stand for exactly one network is
// refused, so that nobody allows more or less than was meant.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.Prefix{}, fmt.Errorf("%q has no prefix length; for this one address write %q", s, netip.PrefixFrom(a, a.BitLen()))
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, fmt.Errorf(`%q is not a network; write one such as "192.0.2.0/24" or "2001:db8::/32"`, s)
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
		return a, fmt.Errorf(`%q is not an IP address; write one such as "192.0.2.1" or "2001:db8::1"`, s)
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
	return a, fmt.Errorf(`%q is not an IP address with a port; write one such as "127.0.0.1:2525" or "[::1]:2525"`, s)
}

// integer reads a TOML integer.
func integer(text string, bits int) (int64, error) {
	n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 0, bits)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%s is too large; write a smaller number", text)
	}
	return n, err
}
