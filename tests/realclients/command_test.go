package realclients

import (
	"bufio"
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	ocpp16 "github.com/lorenzodonini/ocpp-go/ocpp1.6"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/core"

	"holdfast/tests/harness"
)

// answering knows GetConfiguration, and is silent to Reset until it is released.
type answering struct {
	core.ChargePointHandler // the test calls nothing else
	release                 chan struct{}
}

func (a *answering) OnGetConfiguration(*core.GetConfigurationRequest) (*core.GetConfigurationConfirmation, error) {
	value := "300"
	return core.NewGetConfigurationConfirmation([]core.ConfigurationKey{{Key: "HeartbeatInterval", Value: &value}}), nil
}

func (a *answering) OnReset(*core.ResetRequest) (*core.ResetConfirmation, error) {
	<-a.release
	return core.NewResetConfirmation(core.ResetStatusRejected), nil
}

// An operator has real charge points do something.
func TestCallCommand(t *testing.T) {
	t.Run("ocpp-go", func(t *testing.T) {
		w := harness.NewWithProcessor(t)
		cp := ocpp16.NewChargePoint("CP000001", nil, nil)
		handler := &answering{release: make(chan struct{})}
		cp.SetCoreHandler(handler)
		if err := cp.Start(w.URL()); err != nil {
			t.Fatal(err)
		}
		defer cp.Stop()
		defer close(handler.release)
		callAll(t, w)
	})
	t.Run("ocpp-rpc", func(t *testing.T) {
		program, dir := harness.NeedOCPPRPC(t)
		w := harness.NewWithProcessor(t)
		node := exec.CommandContext(t.Context(), program, filepath.Join(dir, "answer.mjs"), w.URL(), "ocpp1.6", "CP000001")
		stdin, err := node.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := node.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		node.Stderr = &stderr
		if err := node.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "connected\n" {
			t.Fatalf("%q, %v\n%s", line, err, &stderr)
		}
		callAll(t, w)
		_ = stdin.Close()
		if err := node.Wait(); err != nil {
			t.Errorf("%v\n%s", err, &stderr)
		}
	})
}

func callAll(t *testing.T, w *harness.World) {
	t.Helper()
	for _, c := range []struct {
		what string
		args []string
		code int
		says string
	}{
		{"answer", []string{"CP000001", "GetConfiguration", "{}"}, 0, `{"configurationKey":[{"key":"HeartbeatInterval","readonly":false,"value":"300"}]}`},
		{"unknown action", []string{"CP000001", "MakeCoffee", "{}"}, 5, "MakeCoffee at CP000001: CALLERROR Not"},
		{"offline", []string{"CP000002", "GetConfiguration", "{}"}, 4, "GetConfiguration at CP000002: the charger is not connected"},
		{"bad JSON", []string{"CP000001", "GetConfiguration", "{"}, 2, "PAYLOAD is not JSON: unexpected end of JSON input"},
		{"time-out", []string{"-timeout", "500ms", "CP000001", "Reset", `{"type":"Soft"}`}, 6, "Reset at CP000001: no answer in time"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), harness.Deadline)
		cmd := exec.CommandContext(ctx, harness.Holdfast(), append([]string{"call", "-admin-socket", w.AdminSocket()}, c.args...)...)
		out, _ := cmd.CombinedOutput()
		cancel()
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(string(out), c.says) || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%s: exit code %d, want %d, and one line with %q:\n%s", c.what, code, c.code, c.says, out)
		}
	}
}
