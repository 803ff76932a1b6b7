package admin

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"holdfast/tests/harness"
)

// A charger that is blocked goes, and gets 403 until it is unblocked: also behind an
// upgrade and a restart. So does whoever comes from an address.
func TestBlock(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "blocks")
	w := harness.NewWithProcessor(t, "-blocks", file)
	run := func(want string, args ...string) {
		t.Helper()
		out, err := exec.Command(harness.Holdfast(), append(args, "-admin-socket", w.AdminSocket())...).CombinedOutput()
		if !strings.Contains(string(out), want) || (err != nil) != strings.HasPrefix(want, "holdfast:") {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	dial := func(identity string) error {
		conn, _, _, err := ws.Dialer{Protocols: []string{"ocpp1.6"}}.Dial(t.Context(), w.URL()+"/"+identity)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
		}
		return err
	}
	refused := func(identity string) {
		t.Helper()
		if err := dial(identity); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("%s: %v", identity, err)
		}
	}
	welcome := func(identity string) {
		t.Helper()
		if err := dial(identity); err != nil {
			t.Errorf("%s: %v", identity, err)
		}
	}
	welcome("CP1")
	welcome("CP2")
	run("CP1 is blocked; 1 connections are closed", "block", "-reason", "stolen", "CP1")
	w.Logged(w.Process, `"reason":"blocked","by":"operator"`)
	refused("CP1")
	w.Logged(w.Process, `blocked by an operator: stolen`)
	welcome("CP3")
	w.MustUpgrade()
	refused("CP1")
	run("CP1", "blocks")
	run("for ever  stolen", "blocks")
	run("CP1 may connect again", "unblock", "CP1")
	run("holdfast: CP1 is not blocked", "unblock", "CP1")
	welcome("CP1")
	run("127.0.0.0/8 is blocked; 3 connections are closed", "block", "-for", "1h", "127.0.0.0/8")
	refused("CP1")
	if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), "address 127.0.0.0/8 20") {
		t.Errorf("%s, %v", b, err)
	}
	run("may connect again", "unblock", "127.1.2.3/8")
	welcome("CP1")
	run("holdfast: ", "block", "a/b")

	without := harness.New(t)
	out, err := exec.Command(harness.Holdfast(), "block", "CP1", "-admin-socket", without.AdminSocket()).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "set the option blocks to a file") {
		t.Errorf("%v\n%s", err, out)
	}
	if err := os.WriteFile(file, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = exec.Command(harness.Holdfast(), "check", "-processors", "/run/p", "-blocks", file).CombinedOutput()
	if err == nil || !strings.Contains(string(out), file+":1:") {
		t.Errorf("check: %v\n%s", err, out)
	}
}
