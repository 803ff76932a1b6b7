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
	n      int
	err    error
	wait   func(uintptr) bool // p.collect, made once
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
	p.wait = p.collect
	return p, nil
}

// poll waits until there are events or the deadline set by setDeadline has
// passed. The events are good until the next call.
func (p *poller) poll() ([]unix.EpollEvent, error) {
	err := p.raw.Read(p.wait)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, nil
	}
	if err == nil {
		err = p.err
	}
	return p.events[:p.n], err
}

// pollNow returns what events there are.
func (p *poller) pollNow() ([]unix.EpollEvent, error) {
	p.collect(0)
	return p.events[:p.n], p.err
}

// collect is called by the netpoller; false parks until epoll has news.
func (p *poller) collect(uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.fd),
			uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
		switch errno {
		case 0:
			p.n, p.err = int(n), nil
			return n > 0
		case syscall.EINTR:
		default:
			p.n, p.err = 0, fmt.Errorf("epoll_wait: %w", errno)
			return true
		}
	}
}

// setDeadline limits poll; the zero time lifts the limit.
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
