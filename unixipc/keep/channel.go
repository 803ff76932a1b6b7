package keep

import (
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/unixipc"
)

// errLater says that the kernel does not take a message now: the other side has not read
// enough, or too many file descriptors are in flight.
var errLater = errors.New("later")

// errLong says that a message is longer than maxMessage, or than the buffer.
var errLong = errors.New("a message that is too long")

var errEmpty = errors.New("an empty message")

// send sends one message, or nothing. The file descriptors stay the caller's.
func send(fd int, b []byte, fds []int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for {
		_, err := unix.SendmsgN(fd, b, oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN, err == unix.ETOOMANYREFS, err == unix.ENOBUFS, err == unix.ENOMEM:
			return errLater
		default:
			return err
		}
	}
}

// controlSize is the space for the file descriptors of one message.
var controlSize = unix.CmsgSpace(unixipc.MaxFDs * 4)

// receive reads one message into b; oob has controlSize bytes. The file descriptors are
// close-on-exec, and the caller's also when there is an error: errLater, io.EOF at the end,
// unixipc.ErrTruncatedFDs, errLong, errEmpty.
func receive(fd int, b, oob []byte) (n int, fds []int, err error) {
	var oobn, flags int
	for {
		n, oobn, flags, _, err = unix.Recvmsg(fd, b, oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		// ECONNRESET: the other side has closed without having read everything. It comes
		// once, and before what that has sent.
		if err != unix.EINTR && err != unix.ECONNRESET {
			break
		}
	}
	switch {
	case err == unix.EAGAIN:
		return 0, nil, errLater
	case err != nil:
		return 0, nil, err
	}
	if oobn > 0 {
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			return 0, nil, fmt.Errorf("control message: %w", err)
		}
		for i := range messages {
			got, err := unix.ParseUnixRights(&messages[i])
			if err != nil {
				continue // nothing else is asked for, so nothing else comes
			}
			fds = append(fds, got...)
		}
	}
	switch {
	case n == 0 && !hungUp(fd):
		return 0, fds, errEmpty
	case n == 0:
		return 0, fds, io.EOF
	case flags&unix.MSG_CTRUNC != 0:
		return n, fds, unixipc.ErrTruncatedFDs
	case flags&unix.MSG_TRUNC != 0:
		return 0, fds, errLong
	}
	return n, fds, nil
}

// hungUp tells the end from an empty message.
func hungUp(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, _ := unix.Poll(p, 0)
	return n > 0
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// wait waits until fd has an event, or until a time: false.
func wait(fd int, events int16, until time.Time) bool {
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: events}}
		n, err := unix.Poll(p, millis(time.Until(until)))
		switch {
		case err == unix.EINTR:
		case n > 0:
			return true
		case time.Until(until) <= 0:
			return false
		}
	}
}

// millis is d for poll: rounded up, and never for ever.
func millis(d time.Duration) int {
	return int(min(max(0, d)+time.Millisecond-1, time.Hour) / time.Millisecond)
}
