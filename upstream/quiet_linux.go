package upstream

import (
	"net"
	"syscall"
)

// probe looks at an idle connection without reading from it.
type probe struct{ rc syscall.RawConn }

func newProbe(c net.Conn) probe {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return probe{}
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return probe{}
	}
	return probe{rc}
}

// quiet reports whether the far end of an idle connection has neither closed it
// nor, unless it owes a reply, said anything: a 421 perhaps.
func (p probe) quiet(owes bool) (ok bool) {
	if p.rc == nil {
		return true
	}
	err := p.rc.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		ok = err == syscall.EAGAIN || owes && n > 0
	})
	return ok && err == nil
}
