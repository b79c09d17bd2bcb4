package check

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"

	"postern/internal/config"
)

// Gateways are the next hops of this machine's routes. Connections that come
// from one of them have been rewritten on the way: by the bridge of containers,
// by NAT, by a load balancer that says nothing of its clients.
func Gateways() []netip.Addr {
	return append(gatewaysOf("/proc/net/route", ipv4Gateway), gatewaysOf("/proc/net/ipv6_route", ipv6Gateway)...)
}

func gatewaysOf(file string, read func([]string) (netip.Addr, bool)) (as []netip.Addr) {
	f, err := os.Open(file)
	if err != nil {
		return nil // no Linux, or no such family
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		if a, ok := read(strings.Fields(in.Text())); ok && !slices.Contains(as, a) {
			as = append(as, a)
		}
	}
	return as
}

// ipv4Gateway reads a line of /proc/net/route: the third field, in the order of
// this machine's octets.
func ipv4Gateway(fields []string) (a netip.Addr, ok bool) {
	if len(fields) < 3 {
		return a, false
	}
	b, err := hex.DecodeString(fields[2])
	if err != nil || len(b) != 4 {
		return a, false
	}
	var native [4]byte
	binary.NativeEndian.PutUint32(native[:], binary.BigEndian.Uint32(b))
	a = netip.AddrFrom4(native)
	return a, !a.IsUnspecified()
}

// ipv6Gateway reads a line of /proc/net/ipv6_route: the fifth field.
func ipv6Gateway(fields []string) (a netip.Addr, ok bool) {
	if len(fields) < 5 {
		return a, false
	}
	b, err := hex.DecodeString(fields[4])
	if err != nil || len(b) != 16 {
		return a, false
	}
	a, _ = netip.AddrFromSlice(b)
	return a, !a.IsUnspecified()
}

// trustedGateways says which clients trust a network that holds a gateway:
// whoever comes through it then counts as that client.
func trustedGateways(f *config.File, gateways []netip.Addr) (warnings []string) {
	for _, name := range slices.Sorted(maps.Keys(f.Client)) {
		for _, network := range f.Client[name].Networks {
			for _, g := range gateways {
				if network.Contains(g) && len(f.Client[name].Users)+len(f.Client[name].Certificates) == 0 {
					warnings = append(warnings, fmt.Sprintf("client.%s.networks: %s contains %s, a gateway of this machine; whatever it forwards (a container bridge, NAT) counts as this client: name smaller networks, or have the proxy say who it is (proxy_protocol_from)", name, network, g))
				}
			}
		}
	}
	return warnings
}
