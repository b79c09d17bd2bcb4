package text

import (
	"net/netip"
	"strings"
)

// IsLoopback reports whether a host, without brackets and port, is this machine by its
// text alone: localhost, or a loopback address. No name is looked up.
func IsLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}
