package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"holdfast/tests/wiretap"
)

// Built are the programs that Main has built.
func Built() Binaries { return built }

// Holdfast is the built cmd/holdfast.
func Holdfast() string { return built.Holdfast }

var faulty struct {
	once sync.Once
	path string
	err  error
}

// Faulty is cmd/holdfast built with the tags holdfast_faults and holdfast_keylog: it
// fails at the step of an upgrade that HOLDFAST_FAULT names, and writes the secrets of
// TLS to the file that HOLDFAST_KEYLOG names. It is built when first asked for.
func Faulty(t testing.TB) string {
	t.Helper()
	faulty.once.Do(func() {
		faulty.path = built.Holdfast + "-faulty"
		var tests string
		if tests, faulty.err = moduleDir(); faulty.err == nil {
			faulty.err = build(filepath.Dir(tests), "./cmd/holdfast", faulty.path, "-tags", "holdfast_faults,holdfast_keylog")
		}
	})
	if faulty.err != nil {
		t.Fatal(faulty.err)
	}
	return faulty.path
}

// NewTapped is New for the binary of Faulty, with all that goes to its port for wss
// on a wiretap; AddrTLS is the wiretap's.
func NewTapped(t testing.TB, env []string, args ...string) (*World, *wiretap.Tap) {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keylog")
	w := NewOf(t, Setup{Binary: Faulty(t), Env: append(env, "HOLDFAST_KEYLOG="+keys), Args: args})
	w.keyLog = keys
	tap, err := wiretap.Start(w.AddrTLS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tap.Close)
	w.AddrTLS = tap.Addr
	return w, tap
}

// Untap ends a wiretap, and holds what was on it to the promise that no nonce is used
// twice, on at least so many connections.
func (w *World) Untap(tap *wiretap.Tap, connections int) {
	w.t.Helper()
	s, err := tap.Check(w.keyLog)
	if err != nil {
		w.t.Errorf("on the wire: %v", err)
	}
	if s.Connections < connections || s.Records < connections {
		w.t.Errorf("only %d of %d connections were opened, %d records", s.Connections, connections, s.Records)
	}
	w.t.Logf("on the wire: %d connections, %d records opened, %d changes of keys; no nonce twice", s.Connections, s.Records, s.KeyUpdates)
}

// AdminSocket is the path of the socket for operators' commands.
func (g *Gateway) AdminSocket() string {
	return filepath.Join(filepath.Dir(g.Processors), "admin.sock")
}

// Upgrade runs `holdfast upgrade`, and returns what it printed.
func (g *Gateway) Upgrade(ctx context.Context, binary string) (out string, err error) {
	b, err := exec.CommandContext(ctx, binary, "upgrade", "-admin-socket", g.AdminSocket()).CombinedOutput()
	if err != nil {
		return string(b), fmt.Errorf("holdfast upgrade: %w\n%s", err, b)
	}
	return string(b), nil
}

// MustUpgrade upgrades to the same binary, and waits until another process serves, and
// no other is left. It returns what the command printed.
func (w *World) MustUpgrade() string {
	w.t.Helper()
	before, err := w.CurrentPid()
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*Deadline)
	defer cancel()
	out, err := w.Upgrade(ctx, built.Holdfast)
	if err != nil {
		w.t.Fatal(err)
	}
	after, err := w.CurrentPid()
	if err != nil || after == before {
		w.t.Fatalf("process %d serves after %d, %v\n%s", after, before, err, out)
	}
	w.Alone(after)
	return out
}

// Alone waits until no process is left of the gateway but the one.
func (w *World) Alone(pid int) {
	w.t.Helper()
	Until(w.t, "one process", func() bool { return slices.Equal(w.Pids(), []int{pid}) })
}

// Pids are the processes that live of this gateway: two during an upgrade.
func (g *Gateway) Pids() (pids []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err == nil && bytes.Contains(env, []byte(g.mark)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// sweep kills what is left of a gateway, and reaps what the test has adopted.
func (g *Gateway) sweep() {
	for _, pid := range g.Pids() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		_ = wait(context.Background(), "a killed process", func() bool { return gone(pid) })
	}
}

// Stopped says whether a process is stopped, as by SIGSTOP.
func Stopped(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b[bytes.LastIndexByte(b, ')')+1:]), " ")
	return strings.HasPrefix(rest, "T")
}

// Gone reaps a process that an upgrade has left behind, and says whether it is
// no more.
func Gone(pid int) bool { return gone(pid) }
