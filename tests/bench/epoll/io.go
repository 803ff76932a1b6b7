package epoll

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Read reads from a non-blocking fd without telling Go's scheduler. It returns
// unix.EAGAIN when there is nothing to read, and 0, nil at the end.
func Read(fd int, b []byte) (int, error) {
	return transfer(unix.SYS_READ, fd, b)
}

// Write writes to a non-blocking fd without telling Go's scheduler. It returns
// unix.EAGAIN when nothing fits.
func Write(fd int, b []byte) (int, error) {
	return transfer(unix.SYS_WRITE, fd, b)
}

func transfer(call uintptr, fd int, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// Ticker makes a descriptor that is readable each interval, counted from now;
// Ticks empties it.
func Ticker(interval time.Duration) (int, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("create timer: %w", err)
	}
	t := unix.NsecToTimespec(interval.Nanoseconds())
	if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: t, Value: t}, nil); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("set timer: %w", err)
	}
	return fd, nil
}

// Ticks returns how often the Ticker fd fired since the last call.
func Ticks(fd int) uint64 {
	var b [8]byte
	if n, err := Read(fd, b[:]); err != nil || n != len(b) {
		return 0
	}
	return *(*uint64)(unsafe.Pointer(&b))
}
