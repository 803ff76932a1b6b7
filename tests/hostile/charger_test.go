package hostile

import (
	"bufio"
	"bytes"
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
	"holdfast/tests/raw"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

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

const deflate = "Sec-WebSocket-Extensions: permessage-deflate"

// open completes the handshake.
func open(t testing.TB, w *harness.World, identity string, extra ...string) *charger {
	t.Helper()
	c := connect(t, w)
	c.send(raw.Request(identity, extra...))
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

// frame reads one frame of the gateway's.
func (c *charger) frame() (op byte, payload string, err error) { return raw.Read(c.br) }

// message reads up to the next message.
func (c *charger) message() (string, error) {
	for {
		op, payload, err := c.frame()
		switch {
		case err != nil:
			return "", err
		case op == raw.OpText || op == raw.OpBinary:
			return payload, nil
		case op == raw.OpClose && len(payload) >= 2:
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
	if got, err := raw.ReadClose(c.br); err != nil || got != code {
		c.t.Fatalf("want a close with %d, got %d, %v", code, got, err)
	}
	if b, err := c.br.ReadByte(); err != io.EOF {
		c.t.Errorf("behind the close: %x, %v", b, err)
	}
	c.Close()
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
