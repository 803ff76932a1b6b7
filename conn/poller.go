package conn

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A poller is one epoll instance that is itself parked in Go's netpoller: a
// goroutine that waits here costs no thread, and less than half the CPU per
// wake-up of a thread blocked in epoll_wait.
type poller struct {
	fd     int
	file   *os.File // owns fd
	raw    syscall.RawConn
	events [512]unix.EpollEvent
}

const (
	readable = unix.EPOLLIN
	writable = unix.EPOLLOUT
	// hungUp is reported whatever was asked for: both directions are over.
	hungUp = unix.EPOLLHUP | unix.EPOLLERR
)

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // lets os.NewFile use the netpoller
		_ = unix.Close(fd)
		return nil, fmt.Errorf("epoll fd: set non-blocking: %w", err)
	}
	p := &poller{fd: fd, file: os.NewFile(uintptr(fd), "epoll")}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		_ = p.file.Close()
		return nil, fmt.Errorf("epoll fd: %w", err)
	}
	return p, nil
}

// turns calls step whenever there may be events, until step returns true; see
// collect. In between it is parked. It returns early, without an error, when the
// deadline set by setDeadline has passed.
//
// The epoll fd is watched edge-triggered by the netpoller. An edge between two
// calls of step is not lost, but there is none for what epoll has reported
// already: step returns false only when epoll has nothing left to report.
func (p *poller) turns(step func(uintptr) bool) error {
	if err := p.raw.Read(step); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("epoll fd: %w", err)
	}
	return nil
}

// collect returns what events there are, good until the next call.
func (p *poller) collect() ([]unix.EpollEvent, error) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.fd),
			uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
		switch errno {
		case 0:
			return p.events[:n], nil
		case syscall.EINTR:
		default:
			return nil, fmt.Errorf("epoll_wait: %w", errno)
		}
	}
}

// setDeadline limits turns; the zero time lifts the limit.
func (p *poller) setDeadline(t time.Time) error { return p.file.SetReadDeadline(t) }

// add, modify and remove change what is watched. slot and generation come back
// in the event's Fd and Pad.
func (p *poller) add(fd int, slot int32, generation, events uint32) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, slot, generation, events)
}

func (p *poller) modify(fd int, slot int32, generation, events uint32) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, slot, generation, events)
}

func (p *poller) remove(fd int) error {
	return p.control(unix.EPOLL_CTL_DEL, fd, 0, 0, 0)
}

func (p *poller) control(op, fd int, slot int32, generation, events uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: slot, Pad: int32(generation)}
	if err := unix.EpollCtl(p.fd, op, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

func (p *poller) close() error { return p.file.Close() }
