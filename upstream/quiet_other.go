//go:build !linux

package upstream

import "net"

// probe cannot look without reading here: a closed connection is found out by
// the first command on it, which is then repeated on a new one.
type probe struct{}

func newProbe(net.Conn) probe { return probe{} }

func (probe) quiet(bool) bool { return true }
