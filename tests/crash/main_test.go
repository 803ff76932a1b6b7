package crash

import (
	"context"
	"fmt"
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
	files  int          // limit of open files of the keeper; 0: that of the test
	tap    *wiretap.Tap // of wss
}

func newWorld(t testing.TB, args ...string) *world {
	t.Helper()
	return newWorldEnv(t, nil, args...)
}

func newWorldEnv(t testing.TB, env []string, args ...string) *world {
	t.Helper()
	return newWorldOf(t, world{}, env, args...)
}

func newWorldOf(t testing.TB, is world, env []string, args ...string) *world {
	t.Helper()
	w := &is
	w.t, w.socket = t, filepath.Join(t.TempDir(), "keeper.sock")
	w.startKeeper()
	t.Cleanup(func() {
		_ = w.keeper.Kill()
		if t.Failed() {
			t.Logf("the keeper's log:\n%s", w.keeper.Log.Tail(40))
		}
	})
	args = append([]string{"-keeper", w.socket}, args...)
	w.World, w.tap = harness.NewTapped(t, append(env, "HOLDFAST_CRASH_LOOP=yes"), args...)
	return w
}

// startKeeper starts a keeper that has nothing.
func (w *world) startKeeper() {
	w.t.Helper()
	var err error
	command := []string{harness.Holdfast(), "keep", "-socket", w.socket, "-log-format", "json"}
	if w.files > 0 {
		command = append([]string{"/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, w.files)}, command...)
	}
	if w.keeper, err = harness.Start("keeper", command[0], command[1:]...); err != nil {
		w.t.Fatal(err)
	}
	harness.Until(w.t, "the keeper", func() bool { return w.keeper.Log.Contains("keeper: listens") })
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
