//go:build !linux

package admin

import "net"

// peerUser is known on Linux only.
func peerUser(net.Conn) string { return "unknown" }
