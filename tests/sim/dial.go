package sim

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// readBuffer is what a charger keeps to read with, in bytes: answers are short,
// and there are thousands of these.
const readBuffer = 512

// dial opens the connection of a charger from its source address.
func (s *Sim) dial(ctx context.Context, charger int, subprotocol string) (net.Conn, *bufio.Reader, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	network := net.Dialer{KeepAlive: -1}
	if s.config.Sources > 1 {
		network.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+charger%s.config.Sources))}
		network.Control = bindLate
	}
	dialer := ws.Dialer{
		Protocols: []string{subprotocol},
		NetDial:   network.DialContext,
		TLSConfig: s.config.TLS,
	}
	if dialer.TLSConfig == nil {
		dialer.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	endpoint := s.config.endpoint(charger)
	if rest, ok := strings.CutPrefix(endpoint, "wss:"); ok && len(s.config.Suites) > 0 {
		endpoint = "ws:" + rest
		dialer.NetDial = func(ctx context.Context, proto, addr string) (net.Conn, error) {
			nc, err := network.DialContext(ctx, proto, addr)
			if err != nil {
				return nil, err
			}
			return s.config.suite(charger).Dial(ctx, nc, addr, dialer.TLSConfig)
		}
	}
	conn, early, handshake, err := dialer.Dial(ctx, endpoint)
	if err != nil {
		return nil, nil, err
	}
	// early is gobwas' own pooled reader with bytes after the handshake, if any.
	br := bufio.NewReaderSize(conn, readBuffer)
	if early != nil {
		held, _ := early.Peek(early.Buffered())
		br = bufio.NewReaderSize(&prefixed{Conn: conn, first: append([]byte(nil), held...)}, readBuffer)
		ws.PutReader(early)
	}
	if handshake.Protocol != subprotocol {
		conn.Close()
		return nil, nil, fmt.Errorf("asked for subprotocol %q, got %q", subprotocol, handshake.Protocol)
	}
	return conn, br, nil
}

// prefixed is a connection of which some bytes were read already.
type prefixed struct {
	net.Conn
	first []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.first) > 0 {
		n := copy(b, p.first)
		p.first = p.first[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// bindLate lets the kernel choose the port when it knows the destination, so that
// each source address has the whole range of ephemeral ports.
func bindLate(_, _ string, c syscall.RawConn) error {
	var inner error
	err := c.Control(func(fd uintptr) {
		inner = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	return errors.Join(err, inner)
}

// why makes a reason of few words out of an error: no addresses in it, so that
// equal reasons count together.
func why(err error) string {
	var op *net.OpError
	var status ws.StatusError
	switch {
	case errors.As(err, &status):
		return fmt.Sprintf("HTTP status %d", int(status))
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "timed out"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}
