package load

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"holdfast/tests/bench/ws"
)

// dialTimeout bounds each step of a handshake, seconds.
const dialTimeout = 15

// dial opens one WebSocket and returns its socket, non-blocking, and what the
// server sent after the handshake. source may be the zero Addr; s is nil without
// overTLS.
func dial(server netip.AddrPort, source netip.Addr, path, subprotocol string, overTLS bool) (fd int, s *session, rest []byte, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, nil, fmt.Errorf("open socket: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if err := prepare(fd, source); err != nil {
		return -1, nil, nil, err
	}
	err = unix.EINTR
	for errors.Is(err, unix.EINTR) || errors.Is(err, unix.EALREADY) { // the Go runtime's own signals
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(server.Port()), Addr: server.Addr().As4()})
	}
	if err != nil && !errors.Is(err, unix.EISCONN) {
		return -1, nil, nil, fmt.Errorf("connect to %s: %w", server, err)
	}
	request := ws.AppendRequest(nil, server.String(), path, subprotocol)
	if overTLS {
		if s, err = startTLS(fd); err != nil {
			return -1, nil, nil, fmt.Errorf("TLS handshake: %w", err)
		}
		request = s.seal(nil, request)
	}
	if _, err := unix.Write(fd, request); err != nil {
		return -1, nil, nil, fmt.Errorf("send handshake: %w", err)
	}
	if rest, err = answer(fd, s, subprotocol); err != nil {
		return -1, nil, nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return -1, nil, nil, fmt.Errorf("set non-blocking: %w", err)
	}
	return fd, s, rest, nil
}

func prepare(fd int, source netip.Addr) error {
	limit := unix.Timeval{Sec: dialTimeout}
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &limit); err != nil {
			return fmt.Errorf("limit handshake: %w", err)
		}
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fmt.Errorf("set TCP_NODELAY: %w", err)
	}
	if !source.IsValid() {
		return nil
	}
	// The port is chosen at connect, so each source address has all of them.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return fmt.Errorf("set IP_BIND_ADDRESS_NO_PORT: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: source.As4()}); err != nil {
		return fmt.Errorf("bind to %s: %w", source, err)
	}
	return nil
}

func answer(fd int, s *session, subprotocol string) (rest []byte, err error) {
	var buf [4096]byte
	var have []byte
	for len(have) < len(buf) {
		n, err := unix.Read(fd, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read answer to handshake: %w", err)
		}
		if n == 0 {
			return nil, fmt.Errorf("read answer to handshake: closed after %q", have)
		}
		if s == nil {
			have = append(have, buf[:n]...)
		} else if have, err = s.open(have, buf[:n]); err != nil {
			return nil, err
		}
		end, err := ws.ParseResponse(have, subprotocol)
		if err != nil {
			return nil, err
		}
		if end > 0 {
			return have[end:], nil
		}
	}
	return nil, fmt.Errorf("answer to handshake is over %d bytes", len(buf))
}
