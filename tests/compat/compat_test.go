// Package compat upgrades between versions under load: from an old release to
// this tree and back (make compat OLD=path), and always between this tree and
// one that writes state of a later version.
package compat

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/tests/harness"
	"holdfast/unixipc"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// world is a gateway whose binary can be replaced.
type world struct {
	*harness.World
	binary string
}

func start(t *testing.T, from string, env ...string) world {
	binary := filepath.Join(t.TempDir(), "holdfast")
	install(t, binary, from)
	w := world{harness.NewOf(t, harness.Setup{Binary: binary, Env: env, Plain: !knowsTLS(t, from)}), binary}
	w.Checkproc("a")
	w.Checkproc("b")
	return w
}

// knowsTLS says whether a release has ports for wss; the first had none.
func knowsTLS(t *testing.T, binary string) bool {
	t.Helper()
	out, err := exec.Command(binary, "help").Output()
	if err != nil {
		t.Fatalf("%s help: %v", binary, err)
	}
	return strings.Contains(string(out), "-listen-tls")
}

// install puts a program in the place of another, as an operator does.
func install(t *testing.T, path, from string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// upgrade installs a program and upgrades to it.
func (w world) upgrade(t *testing.T, to string) (string, error) {
	t.Helper()
	install(t, w.binary, to)
	ctx, cancel := context.WithTimeout(t.Context(), 2*harness.Deadline)
	defer cancel()
	return w.Upgrade(ctx, harness.Holdfast())
}

func (w world) must(t *testing.T, what, to string) {
	t.Helper()
	if out, err := w.upgrade(t, to); err != nil {
		t.Fatalf("%s: %v\n%s", what, err, out)
	}
}

// future builds a gateway that writes fields which no version knows.
func future(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "future")
	cmd := exec.Command("go", "build", "-tags", "holdfast_future", "-o", path, "./cmd/holdfast")
	cmd.Dir = filepath.Dir(harness.TestsDir(t))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// An optional field of a later version is skipped: a downgrade works, and the
// upgrade after it.
func TestOptionalFieldOfALaterVersion(t *testing.T) {
	later := future(t)
	w := start(t, later, "HOLDFAST_FUTURE=optional")
	l := w.Load(100, 500)
	l.More(200)
	w.must(t, "downgrade", harness.Holdfast())
	l.More(200)
	w.must(t, "upgrade", later)
	l.More(200)
	w.CheckLedger(l.Finish())
}

// A required field of a later version refuses the downgrade, and nothing changes.
func TestRequiredFieldOfALaterVersion(t *testing.T) {
	later := future(t)
	w := start(t, later, "HOLDFAST_FUTURE=required")
	l := w.Load(100, 500)
	l.More(200)
	out, err := w.upgrade(t, harness.Holdfast())
	if err == nil || !strings.Contains(out, "rolled back") || !strings.Contains(out, "field 1000 has a field that this version must know") {
		t.Fatalf("%v\n%s", err, out)
	}
	l.More(200)
	w.CheckLedger(l.Finish())
}

// The release before this one and this tree hand over to each other.
func TestOldRelease(t *testing.T) {
	old := os.Getenv("HOLDFAST_OLD")
	if old == "" {
		t.Log("no old release given (make compat OLD=path): this tree against itself")
		old = harness.Holdfast()
	}
	w := start(t, old)
	l := w.Load(200, 1000)
	l.More(500)
	w.must(t, "old to new", harness.Holdfast())
	l.More(500)
	w.must(t, "new to old", old)
	l.More(500)
	w.must(t, "and to new again", harness.Holdfast())
	l.More(500)
	w.CheckLedger(l.Finish())
}

// What a processor relies on, and the other release does not know, refuses a downgrade
// by its name. It works once the processor is gone. The other release is the old one if
// it lacks charger_window, or else this tree without its features.
func TestFeatureThatTheOtherReleaseLacks(t *testing.T) {
	other := os.Getenv("HOLDFAST_OLD")
	var env []string
	if other == "" || knows(t, other, `json:"charger_window,omitempty"`) {
		other, env = future(t), []string{"HOLDFAST_FUTURE=forgets"}
	}
	w := start(t, harness.Holdfast(), env...)
	c, err := net.Dial("unix", w.Processors)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	hello, _ := json.Marshal(unixipc.HelloBody{Name: "ordered", ChargerWindow: 1})
	if _, err := c.Write(unixipc.Frame{Type: unixipc.Hello, Ref: unixipc.Version, Payload: hello}.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 4096)); err != nil { // WELCOME
		t.Fatal(err)
	}
	out, err := w.upgrade(t, other)
	if err == nil || !strings.Contains(out, "rolled back") || !strings.Contains(out, "charger_window") || !strings.Contains(out, `"ordered"`) {
		t.Fatalf("%v\n%s", err, out)
	}
	c.Close()
	harness.Until(t, "the link to end", func() bool { return w.Log.Contains("processor left") })
	w.must(t, "downgrade", other)
	w.must(t, "upgrade", harness.Holdfast())
}

// knows reports whether a program has a text in it.
func knows(t *testing.T, binary, text string) bool {
	t.Helper()
	b, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(b, []byte(text))
}
