package conn

import (
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Take takes the socket out of a net.Conn, for a loop: a duplicate of its fd,
// still non-blocking and close-on-exec; the net.Conn is closed, which leaves
// the connection as it is. (File().Fd() would make it blocking, for all
// duplicates.)
func Take(nc net.Conn) (fd int, err error) {
	defer func() { _ = nc.Close() }()
	return Duplicate(nc)
}

// Duplicate returns another file descriptor of nc's socket: the lowest that is free,
// from 3 on.
func Duplicate(nc net.Conn) (fd int, err error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("%T has no socket of its own", nc)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("take socket: %w", err)
	}
	var dupErr error
	if err = raw.Control(func(p uintptr) { fd, dupErr = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 3) }); err == nil {
		err = dupErr
	}
	if err != nil {
		return -1, fmt.Errorf("take socket: %w", err)
	}
	return fd, nil
}

// SetUserTimeout bounds how long written bytes may stay unacknowledged by the
// charger's TCP before the kernel gives the connection up.
func SetUserTimeout(fd int, d time.Duration) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds())); err != nil {
		return fmt.Errorf("TCP_USER_TIMEOUT: %w", err)
	}
	return nil
}
