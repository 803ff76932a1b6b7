package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// Need returns the path of a program of the list in tests/needed.txt, and skips the
// test if this machine lacks it; with HOLDFAST_ALL in the environment the test fails.
// What was left out is printed at the end of make test, from the same list.
func Need(t testing.TB, program string) string {
	t.Helper()
	listed(t, program)
	path, err := exec.LookPath(program)
	if err != nil {
		lacks(t, program)
	}
	return path
}

// NeedOCPPRPC returns the path of node and the directory of the scripts that use
// ocpp-rpc, which make test installs there where it finds npm; see Need.
func NeedOCPPRPC(t testing.TB) (node, dir string) {
	t.Helper()
	listed(t, "ocpp-rpc")
	dir = filepath.Join(TestsDir(t), "realclients")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".done")); err != nil {
		lacks(t, "ocpp-rpc")
	}
	return Need(t, "node"), dir
}

// lacks ends a test.
func lacks(t testing.TB, name string) {
	t.Helper()
	if os.Getenv("HOLDFAST_ALL") != "" {
		t.Fatalf("%s is missing: make setup", name)
	}
	t.Skipf("%s is missing: make setup", name)
}

// listed fails a test that needs what make setup would not install.
func listed(t testing.TB, name string) {
	t.Helper()
	list, err := os.ReadFile(filepath.Join(TestsDir(t), "needed.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `\s`).Match(list) {
		t.Fatalf("tests/needed.txt does not list %s", name)
	}
}
