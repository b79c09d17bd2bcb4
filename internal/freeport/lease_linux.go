package freeport

import (
	"errors"
	"strconv"
	"syscall"
)

// lease takes a port for this process until it ends: false if another call has it, here
// or in another process. A name in the kernel's table stands for it, which goes with the
// process however that ends; the descriptor is never closed.
func lease(port int) bool {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return true
	}
	err = syscall.Bind(fd, &syscall.SockaddrUnix{Name: "@postern/freeport/" + strconv.Itoa(port)})
	if err != nil {
		syscall.Close(fd)
	}
	return !errors.Is(err, syscall.EADDRINUSE)
}
