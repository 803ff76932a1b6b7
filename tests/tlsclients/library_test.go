package tlsclients

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	ocpp16 "github.com/lorenzodonini/ocpp-go/ocpp1.6"
	"github.com/lorenzodonini/ocpp-go/ws"

	"holdfast/tests/harness"
)

// watched counts the times that ocpp-go notices a disconnection, also one that it
// heals by itself.
type watched struct {
	ws.WsClient
	disconnected atomic.Int64
}

func (w *watched) SetDisconnectedHandler(handler func(err error)) {
	w.WsClient.SetDisconnectedHandler(func(err error) {
		w.disconnected.Add(1)
		handler(err)
	})
}

// Charge points of ocpp-go, which use Go's crypto/tls, notice nothing.
func TestOCPPGoAcrossUpgrades(t *testing.T) {
	w := harness.NewWithProcessor(t)
	var clients []*watched
	var points []ocpp16.ChargePoint
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := w.TLS.Client()
		config.MinVersion, config.MaxVersion = version, version
		c := &watched{WsClient: ws.NewTLSClient(config)}
		cp := ocpp16.NewChargePoint(strings.ReplaceAll(tls.VersionName(version), " ", "-"), nil, c)
		if err := cp.Start(w.URLTLS()); err != nil {
			t.Fatal(err)
		}
		defer cp.Stop()
		clients, points = append(clients, c), append(points, cp)
	}
	ask := func() {
		t.Helper()
		for _, cp := range points {
			if _, err := cp.Heartbeat(); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask()
	for range upgrades {
		w.MustUpgrade()
		ask()
	}
	for i, c := range clients {
		if n := c.disconnected.Load(); n != 0 || !points[i].IsConnected() {
			t.Errorf("disconnected %d times, connected at the end: %v", n, points[i].IsConnected())
		}
	}
}

// ocpp-rpc, which uses Node's tls, notices nothing: any of its events that tell of
// an end or of a new connection fails it.
func TestOCPPRPCAcrossUpgrades(t *testing.T) {
	node, dir := harness.NeedOCPPRPC(t)
	w := harness.NewWithProcessor(t)
	var clients []*rpc
	for name, options := range map[string]string{
		"13":        "--tls-min-v1.3",
		"12":        "--tls-max-v1.2",
		"13-chacha": "--tls-min-v1.3 --tls-cipher-list=TLS_CHACHA20_POLY1305_SHA256",
		"13-256":    "--tls-min-v1.3 --tls-cipher-list=TLS_AES_256_GCM_SHA384",
	} {
		clients = append(clients, startRPC(t, w, node, dir, name, options))
	}
	for _, c := range clients {
		c.expect("connected")
		c.ask()
	}
	for range upgrades {
		w.MustUpgrade()
		for _, c := range clients {
			c.ask()
		}
	}
	for _, c := range clients {
		_ = c.in.Close()
		c.expect("done")
		if err := c.cmd.Wait(); err != nil {
			t.Errorf("%s: %v; %s", c.name, err, c.stderr)
		}
	}
}

// rpc is a running realclients/upgrade.mjs.
type rpc struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  *bufio.Scanner
	stderr *lines
}

func startRPC(t *testing.T, w *harness.World, node, dir, name, options string) *rpc {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*harness.Deadline)
	t.Cleanup(cancel)
	c := &rpc{t: t, name: name, stderr: new(lines)}
	args := append(strings.Fields(options), filepath.Join(dir, "upgrade.mjs"), w.URLTLS(), "ocpp1.6", "RPC-"+name)
	c.cmd = exec.CommandContext(ctx, node, args...)
	c.cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+w.TLS.ServersFile)
	c.cmd.Stderr = c.stderr
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.lines = bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *rpc) expect(want string) {
	c.t.Helper()
	if !c.lines.Scan() || c.lines.Text() != want {
		_ = c.cmd.Wait()
		c.t.Fatalf("node %s said %q, want %q; %s", c.name, c.lines.Text(), want, c.stderr)
	}
}

func (c *rpc) ask() {
	c.t.Helper()
	if _, err := io.WriteString(c.in, "ask\n"); err != nil {
		c.t.Fatal(err)
	}
	c.expect("answered")
}
