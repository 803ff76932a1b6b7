//go:build holdfast_faults

package handoff

import (
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// point does what HOLDFAST_FAULT asks for at this step: side:step:action, the
// action one of kill, stop, or exit. A file named by HOLDFAST_FAULT_ONCE is
// removed first, and nothing happens if there is none: so a test has the fault
// in one upgrade and not in the next.
func point(side, step string) {
	action, ok := strings.CutPrefix(os.Getenv("HOLDFAST_FAULT"), side+":"+step+":")
	if !ok {
		return
	}
	if once := os.Getenv("HOLDFAST_FAULT_ONCE"); once != "" && os.Remove(once) != nil {
		return
	}
	switch action {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "stop":
		// To this thread: sent to the process, another thread may take it, and
		// this one goes on until that is scheduled.
		runtime.LockOSThread()
		_ = unix.Tgkill(os.Getpid(), unix.Gettid(), syscall.SIGSTOP)
		runtime.UnlockOSThread()
	case "exit":
		os.Exit(3)
	}
}
