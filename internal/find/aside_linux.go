package find

import (
	"runtime"
	"syscall"
)

// yield gives the thread of the calling goroutine, which ends with it, a lower priority
// than those that carry mail.
func yield() {
	runtime.LockOSThread() // and never unlocked: the thread is not used again
	syscall.Setpriority(syscall.PRIO_PROCESS, 0, 10)
}
