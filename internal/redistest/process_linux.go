package redistest

import "syscall"

// dieWithParent has the kernel end the server when the test binary is killed,
// so that no timeout of a test leaves servers behind.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
