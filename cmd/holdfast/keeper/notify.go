package keeper

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A notifier tells the service manager how this process is: sd_notify(3). That of
// package systemd reports a gateway, with its chargers and loops; a keeper has none.
type notifier struct{ socket string }

func newNotifier() notifier { return notifier{os.Getenv("NOTIFY_SOCKET")} }

// sendLimit is how long the manager may hold up the keeper.
const sendLimit = time.Second

// send tells lines, all at once.
func (n notifier) send(lines ...string) error {
	if n.socket == "" {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	limit := unix.NsecToTimeval(int64(sendLimit))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit); err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	for i, l := range lines {
		lines[i] = strings.ReplaceAll(l, "\n", " ")
	}
	// A leading @ stands for the abstract namespace, here and in package unix.
	if err := unix.Sendmsg(fd, []byte(strings.Join(lines, "\n")), nil, &unix.SockaddrUnix{Name: n.socket}, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	return nil
}

// monotonic is now as the manager wants it told when a process reloads.
func monotonic() string {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // cannot fail
	return fmt.Sprintf("MONOTONIC_USEC=%d", t.Nano()/int64(time.Microsecond))
}
