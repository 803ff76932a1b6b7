// Package peer holds what answers the chargers of a benchmark: a WebSocket echo
// server as bare as can be, and processors that echo through the gateway.
package peer

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"holdfast/tests/bench/epoll"
	"holdfast/tests/bench/ws"
)

// backlog of a listener.
const backlog = 4096

// Listen opens a listener, non-blocking: on a Unix socket if address has a
// slash, else on IPv4:port. It returns the address it got.
func Listen(address string) (fd int, at string, err error) {
	family, sockaddr := unix.AF_UNIX, unix.Sockaddr(&unix.SockaddrUnix{Name: address})
	if !strings.Contains(address, "/") {
		a, err := netip.ParseAddrPort(address)
		if err != nil || !a.Addr().Is4() {
			return -1, "", fmt.Errorf("listen on %q: want IPv4:port or a path", address)
		}
		family, sockaddr = unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, "", fmt.Errorf("open socket: %w", err)
	}
	if err = unix.Bind(fd, sockaddr); err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		unix.Close(fd)
		return -1, "", fmt.Errorf("listen on %s: %w", address, err)
	}
	if bound, err := unix.Getsockname(fd); err == nil {
		if a, ok := bound.(*unix.SockaddrInet4); ok {
			address = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)).String()
		}
	}
	return fd, address, nil
}

// echo is one loop with its listener and connections.
type echo struct {
	poller *epoll.Poller
	listen int
	conns  []*client // by fd
	in     []byte
	out    []byte // of the connection being served; empty between two
	edit   func(message []byte)
}

// client is one connection.
type client struct {
	open   bool   // the handshake is done
	part   []byte // of a handshake or frame that is not complete
	unsent []byte // while there is any, nothing more is read
}

// Echo serves the listener fd until its loop fails: it sends each message back.
func Echo(fd int) error { return serve(fd, func([]byte) {}) }

// Central is Echo as a central system: what it sends back is a CALLRESULT.
func Central(fd int) error {
	return serve(fd, func(message []byte) {
		if len(message) > 1 && message[1] == '2' {
			message[1] = '3'
		}
	})
}

// serve sends each message back as edit has changed it.
func serve(fd int, edit func([]byte)) error {
	poller, err := epoll.Open()
	if err != nil {
		return err
	}
	if err := poller.Add(fd); err != nil {
		return err
	}
	e := &echo{poller: poller, listen: fd, in: make([]byte, 256<<10), edit: edit}
	for {
		events, err := poller.Wait()
		if err != nil {
			return err
		}
		for i := range events {
			if fd := int(events[i].Fd); fd == e.listen {
				if err := e.accept(); err != nil {
					return err
				}
			} else if c := e.conns[fd]; c != nil {
				e.serve(fd, c)
			}
		}
	}
}

func (e *echo) accept() error {
	for {
		fd, _, err := unix.Accept4(e.listen, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
		case unix.EAGAIN:
			return nil
		case unix.EINTR, unix.ECONNABORTED:
			continue
		default:
			return fmt.Errorf("accept: %w", err)
		}
		// Fails on a Unix socket, which has no delay to turn off.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		for len(e.conns) <= fd {
			e.conns = append(e.conns, nil)
		}
		e.conns[fd] = &client{}
		if err := e.poller.Add(fd); err != nil {
			return err
		}
	}
}

// serve does one read, answers all of it, and does one write.
func (e *echo) serve(fd int, c *client) {
	if len(c.unsent) > 0 {
		e.flush(fd, c, nil)
		return
	}
	n, err := epoll.Read(fd, e.in)
	if err == unix.EAGAIN {
		return
	}
	if err != nil || n == 0 {
		e.drop(fd)
		return
	}
	b := e.in[:n]
	if len(c.part) > 0 {
		c.part = append(c.part, b...)
		b = c.part
	}
	e.out = e.out[:0]
	b, bye, err := e.answer(c, b)
	if err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		e.drop(fd)
		return
	}
	c.part = append(c.part[:0], b...)
	if len(e.out) > 0 {
		e.flush(fd, c, e.out)
	}
	if bye && e.conns[fd] == c {
		e.drop(fd)
	}
}

// answer appends to e.out and returns what is not complete yet.
func (e *echo) answer(c *client, b []byte) (rest []byte, bye bool, err error) {
	if !c.open {
		var n int
		if e.out, n, err = ws.AnswerRequest(e.out, b); err != nil || n == 0 {
			return b, false, err
		}
		c.open, b = true, b[n:]
	}
	for len(b) > 0 {
		f, n, err := ws.Parse(b)
		if err != nil || n == 0 {
			return b, false, err
		}
		b = b[n:]
		switch f.Op {
		case ws.Ping:
			f.Op = ws.Pong
		case ws.Pong:
			continue
		}
		if f.Op == ws.Text {
			e.edit(f.Payload)
		}
		e.out = ws.Append(e.out, f.Op, f.Payload)
		if f.Op == ws.Close {
			return nil, true, nil
		}
	}
	return nil, false, nil
}

// flush writes b after what is unsent.
func (e *echo) flush(fd int, c *client, b []byte) {
	had := len(c.unsent) > 0
	if had {
		b = append(c.unsent, b...)
	}
	n, err := epoll.Write(fd, b)
	if err != nil && err != unix.EAGAIN {
		e.drop(fd)
		return
	}
	c.unsent = append(c.unsent[:0], b[n:]...)
	if has := len(c.unsent) > 0; has != had {
		_ = e.poller.Writable(fd, has)
	}
}

func (e *echo) drop(fd int) {
	_ = e.poller.Remove(fd)
	e.conns[fd] = nil
	unix.Close(fd)
}
