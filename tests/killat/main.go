package killat

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Main is the process that traces.
func Main(args []string) error {
	runtime.LockOSThread() // ptrace: one thread does everything
	nc, err := net.Dial("unix", os.Getenv(Socket))
	if err != nil {
		return err
	}
	t := &tracer{control: NewControl(nc), threads: map[int]*thread{}, isACall: map[uint64]bool{}, orders: make(chan Order, 1)}
	if err := t.begin(os.Getenv(Binary), args); err != nil {
		_ = t.control.Send(Report{Err: err.Error()})
		return err
	}
	var first Order
	if err := t.control.Send(Report{Pid: t.pid}); err != nil {
		return err
	}
	if err := t.control.Receive(&first); err != nil {
		return err
	}
	go t.listen()
	if first.When == None && first.N == 0 { // not even counted
		if err := unix.PtraceDetach(t.pid); err != nil {
			return fmt.Errorf("detach: %w", err)
		}
		exited := make(chan struct{})
		go t.watch(exited)
		select {
		case first = <-t.orders:
		case <-exited:
			return t.control.Send(Report{Ended: true})
		}
		if err := t.attach(); err != nil {
			_ = t.control.Send(Report{Err: err.Error()})
			return err
		}
		t.arm(first)
	} else {
		t.arm(first)
		if err := t.traceStarted(); err != nil {
			return err
		}
	}
	if err := t.control.Send(Report{Armed: true}); err != nil {
		return err
	}
	if err := t.run(); err != nil {
		_ = t.control.Send(Report{Err: err.Error()})
		return err
	}
	if t.killed == nil {
		return t.control.Send(Report{Ended: true})
	}
	if err := t.control.Send(Report{Killed: t.killed}); err != nil {
		return err
	}
	select {} // until the test closes the connection: it has to know of the kill before anybody
}

// begin starts the program, which stops at its first instruction.
func (t *tracer) begin(path string, args []string) error {
	pid, err := syscall.ForkExec(path, append([]string{path}, args...), &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return fmt.Errorf("ptrace: %w", err)
	}
	t.pid = pid
	var ws syscall.WaitStatus
	if _, err := wait(pid, &ws); err != nil {
		return err
	}
	if !ws.Stopped() {
		return fmt.Errorf("ptrace: the program does not stop: %#x", ws)
	}
	return nil
}

// watch tells the end of an untraced program, and leaves it to be waited for.
func (t *tracer) watch(exited chan struct{}) {
	fd, err := unix.PidfdOpen(t.pid, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(fd) }()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if n > 0 {
			close(exited)
			return
		}
		if err != unix.EINTR {
			return
		}
	}
}

// listen takes orders. Its end is killat's.
func (t *tracer) listen() {
	for {
		var o Order
		if t.control.Receive(&o) != nil {
			os.Exit(0)
		}
		switch {
		case o.When == Stop:
			if calls, lives := t.stop(); lives { // else it is about to report the kill
				_ = t.control.Send(Report{Calls: calls})
			}
		case t.tracing():
			t.arm(o)
			_ = t.control.Send(Report{Armed: true})
		default:
			t.orders <- o
		}
	}
}
