package admin

import (
	"net"
	"syscall"
)

// peerUser asks the system who is at the other end of a Unix socket.
func peerUser(conn net.Conn) string {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return "unknown"
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return "unknown"
	}
	name := "unknown"
	raw.Control(func(fd uintptr) {
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			name = userName(int(cred.Uid))
		}
	})
	return name
}
