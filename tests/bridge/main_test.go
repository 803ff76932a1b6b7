package bridge

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/tests/central"
	"holdfast/tests/harness"
)

var binary string // of the bridge

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "holdfast-bridge-")
	if err == nil {
		binary, err = harness.BuildBridge(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := harness.Main(m)
	os.RemoveAll(dir)
	os.Exit(code)
}

// world is a gateway, and a central system.
type world struct {
	*harness.World
	t       *testing.T
	cs      *central.Central
	dir     string
	bridges int
}

func newWorld(t *testing.T, c central.Config, args ...string) *world {
	t.Helper()
	t.Parallel()
	cs, err := central.New("", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cs.Kill)
	return &world{World: harness.New(t, append(args, "-shutdown-grace", "1s")...), t: t, cs: cs, dir: t.TempDir()}
}

// route sends all chargers to the central system.
func (w *world) route() string { return routeTo("*", w.cs) }

func routeTo(glob string, cs *central.Central) string {
	return glob + " ws://" + cs.Address() + "/cs/{identity}"
}

// bridge starts a bridge, which has joined when it returns.
func (w *world) bridge(args ...string) *harness.Process {
	w.t.Helper()
	w.bridges++
	has := strings.Join(args, " ")
	args = append([]string{"-socket", w.Processors, "-log-format", "json"}, args...)
	if !strings.Contains(has, "-route ") && !strings.Contains(has, "-config ") {
		args = append(args, "-route", w.route())
	}
	p := w.Run(fmt.Sprint("bridge-", w.bridges), binary, args...)
	w.Logged(p, `"msg":"joined"`)
	return p
}

// config writes a configuration file.
func (w *world) config(lines ...string) (path string) {
	w.t.Helper()
	path = filepath.Join(w.dir, "bridge.conf")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// until waits for a condition, and shows what there is if it does not come.
func (w *world) until(what string, condition func() bool) {
	w.t.Helper()
	harness.Until(w.t, what, condition)
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), harness.Deadline)
	t.Cleanup(cancel)
	return ctx
}

// admitting is a hook for central systems that know one password.
func admitting(password string) func(string, *http.Request) int {
	return func(identity string, r *http.Request) int {
		if user, got, ok := r.BasicAuth(); !ok || user != identity || got != password {
			return http.StatusUnauthorized
		}
		return 0
	}
}
