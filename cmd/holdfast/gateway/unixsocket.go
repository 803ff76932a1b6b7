package gateway

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"holdfast/unixipc"
)

// dyingTime is how long a process that was killed may take to close its sockets.
const dyingTime = time.Second

// listenUnix listens at path with the rights that mask leaves. A socket that a
// live process listens on is left alone; a stale one is replaced.
func listenUnix(path string, mask int) (*net.UnixListener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("%s exists and is not a socket", path)
		}
		c, err := net.DialTimeout("unix", path, time.Second)
		for end := time.Now().Add(dyingTime); err == nil && time.Now().Before(end); c, err = net.DialTimeout("unix", path, time.Second) {
			_ = c.Close() // by a process that is killed, perhaps, and not gone yet
			time.Sleep(dyingTime / 50)
		}
		if err == nil {
			who := unixipc.PeerOf(c.(*net.UnixConn))
			_ = c.Close()
			return nil, fmt.Errorf("%s is taken by the live process %d; stop it, or choose another path", path, who.PID)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("%s exists, and whether a process listens on it cannot be told: %w", path, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("stale socket: %w", err)
		}
	}
	old := syscall.Umask(mask) // the socket never exists with more rights
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listen on a Unix socket: %w", err)
	}
	return l, nil
}
