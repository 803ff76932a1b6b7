// Package epoll is a level-triggered readiness loop over raw file descriptors,
// for the one goroutine that calls it. It owns the epoll descriptor and none of
// those registered with it.
package epoll

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batch is how many events one Wait returns at most.
const batch = 1024

// Poller waits for descriptors. The zero value is not usable: Open.
type Poller struct {
	fd     int
	file   *os.File
	raw    syscall.RawConn
	events []unix.EpollEvent
	n      int
	err    error
	try    func(uintptr) bool
}

// Open makes a Poller. Its epoll descriptor is parked in Go's own netpoller: a
// thread blocked in epoll_wait would lose its P on each wait, which costs more
// than twice the CPU time per wake-up.
func Open() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("set epoll non-blocking: %w", err)
	}
	p := &Poller{fd: fd, file: os.NewFile(uintptr(fd), "epoll"), events: make([]unix.EpollEvent, batch)}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		return nil, fmt.Errorf("park epoll: %w", err)
	}
	p.try = p.poll
	return p, nil
}

// Add registers fd for reading.
func (p *Poller) Add(fd int) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN)
}

// Writable also waits for fd to become writable, or no longer does.
func (p *Poller) Writable(fd int, on bool) error {
	events := uint32(unix.EPOLLIN)
	if on {
		events |= unix.EPOLLOUT
	}
	return p.control(unix.EPOLL_CTL_MOD, fd, events)
}

// Remove forgets fd; call it before closing fd.
func (p *Poller) Remove(fd int) error {
	return p.control(unix.EPOLL_CTL_DEL, fd, 0)
}

func (p *Poller) control(op, fd int, events uint32) error {
	if err := unix.EpollCtl(p.fd, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// Wait blocks until something is ready. The events are valid until the next call.
func (p *Poller) Wait() ([]unix.EpollEvent, error) {
	if err := p.raw.Read(p.try); err != nil {
		return nil, fmt.Errorf("wait for epoll: %w", err)
	}
	return p.events[:p.n], p.err
}

// poll asks epoll without waiting and reports whether there is an answer.
func (p *Poller) poll(fd uintptr) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd,
		uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
	p.n, p.err = int(n), nil
	if errno != 0 {
		p.n = 0
		if errno != unix.EINTR {
			p.err = fmt.Errorf("epoll_wait: %w", errno)
		}
	}
	return p.n > 0 || p.err != nil
}

// Close ends the Poller; what was registered stays open.
func (p *Poller) Close() error { return p.file.Close() }
