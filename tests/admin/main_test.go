package admin

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"holdfast/tests/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// command runs a command against the gateway.
func command(t *testing.T, w *harness.World, name string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.Holdfast(), append([]string{name, "-admin-socket", w.AdminSocket()}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) || ctx.Err() != nil {
		t.Fatalf("holdfast %s %q: %v, %v\n%s%s", name, args, err, ctx.Err(), &out, &errs)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// done runs a command that must succeed, and returns what it printed.
func done(t *testing.T, w *harness.World, name string, args ...string) string {
	t.Helper()
	code, out, errs := command(t, w, name, args...)
	if code != 0 || errs != "" {
		t.Fatalf("holdfast %s %q: exit code %d\n%s%s", name, args, code, out, errs)
	}
	return out
}

// upgraded upgrades, and fails the test unless another process serves.
func upgraded(t *testing.T, w *harness.World) {
	t.Helper()
	before, err := w.CurrentPid()
	if err != nil {
		t.Fatal(err)
	}
	done(t, w, "upgrade")
	if after, err := w.CurrentPid(); err != nil || after == before {
		t.Fatalf("process %d serves after %d, %v", after, before, err)
	}
}

// oneLine fails the test unless s is one line that holds each of want.
func oneLine(t *testing.T, what, s string, want ...string) {
	t.Helper()
	if strings.Count(s, "\n") != 1 || !strings.HasSuffix(s, "\n") {
		t.Errorf("%s: want one line, got %q", what, s)
	}
	for _, text := range want {
		if !strings.Contains(s, text) {
			t.Errorf("%s: %q says nothing of %q", what, s, text)
		}
	}
}
