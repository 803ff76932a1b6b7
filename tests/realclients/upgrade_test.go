package realclients

import (
	"bufio"
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	ocpp16 "github.com/lorenzodonini/ocpp-go/ocpp1.6"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/core"
	ocpp2 "github.com/lorenzodonini/ocpp-go/ocpp2.0.1"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/availability"
	"github.com/lorenzodonini/ocpp-go/ws"

	"holdfast/tests/harness"
)

const upgrades = 5

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

// The charge points of ocpp-go stay connected across upgrades: their disconnect
// events never fire, and every request is answered.
func TestOCPPGoAcrossUpgrades(t *testing.T) {
	w := harness.NewWithProcessor(t)
	one, two := &watched{WsClient: ws.NewClient()}, &watched{WsClient: ws.NewClient()}
	cp, cs := ocpp16.NewChargePoint("GO-16", nil, one), ocpp2.NewChargingStation("GO-201", nil, two)
	if err := cp.Start(w.URL()); err != nil {
		t.Fatal(err)
	}
	defer cp.Stop()
	if err := cs.Start(w.URL()); err != nil {
		t.Fatal(err)
	}
	defer cs.Stop()
	ask := func() {
		t.Helper()
		beat := must[*core.HeartbeatConfirmation](t, "Heartbeat")(cp.Heartbeat())
		fresh(t, "Heartbeat", beat.CurrentTime.Time)
		must[*availability.HeartbeatResponse](t, "Heartbeat")(cs.Heartbeat())
	}
	ask()
	for range upgrades {
		w.MustUpgrade()
		ask()
	}
	// What is asked while an upgrade is under way is answered, too.
	asked := make(chan error, 1)
	var stop atomic.Bool
	go func() {
		for !stop.Load() {
			if _, err := cp.Heartbeat(); err != nil {
				asked <- err
				return
			}
		}
		asked <- nil
	}()
	for range upgrades {
		w.MustUpgrade()
	}
	stop.Store(true)
	if err := <-asked; err != nil {
		t.Error(err)
	}
	if n := one.disconnected.Load() + two.disconnected.Load(); n != 0 || !cp.IsConnected() || !cs.IsConnected() {
		t.Errorf("disconnected %d times; connected at the end: %v, %v", n, cp.IsConnected(), cs.IsConnected())
	}
}

// npm ocpp-rpc stays connected across upgrades: any of its events that tell of an
// end or of a new connection fails it.
func TestOCPPRPCAcrossUpgrades(t *testing.T) {
	program, dir := harness.NeedOCPPRPC(t)
	w := harness.NewWithProcessor(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*harness.Deadline)
	defer cancel()
	node := exec.CommandContext(ctx, program, filepath.Join(dir, "upgrade.mjs"), w.URL(), "ocpp1.6", "RPC-UPGRADE")
	in, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var failed strings.Builder
	node.Stderr = &failed
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	expect := func(want string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != want {
			_ = node.Wait()
			t.Fatalf("node said %q, want %q; %s", lines.Text(), want, failed.String())
		}
	}
	ask := func() {
		t.Helper()
		if _, err := io.WriteString(in, "ask\n"); err != nil {
			t.Fatal(err)
		}
		expect("answered")
	}
	expect("connected")
	for range upgrades {
		ask()
		w.MustUpgrade()
	}
	ask()
	_ = in.Close()
	expect("done")
	if err := node.Wait(); err != nil {
		t.Errorf("%v; %s", err, failed.String())
	}
}
