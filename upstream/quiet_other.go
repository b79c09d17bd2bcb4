//go:build !linux

package upstream

import "net"

// quiet cannot look without reading here: a closed connection is found out by
// the first command on it, which is then repeated on a new one.
func quiet(net.Conn, bool) bool { return true }
