package systemd

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// firstPassed is the first file descriptor that a service manager passes.
const firstPassed = 3

// Sockets are listening sockets that the service manager has made for this
// process: the protocol of sd_listen_fds(3). Each stands for an address of the
// configuration, which then need not be bound. Only the first process of a
// service gets them; those that replace it inherit them like any other.
type Sockets []*socket

type socket struct {
	name     string // FileDescriptorName= of the unit
	listener *net.TCPListener
	taken    bool
}

// TakeSockets takes what was passed to this process. The environment is cleared
// of it: it means nothing to processes that this one starts.
func TakeSockets() (all Sockets, err error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name)
	}
	if count == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("LISTEN_FDS %q: want a number", count)
	}
	name := strings.Split(names, ":")
	for i := range n {
		s := new(socket)
		if i < len(name) {
			s.name = name[i]
		}
		if s.listener, err = takeListener(firstPassed + i); err != nil {
			return nil, fmt.Errorf("socket %q of the service manager: %w", s.name, err)
		}
		all = append(all, s)
	}
	return all, nil
}

// takeListener makes a listener of fd, which it closes.
func takeListener(fd int) (*net.TCPListener, error) {
	syscall.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "passed")
	defer func() { _ = f.Close() }()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		_ = l.Close()
		return nil, fmt.Errorf("%v is not a TCP socket", l.Addr())
	}
	return tcp, nil
}

// Or makes of a function that listens one that first looks among the sockets
// that were passed. A socket named after another option is refused: whoever
// expects TLS at an address must not get it without.
func (s Sockets) Or(option string, listen func(network, address string) (net.Listener, error)) func(network, address string) (net.Listener, error) {
	return func(network, address string) (net.Listener, error) {
		for _, passed := range s {
			if passed.taken || !passed.at(address) {
				continue
			}
			if passed.name != option && strings.HasPrefix(passed.name, "listen") {
				return nil, fmt.Errorf("the service manager passed it for -%s (FileDescriptorName=%s)", passed.name, passed.name)
			}
			passed.taken = true
			return passed.listener, nil
		}
		return listen(network, address)
	}
}

// at reports whether s listens at an address of the configuration.
func (s *socket) at(address string) bool {
	want, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return false
	}
	is := s.listener.Addr().(*net.TCPAddr)
	// All wildcards are one: bound by us, 0.0.0.0 would be [::], too.
	all := want.IP == nil || want.IP.IsUnspecified()
	return want.Port == is.Port && want.Zone == is.Zone && (want.IP.Equal(is.IP) || all && is.IP.IsUnspecified())
}

// Unused is an error if nobody has taken one of the sockets: chargers would
// wait in its backlog for ever.
func (s Sockets) Unused() error {
	for _, passed := range s {
		if !passed.taken {
			return fmt.Errorf("the service manager passed the socket %v (%s), which the configuration does not name: add it as a listen address, or stop its socket unit", passed.listener.Addr(), passed.name)
		}
	}
	return nil
}
