package keep

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"holdfast/unixipc"
)

// backlog of the listening socket: gateways that start, and operators' mistakes.
const backlog = 16

// listen listens at path for this user and root. The socket of a keeper that is dead is
// replaced; a living one is an error.
func listen(path string) (fd int, err error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return -1, fmt.Errorf("%s exists and is not a socket", path)
		}
		if err := removeStale(path); err != nil {
			return -1, err
		}
	}
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	old := unix.Umask(0o177) // the socket never exists with more rights
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	unix.Umask(old)
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("listen on %s: %w", path, err)
	}
	return fd, nil
}

// removeStale removes the socket at path if nobody listens on it.
func removeStale(path string) error {
	c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer func() { _ = unix.Close(c) }()
	switch err := unix.Connect(c, &unix.SockaddrUnix{Name: path}); err {
	case nil:
		return fmt.Errorf("%s is taken by the live process %d; stop it, or choose another path", path, unixipc.PeerOfFD(c).PID)
	case unix.ECONNREFUSED:
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("stale socket: %w", err)
		}
		return nil
	default:
		return fmt.Errorf("%s exists, and whether a process listens on it cannot be told: %w", path, err)
	}
}
