package tlsclients

import (
	"context"
	"os"
	"testing"

	"holdfast/tests/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// upgrades is how many each client must not notice.
const upgrades = 5

// start runs a gateway with the reference processor.
func start(t *testing.T, args ...string) *harness.World {
	t.Helper()
	w := harness.New(t, args...)
	w.Processor("reference")
	return w
}

// upgraded upgrades, and fails the test unless another process serves.
func upgraded(t *testing.T, w *harness.World) {
	t.Helper()
	before, err := w.CurrentPid()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), harness.Deadline)
	defer cancel()
	if out, err := w.Upgrade(ctx, harness.Holdfast()); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if after, err := w.CurrentPid(); err != nil || after == before {
		t.Fatalf("process %d serves after %d, %v", after, before, err)
	}
}
