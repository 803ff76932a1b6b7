package killat

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// what says what a file descriptor of the program is.
func (t *tracer) what(fd int) string {
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", t.pid, fd))
	switch {
	case err != nil:
		return "nothing"
	case strings.HasPrefix(link, "socket:"):
		return t.socket(fd)
	case strings.HasPrefix(link, "/memfd:"):
		return "memory"
	case link == "anon_inode:[eventfd]":
		return "eventfd"
	case link == "anon_inode:[eventpoll]":
		return "epoll"
	case strings.HasPrefix(link, "pipe:"):
		return "pipe"
	case strings.Contains(link, "pidfd"):
		return "pidfd"
	}
	return "file"
}

// socket says whose a socket is, by its kind.
func (t *tracer) socket(fd int) string {
	pidfd, err := unix.PidfdOpen(t.pid, 0)
	if err != nil {
		return "socket"
	}
	defer func() { _ = unix.Close(pidfd) }()
	dup, err := unix.PidfdGetfd(pidfd, fd, 0)
	if err != nil {
		return "socket"
	}
	defer func() { _ = unix.Close(dup) }()
	domain, _ := unix.GetsockoptInt(dup, unix.SOL_SOCKET, unix.SO_DOMAIN)
	kind, _ := unix.GetsockoptInt(dup, unix.SOL_SOCKET, unix.SO_TYPE)
	listens, _ := unix.GetsockoptInt(dup, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	name := "socket"
	switch {
	case domain == unix.AF_UNIX && kind == unix.SOCK_SEQPACKET:
		return "keeper"
	case domain == unix.AF_UNIX && kind == unix.SOCK_STREAM:
		name = "processor"
	case domain == unix.AF_INET || domain == unix.AF_INET6:
		name = "charger"
	}
	if listens != 0 {
		return "listener"
	}
	return name
}

// own reports whether an epoll is the program's own, and not the one of Go's runtime,
// which has the own ones in it.
func (t *tracer) own(fd int) bool {
	t.findEpolls(fd)
	return t.epolls[fd]
}

// watched reports whether fd is in an epoll of the program's own.
func (t *tracer) watched(fd int) bool {
	t.findEpolls(-1)
	return t.inOwn[fd]
}

// findEpolls looks until the own ones are found.
func (t *tracer) findEpolls(fd int) {
	if len(t.inOwn) > 0 && (fd < 0 || t.epolls[fd] || t.foreign[fd]) {
		return
	}
	t.epolls, t.foreign, t.inOwn = map[int]bool{}, map[int]bool{}, map[int]bool{}
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", t.pid))
	holds := map[int][]int{}
	for _, e := range entries {
		n, _ := strconv.Atoi(e.Name())
		if link, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", t.pid, n)); link == "anon_inode:[eventpoll]" {
			holds[n] = t.held(n)
		}
	}
	for _, fds := range holds {
		for _, n := range fds {
			if _, is := holds[n]; is {
				t.epolls[n] = true
			}
		}
	}
	for n, fds := range holds {
		if !t.epolls[n] {
			t.foreign[n] = true
			continue
		}
		for _, fd := range fds {
			t.inOwn[fd] = true
		}
	}
}

// held are the file descriptors in an epoll.
func (t *tracer) held(epoll int) (fds []int) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", t.pid, epoll))
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "tfd:" {
			if n, err := strconv.Atoi(f[1]); err == nil {
				fds = append(fds, n)
			}
		}
	}
	return fds
}
