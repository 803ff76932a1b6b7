package systemd

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A notifier tells the service manager how this process is: the protocol of
// sd_notify(3), lines of NAME=value in a datagram. Its zero value, of a process
// that no manager has started, tells nobody. Processes that this one starts
// inherit the socket's name by the environment.
type notifier struct{ socket string }

func newNotifier() notifier { return notifier{os.Getenv("NOTIFY_SOCKET")} }

// send tells lines, all at once.
func (n notifier) send(lines ...string) error {
	return n.datagram(nil, lines...)
}

func (n notifier) datagram(rights []byte, lines ...string) error {
	if n.socket == "" {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	// A manager that does not read must not hold up an upgrade.
	limit := unix.NsecToTimeval(int64(sendLimit))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit); err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	for i, l := range lines {
		lines[i] = strings.ReplaceAll(l, "\n", " ")
	}
	// A leading @ stands for the abstract namespace, here and in package unix.
	if err := unix.Sendmsg(fd, []byte(strings.Join(lines, "\n")), rights, &unix.SockaddrUnix{Name: n.socket}, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	return nil
}

// sendLimit is how long one datagram may take to be sent.
const sendLimit = time.Second

// barrier returns when everything that was sent before is heard. The manager
// closes the pipe that it is given, when its turn comes.
func (n notifier) barrier(timeout time.Duration) error {
	if n.socket == "" {
		return nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	err = n.datagram(unix.UnixRights(int(w.Fd())), "BARRIER=1")
	_ = w.Close()
	if err != nil {
		return err
	}
	if err := r.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err = r.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("NOTIFY_SOCKET: nobody has listened for %v", timeout)
	}
	return nil
}

// monotonic is now as the manager wants it told when a process reloads.
func monotonic() string {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // cannot fail
	return fmt.Sprintf("MONOTONIC_USEC=%d", t.Nano()/int64(time.Microsecond))
}
