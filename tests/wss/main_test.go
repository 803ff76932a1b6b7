package wss

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"holdfast/tests/harness"
	"holdfast/tests/raw"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

func connect(t *testing.T, addr string) net.Conn {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, harness.Deadline)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(harness.Deadline)); err != nil {
		t.Fatal(err)
	}
	return nc
}

// only is a client of one version of TLS.
func only(config *tls.Config, version uint16) *tls.Config {
	config = config.Clone()
	config.MinVersion, config.MaxVersion = version, version
	return config
}

// dialTLS does the TLS handshake, and nothing more.
func dialTLS(t *testing.T, w *harness.World, config *tls.Config) *tls.Conn {
	t.Helper()
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName = "127.0.0.2"
	}
	tc := tls.Client(connect(t, w.AddrTLS), config)
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	return tc
}

// charger is an open WebSocket.
type charger struct {
	net.Conn
	br    *bufio.Reader
	asked int
}

// open completes the WebSocket handshake.
func open(t *testing.T, nc net.Conn, identity string) *charger {
	t.Helper()
	c := &charger{Conn: nc, br: bufio.NewReader(nc)}
	d := ws.Dialer{Protocols: []string{"ocpp1.6"}}
	_, _, err := d.Upgrade(struct {
		io.Reader
		io.Writer
	}{c.br, nc}, &url.URL{Scheme: "wss", Host: "gateway", Path: "/ocpp/" + identity})
	if err != nil {
		t.Fatalf("%s: %v", identity, err)
	}
	return c
}

// ask asks and reads the answer.
func (c *charger) ask() error {
	c.asked++
	if err := wsutil.WriteClientText(c, fmt.Appendf(nil, `[2,"%d","Heartbeat",{}]`, c.asked)); err != nil {
		return err
	}
	answer, err := wsutil.ReadServerText(struct {
		io.Reader
		io.Writer
	}{c.br, c.Conn})
	if err == nil && !strings.HasPrefix(string(answer), fmt.Sprintf(`[3,"%d",`, c.asked)) {
		err = fmt.Errorf("answered with %.100s", answer)
	}
	return err
}

func (c *charger) mustAsk(t *testing.T) {
	t.Helper()
	if err := c.ask(); err != nil {
		t.Fatal(err)
	}
}

// request is the response to a request to connect. The connection is closed then.
func request(t *testing.T, nc net.Conn, identity string, headers ...string) *http.Response {
	t.Helper()
	resp, _, err := raw.Handshake(nc, identity, headers...)
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	return resp
}

// logged waits until the gateway logs this reason.
func logged(t *testing.T, w *harness.World, msg, reason string) harness.Line {
	t.Helper()
	var found harness.Line
	harness.Until(t, fmt.Sprintf("the log to say %s: %s", msg, reason), func() bool {
		for _, l := range w.Log.Lines() {
			if l.Msg() == msg && strings.Contains(l.String("reason")+l.String("err"), reason) {
				found = l
				return true
			}
		}
		return false
	})
	return found
}

func upgrade(t *testing.T, w *harness.World) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Deadline)
	defer cancel()
	return w.Upgrade(ctx, harness.Holdfast())
}
