package killat

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tracer traces a program. Its thread is the only one that may speak of the program to
// ptrace(2); the order and the calls are shared with the goroutine that listens.
type tracer struct {
	control *Control
	pid     int
	threads map[int]*thread
	orders  chan Order
	killed  *Killed

	isACall map[uint64]bool // instructions, by address

	epolls, foreign map[int]bool // see findEpolls
	inOwn           map[int]bool

	mu    sync.Mutex
	armed bool
	order Order
	calls []Call
	kinds map[string]int
}

// thread is a thread of the program.
type thread struct {
	call *int // index of the call that it is in; nil: it does not matter, or none
}

const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL

func ptrace(request, pid int, addr, data uintptr) (uintptr, error) {
	r, _, errno := syscall.RawSyscall6(syscall.SYS_PTRACE, uintptr(request), uintptr(pid), addr, data, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return r, nil
}

func wait(pid int, ws *syscall.WaitStatus) (int, error) {
	for {
		got, err := syscall.Wait4(pid, ws, unix.WALL, nil)
		if err != syscall.EINTR {
			return got, err
		}
	}
}

func (t *tracer) tracing() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.armed
}

// arm begins to count.
func (t *tracer) arm(o Order) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.order, t.calls, t.kinds = o, nil, map[string]int{}
	t.armed = true
}

// stop ends that.
func (t *tracer) stop() (calls []Call, lives bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	calls, t.calls, t.order = t.calls, nil, Order{}
	return calls, t.killed == nil
}

// traceStarted goes on with a program that is stopped at its first instruction.
func (t *tracer) traceStarted() error {
	if _, err := ptrace(unix.PTRACE_SETOPTIONS, t.pid, 0, options); err != nil {
		return fmt.Errorf("PTRACE_SETOPTIONS: %w", err)
	}
	t.threads[t.pid] = &thread{}
	return t.resume(t.pid, 0)
}

// attach begins to trace all threads of a program that runs.
func (t *tracer) attach() error {
	for more := true; more; {
		more = false
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", t.pid))
		if err != nil {
			return err
		}
		for _, e := range entries {
			tid, _ := strconv.Atoi(e.Name())
			if t.threads[tid] != nil {
				continue
			}
			_, err := ptrace(unix.PTRACE_SEIZE, tid, 0, options)
			if err == unix.EPERM && t.traced(tid) {
				err = nil // another thread that is traced has made it
			} else if err == nil {
				err = unix.PtraceInterrupt(tid)
			}
			if err == unix.ESRCH {
				continue
			}
			if err != nil {
				return fmt.Errorf("PTRACE_SEIZE: %w", err)
			}
			t.threads[tid] = &thread{}
			more = true
		}
	}
	return nil
}

// traced reports whether this thread traces tid already.
func (t *tracer) traced(tid int) bool {
	return unix.PtraceInterrupt(tid) == nil
}

func (t *tracer) resume(tid int, sig syscall.Signal) error {
	err := unix.PtraceSyscall(tid, int(sig))
	if err == unix.ESRCH { // it was killed meanwhile
		return nil
	}
	return err
}

// run is the loop, until the program has ended.
func (t *tracer) run() error {
	for {
		var ws syscall.WaitStatus
		tid, err := wait(-1, &ws)
		if err == syscall.ECHILD {
			return nil
		}
		if err != nil {
			return err
		}
		if !ws.Stopped() {
			delete(t.threads, tid)
			if tid == t.pid {
				return nil // the last of its threads
			}
			continue
		}
		if err := t.stopped(tid, ws); err != nil {
			return err
		}
	}
}

func (t *tracer) stopped(tid int, ws syscall.WaitStatus) error {
	th, known := t.threads[tid]
	if !known {
		th = &thread{}
		t.threads[tid] = th
	}
	sig, event := ws.StopSignal(), int(ws)>>16
	if t.killed != nil {
		return t.resume(tid, 0)
	}
	switch {
	case sig == syscall.SIGTRAP|0x80:
		return t.atCall(tid, th)
	case event == unix.PTRACE_EVENT_STOP && sig != syscall.SIGTRAP:
		_, err := ptrace(unix.PTRACE_LISTEN, tid, 0, 0) // SIGSTOP to all of it
		return ignoreGone(err)
	case event != 0, !known && sig == syscall.SIGSTOP: // the first stop of a new thread
		return t.resume(tid, 0)
	}
	return t.resume(tid, sig)
}

func ignoreGone(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// info is struct ptrace_syscall_info.
type info struct {
	op   uint8
	_    [3]byte
	arch uint32
	ip   uint64
	sp   uint64
	data [8]uint64 // entry: number, arguments; exit: result
}

const (
	getSyscallInfo = 0x420e
	opEntry        = 1
	opExit         = 2
)

func syscallInfo(tid int) (i info, err error) {
	_, err = ptrace(getSyscallInfo, tid, unsafe.Sizeof(i), uintptr(unsafe.Pointer(&i)))
	return i, err
}

// atCall handles a stop before or after a system call.
func (t *tracer) atCall(tid int, th *thread) error {
	i, err := syscallInfo(tid)
	if err != nil {
		return ignoreGone(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch i.op {
	case opEntry:
		th.call = nil
		name, on, matters := t.matters(i.data[0], i.data[1:7])
		if !matters {
			break
		}
		at := len(t.calls)
		c := Call{N: at + 1, Name: name, On: on, FD: int(int32(i.data[1])), Thread: tid}
		t.kinds[c.Kind()]++
		c.Nth = t.kinds[c.Kind()]
		t.calls = append(t.calls, c)
		th.call = &at
		if t.order.meant(c, Before) {
			return t.kill(Killed{Call: t.calls[at]})
		}
	case opExit:
		if th.call == nil || *th.call >= len(t.calls) {
			break
		}
		at := *th.call
		c := &t.calls[at]
		if c.Thread != tid { // counting began anew while it was in the call
			break
		}
		c.Result, c.Made = int64(i.data[0]), true
		th.call = nil
		if t.order.meant(*c, After) {
			return t.kill(Killed{Call: *c})
		}
		if t.order.meant(*c, Behind) {
			return t.killBehind(tid, *c)
		}
	}
	return t.resume(tid, 0)
}

// kill kills the program. All its threads die where they are.
func (t *tracer) kill(k Killed) error {
	k.When = t.order.When
	t.killed = &k
	return syscall.Kill(t.pid, syscall.SIGKILL)
}

// maxStepping is how long a thread may take for its steps: it may spin for something that a
// thread has which is stopped, and is killed then where it is.
const maxStepping = 5 * time.Second

// killBehind has the thread execute some instructions, at most up to its next system call.
// The others run on, or wait for this in a call.
func (t *tracer) killBehind(tid int, c Call) error {
	t.share(tid)
	k := Killed{Call: c}
	var sig syscall.Signal
	until := time.Now().Add(maxStepping)
	for times := 0; ; k.Steps++ {
		i, err := syscallInfo(tid)
		if err != nil {
			return ignoreGone(err)
		}
		if k.Next, err = t.isCall(i.ip); err != nil {
			return err
		}
		if i.ip == t.order.At {
			times++
		}
		over := k.Next || t.order.At != 0 && times == t.order.Times || k.Steps%1024 == 1023 && time.Now().After(until)
		if over || t.order.At == 0 {
			k.Path = append(k.Path, i.ip)
		}
		if over {
			return t.kill(k)
		}
		if _, err := ptrace(unix.PTRACE_SINGLESTEP, tid, 0, uintptr(sig)); err != nil {
			return ignoreGone(err)
		}
		var ws syscall.WaitStatus
		if _, err := wait(tid, &ws); err != nil {
			return err
		}
		if !ws.Stopped() {
			return fmt.Errorf("thread %d ends: %#x", tid, ws)
		}
		if sig = ws.StopSignal(); sig == syscall.SIGTRAP {
			sig = 0
		}
	}
}

// share has a thread run on the same CPU as this one: to and fro is fastest there.
func (t *tracer) share(tid int) {
	var cpu uint32
	if _, _, errno := syscall.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0); errno != 0 {
		return
	}
	var set unix.CPUSet
	set.Set(int(cpu))
	_ = unix.SchedSetaffinity(0, &set)
	_ = unix.SchedSetaffinity(tid, &set)
}

// callInstruction is the instruction for a system call, by architecture.
var callInstruction = map[string][]byte{"amd64": {0x0f, 0x05}, "arm64": {0x01, 0, 0, 0xd4}}

// isCall reports whether the instruction at an address is a system call.
func (t *tracer) isCall(at uint64) (bool, error) {
	is, known := t.isACall[at]
	if known {
		return is, nil
	}
	want := callInstruction[runtime.GOARCH]
	var b [8]byte
	local := []unix.Iovec{{Base: &b[0], Len: uint64(len(want))}}
	if _, err := unix.ProcessVMReadv(t.pid, local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(want)}}, 0); err != nil {
		return false, fmt.Errorf("the instruction at %#x: %w", at, err)
	}
	is = bytes.Equal(b[:len(want)], want)
	t.isACall[at] = is
	return is, nil
}

// matters reports whether a system call touches a socket, an epoll, an eventfd, the keeper
// or the memory, and what it touches. Calls of Go's runtime do not: its own epoll, and its
// memory.
func (t *tracer) matters(number uint64, args []uint64) (name, on string, yes bool) {
	fd := int(int32(args[0]))
	switch number {
	case unix.SYS_RECVMMSG, unix.SYS_SENDMMSG, unix.SYS_SENDMSG, unix.SYS_RECVMSG, unix.SYS_SENDTO,
		unix.SYS_SHUTDOWN, unix.SYS_CONNECT, unix.SYS_ACCEPT4, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE:
		return names[number], t.what(fd), true
	case unix.SYS_MEMFD_CREATE, unix.SYS_MLOCK:
		return names[number], "memory", true
	case unix.SYS_CLOSE:
		on := t.what(fd)
		switch on {
		case "file", "pipe", "pidfd":
			return "", "", false
		}
		return "close", on, true
	case unix.SYS_FCNTL:
		if args[1] == unix.F_DUPFD_CLOEXEC {
			return "dup", t.what(fd), true
		}
	case unix.SYS_EPOLL_PWAIT:
		if t.own(fd) {
			return "epoll_pwait", "epoll", true
		}
	case unix.SYS_EPOLL_CTL:
		if t.own(fd) {
			return "epoll_ctl " + map[uint64]string{1: "add", 2: "del", 3: "mod"}[args[1]], t.what(int(int32(args[2]))), true
		}
	case unix.SYS_MADVISE:
		if args[2] == unix.MADV_REMOVE {
			return "madvise remove", "memory", true
		}
	case unix.SYS_MMAP:
		if args[3]&unix.MAP_SHARED != 0 && int32(args[4]) >= 0 {
			return "mmap", t.what(int(int32(args[4]))), true
		}
	case unix.SYS_READ, unix.SYS_WRITE:
		switch on := t.what(fd); on {
		case "eventfd":
			if t.watched(fd) {
				return names[number], on, true
			}
		case "charger", "processor", "keeper", "socket":
			return names[number], on, true
		}
	}
	return "", "", false
}

var names = map[uint64]string{
	unix.SYS_RECVMMSG: "recvmmsg", unix.SYS_SENDMMSG: "sendmmsg", unix.SYS_SENDMSG: "sendmsg", unix.SYS_RECVMSG: "recvmsg",
	unix.SYS_SENDTO: "sendto", unix.SYS_SHUTDOWN: "shutdown", unix.SYS_CONNECT: "connect", unix.SYS_ACCEPT4: "accept4",
	unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FALLOCATE: "fallocate", unix.SYS_MEMFD_CREATE: "memfd_create",
	unix.SYS_MLOCK: "mlock", unix.SYS_READ: "read", unix.SYS_WRITE: "write",
}
