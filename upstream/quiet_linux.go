package upstream

import (
	"net"
	"syscall"
)

// quiet reports whether the far end of an idle connection has neither closed it
// nor, unless it owes a reply, said anything: a 421 perhaps.
func quiet(c net.Conn, owes bool) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	ok = false
	err = rc.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		ok = err == syscall.EAGAIN || owes && n > 0
		return true
	})
	return ok && err == nil
}
