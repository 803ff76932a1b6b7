package hostile

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"holdfast/tests/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// Opcodes of RFC 6455 section 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa

	fin  = 0x80
	rsv1 = 0x40
)

// charger is a raw connection to the gateway.
type charger struct {
	*net.TCPConn
	t  testing.TB
	br *bufio.Reader
}

// connect opens a TCP connection, and nothing more. It ends with the test.
func connect(t testing.TB, w *harness.World) *charger {
	t.Helper()
	nc, err := net.DialTimeout("tcp", w.Addr, harness.Deadline)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(3 * harness.Deadline)); err != nil {
		t.Fatal(err)
	}
	return &charger{nc.(*net.TCPConn), t, bufio.NewReader(nc)}
}

// request is a good handshake for an identity as it stands in the target;
// extra are further header lines.
func request(identity string, extra ...string) string {
	lines := append([]string{
		"GET /ocpp/" + identity + " HTTP/1.1", "Host: gateway", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: ocpp1.6",
	}, extra...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

const deflate = "Sec-WebSocket-Extensions: permessage-deflate"

// open completes the handshake.
func open(t testing.TB, w *harness.World, identity string, extra ...string) *charger {
	t.Helper()
	c := connect(t, w)
	c.send(request(identity, extra...))
	if resp := c.response(); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%s: %s", identity, resp.Status)
	}
	return c
}

func (c *charger) send(b ...string) {
	c.t.Helper()
	if _, err := io.WriteString(c, strings.Join(b, "")); err != nil {
		c.t.Fatal(err)
	}
}

// response reads an HTTP response with its body.
func (c *charger) response() *http.Response {
	c.t.Helper()
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			c.t.Fatal(err)
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		_ = c.CloseWrite() // the gateway waits a moment for that
	}
	return resp
}

// masked is a frame of a client; b0 is its first byte.
func masked(b0 byte, payload string) string {
	b := header(b0, uint64(len(payload)))
	mask := b[len(b)-4:]
	out := []byte(b + payload)
	for i := range len(payload) {
		out[len(b)+i] ^= mask[i&3]
	}
	return string(out)
}

// header is the header of a client's frame.
func header(b0 byte, n uint64) string {
	b := []byte{b0}
	switch {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), n)
	}
	return string(b) + "mask"
}

func text(s string) string { return masked(fin|opText, s) }

// closing is the payload of a Close frame.
func closing(code int, reason string) string {
	return string([]byte{byte(code >> 8), byte(code)}) + reason
}

// frame reads one frame of the gateway's.
func (c *charger) frame() (op byte, payload string, err error) {
	var h [10]byte
	if _, err := io.ReadFull(c.br, h[:2]); err != nil {
		return 0, "", err
	}
	n := uint64(h[1])
	op = h[0] & 0x0f
	if h[0]&fin == 0 || h[1]&0x80 != 0 {
		return 0, "", fmt.Errorf("bad header % x from the gateway", h[:2])
	}
	switch n {
	case 126:
		_, err = io.ReadFull(c.br, h[:2])
		n = uint64(binary.BigEndian.Uint16(h[:]))
	case 127:
		_, err = io.ReadFull(c.br, h[:8])
		n = binary.BigEndian.Uint64(h[:])
	}
	if err != nil || n > 64<<20 {
		return 0, "", errors.Join(err, fmt.Errorf("frame of %d bytes", n))
	}
	b := make([]byte, n)
	_, err = io.ReadFull(c.br, b)
	return op, string(b), err
}

// message reads up to the next message.
func (c *charger) message() (string, error) {
	for {
		op, payload, err := c.frame()
		switch {
		case err != nil:
			return "", err
		case op == opText || op == opBinary:
			return payload, nil
		case op == opClose && len(payload) >= 2:
			return "", fmt.Errorf("closed with %d %s", int(payload[0])<<8|int(payload[1]), payload[2:])
		}
	}
}

// expect reads the answer to a message.
func (c *charger) expect(want string) {
	c.t.Helper()
	if got, err := c.message(); err != nil || got != want {
		c.t.Fatalf("got %.100q, %v; want %.100q", got, err, want)
	}
}

// expectClose reads up to a Close frame with the code, and then the end of
// the stream.
func (c *charger) expectClose(code int) {
	c.t.Helper()
	for {
		op, payload, err := c.frame()
		if err != nil {
			c.t.Fatalf("want a close with %d, got %v", code, err)
		}
		if op != opClose {
			continue
		}
		if len(payload) < 2 || int(payload[0])<<8|int(payload[1]) != code {
			c.t.Fatalf("want a close with %d, got %q", code, payload)
		}
		if b, err := c.br.ReadByte(); err != io.EOF {
			c.t.Errorf("behind the close: %x, %v", b, err)
		}
		c.Close()
		return
	}
}

// expectEnd waits until the gateway has ended the connection, however.
func (c *charger) expectEnd() {
	c.t.Helper()
	_, err := io.Copy(io.Discard, c.br)
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		c.t.Fatal("the connection is still open")
	}
	c.Close()
}

// reset ends the connection with a RST.
func (c *charger) reset() {
	c.t.Helper()
	if err := errors.Join(c.SetLinger(0), c.Close()); err != nil {
		c.t.Fatal(err)
	}
}

// logged waits for a line of the gateway's about a charger, with a reason that
// contains why.
func logged(t testing.TB, w *harness.World, msg, identity, why string) harness.Line {
	t.Helper()
	l, err := w.WaitLog(t.Context(), fmt.Sprintf("%s %q: %s", msg, identity, why), func(l harness.Line) bool {
		return l.Msg() == msg && l.String("charger") == identity && strings.Contains(l.String("reason"), why)
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}
