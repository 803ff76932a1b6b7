package crash

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"holdfast/tests/harness"
	"holdfast/tests/wiretap"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// world is a gateway with a keeper.
type world struct {
	*harness.World
	t      testing.TB
	keeper *harness.Process
	socket string
	tap    *wiretap.Tap // of wss
}

func newWorld(t testing.TB, args ...string) *world {
	t.Helper()
	w := &world{t: t, socket: filepath.Join(t.TempDir(), "keeper.sock")}
	var err error
	if w.keeper, err = harness.Start("keeper", harness.Holdfast(), "keep", "-socket", w.socket, "-log-format", "json"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = w.keeper.Kill()
		if t.Failed() {
			t.Logf("the keeper's log:\n%s", w.keeper.Log.Tail(40))
		}
	})
	harness.Until(t, "the keeper", func() bool { _, err := os.Stat(w.socket); return err == nil })
	args = append([]string{"-keeper", w.socket}, args...)
	w.World, w.tap = harness.NewTapped(t, []string{"HOLDFAST_CRASH_LOOP=yes"}, args...)
	return w
}

// crash kills the gateway, and starts it again.
func (w *world) crash() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), harness.Deadline)
	defer cancel()
	if err := w.Crash(ctx); err != nil {
		w.t.Fatal(err)
	}
}
