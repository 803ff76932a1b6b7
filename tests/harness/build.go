package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Binaries are paths of built programs.
type Binaries struct {
	Holdfast  string // cmd/holdfast
	Processor string // cmd/processor
	Checkproc string // tests/cmd/checkproc
}

// built is what Main built for the tests of this process.
var built Binaries

// Main builds the programs, runs the tests, and returns the exit code.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "holdfast-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	if built, err = Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
		return 1
	}
	return m.Run()
}

// Build builds the programs into dir.
func Build(dir string) (Binaries, error) {
	tests, err := moduleDir()
	if err != nil {
		return Binaries{}, err
	}
	b := Binaries{
		Holdfast:  filepath.Join(dir, "holdfast"),
		Processor: filepath.Join(dir, "processor"),
		Checkproc: filepath.Join(dir, "checkproc"),
	}
	for _, p := range []struct{ module, pkg, out string }{
		{filepath.Dir(tests), "./cmd/holdfast", b.Holdfast},
		{filepath.Dir(tests), "./cmd/processor", b.Processor},
		{tests, "./cmd/checkproc", b.Checkproc},
	} {
		if err := build(p.module, p.pkg, p.out); err != nil {
			return Binaries{}, err
		}
	}
	return b, nil
}

// BuildCheckproc builds tests/cmd/checkproc alone into dir.
func BuildCheckproc(dir string) (string, error) {
	tests, err := moduleDir()
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "checkproc")
	return out, build(tests, "./cmd/checkproc", out)
}

// BuildBridge builds cmd/holdfast-bridge, which is a module of its own, into dir.
func BuildBridge(dir string) (string, error) {
	tests, err := moduleDir()
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "holdfast-bridge")
	return out, build(filepath.Join(filepath.Dir(tests), "cmd", "holdfast-bridge"), ".", out)
}

// build builds a program, for race detection if the test is.
func build(module, pkg, out string, flags ...string) error {
	args := append([]string{"build", "-o", out}, flags...)
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir = module
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// TestsDir is the directory of the module holdfast/tests.
func TestsDir(t testing.TB) string {
	t.Helper()
	dir, err := moduleDir()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// moduleDir is the directory of the module holdfast/tests, where go runs its tests.
func moduleDir() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "holdfast/tests").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module holdfast/tests: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
