package mx

import (
	"net/netip"
	"slices"
)

// special are the networks that no host of the Internet has (RFC 6890 and its
// registries), each with the word for it.
var special = []struct {
	network netip.Prefix
	is      string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared by a provider's customers"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved"},
	{netip.MustParsePrefix("192.0.2.0/24"), "for documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 anycast"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "for benchmarks"},
	{netip.MustParsePrefix("198.51.100.0/24"), "for documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "for documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("2001::/23"), "reserved"}, // Teredo, ORCHID, benchmarks and more
	{netip.MustParsePrefix("2001:db8::/32"), "for documentation"},
	{netip.MustParsePrefix("3fff::/20"), "for documentation"},
	{netip.MustParsePrefix("fc00::/7"), "private"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fec0::/10"), "site-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// unicast is where all IPv6 hosts of the Internet are (RFC 4291 s. 2.4 and IANA's
// registry).
var unicast = netip.MustParsePrefix("2000::/3")

// reserved says what kind of address a is that no host of the Internet has; ""
// for one that a host can have. IPv4 within IPv6 is judged as such.
func reserved(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	for _, s := range special {
		if s.network.Contains(a) {
			return s.is
		}
	}
	if a.Is4() {
		return ""
	}
	inner := embedded(a)
	for _, v4 := range inner {
		if is := reserved(v4); is != "" {
			return is + ", within IPv6"
		}
	}
	if !unicast.Contains(a) && len(inner) == 0 {
		return "reserved"
	}
	return ""
}

var (
	compatible = netip.MustParsePrefix("::/96")
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 2765
	nat64      = netip.MustParsePrefix("64:ff9b::/96")    // RFC 6052
	sixToFour  = netip.MustParsePrefix("2002::/16")       // RFC 3056
)

// embedded are the IPv4 addresses to which what is sent to an IPv6 address may go.
// Teredo and the local NAT64 prefix (RFC 8215) are refused before, as reserved.
func embedded(a netip.Addr) (all []netip.Addr) {
	b := a.As16()
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte(b[i : i+4])) }
	switch {
	case compatible.Contains(a), translated.Contains(a), nat64.Contains(a):
		all = append(all, at(12))
	case sixToFour.Contains(a):
		all = append(all, at(2))
	}
	if b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe { // ISATAP, RFC 5214 s. 6.1
		all = append(all, at(12))
	}
	return all
}

// Refusal says why no mail may go to an address; "" where it may.
func (c *Config) Refusal(a netip.Addr) string {
	in := func(list []netip.Prefix) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	switch {
	case in(c.RefuseNetworks):
		return "in refuse_networks"
	case in(c.AllowNetworks):
		return ""
	}
	return reserved(a)
}
