package unixipc

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// MaxFDs is how many file descriptors one message may carry: SCM_MAX_FD of the
// kernel.
const MaxFDs = 253

// ErrTruncatedFDs says that file descriptors were lost in transit, because
// this process has no room for them (RLIMIT_NOFILE).
var ErrTruncatedFDs = errors.New("file descriptors were truncated: the limit of open files is reached")

// SocketPair returns two connected stream sockets, close-on-exec, that no name
// leads to.
func SocketPair() (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "socketpair"), os.NewFile(uintptr(fds[1]), "socketpair"), nil
}

// SendFDs writes all of b, with at most MaxFDs file descriptors that arrive no
// later than its first byte. They stay the sender's, too. len(b) > 0.
func SendFDs(c *net.UnixConn, b []byte, fds []int) error {
	if len(fds) > 0 {
		n, _, err := c.WriteMsgUnix(b, unix.UnixRights(fds...), nil)
		if err != nil {
			return fmt.Errorf("send %d file descriptors: %w", len(fds), err)
		}
		b = b[n:]
	}
	if len(b) > 0 {
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// ReceiveFDs reads what is there into b, and appends the file descriptors that
// came with it to fds; they are close-on-exec, and the caller's also when there
// is an error.
func ReceiveFDs(c *net.UnixConn, b []byte, fds []int) (n int, all []int, err error) {
	oob := make([]byte, unix.CmsgSpace(MaxFDs*4))
	n, oobn, flags, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return n, fds, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return n, fds, fmt.Errorf("control message: %w", err)
	}
	for i := range messages {
		got, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return n, fds, fmt.Errorf("control message: %w", err)
		}
		fds = append(fds, got...)
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return n, fds, ErrTruncatedFDs
	}
	return n, fds, nil
}
