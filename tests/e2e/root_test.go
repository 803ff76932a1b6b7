package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	suite = "bookworm"
	// packages beside the least that Debian can be.
	packages = "systemd,systemd-sysv"
	// edition is counted up when the system is to be made anew.
	edition = "1"
)

// needed are the programs of the machine that runs the test, and who has them.
var needed = map[string]string{
	"debootstrap":    "debootstrap",
	"systemd-nspawn": "systemd-container",
	"nsenter":        "util-linux",
	"dpkg-deb":       "dpkg",
}

// unable ends a test that this machine cannot run: it is skipped, or has failed if
// HOLDFAST_E2E is required.
func unable(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("HOLDFAST_E2E") == "required" {
		t.Fatalf(format, args...)
	}
	t.Skipf("THIS MACHINE CANNOT RUN IT: "+format, args...)
}

// able ends the test unless this machine can run it.
func able(t *testing.T) {
	t.Helper()
	if os.Getenv("HOLDFAST_E2E") == "" {
		t.Skip("make e2e runs it")
	}
	if os.Getuid() != 0 {
		unable(t, "a container needs root")
	}
	for program, pkg := range needed {
		if _, err := exec.LookPath(program); err != nil {
			unable(t, "%s is missing: apt-get install %s", program, pkg)
		}
	}
}

// root is the directory of a Debian system that nobody writes to. It is made once.
func root(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "holdfast-e2e", strings.Join([]string{suite, strings.ReplaceAll(packages, ",", "+"), edition}, "-"))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	t.Logf("making a Debian system in %s, once", dir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	// Beside it, and renamed: what is there is whole.
	making := fmt.Sprintf("%s.%d", dir, os.Getpid())
	defer os.RemoveAll(making)
	args := []string{"--variant=minbase", "--include=" + packages, suite, making}
	if mirror := os.Getenv("DEBOOTSTRAP_MIRROR"); mirror != "" {
		args = append(args, mirror)
	}
	if out, err := exec.Command("debootstrap", args...).CombinedOutput(); err != nil {
		t.Fatalf("debootstrap: %v\n%s", err, tail(string(out), 20))
	}
	for _, waste := range []string{"var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"} {
		if err := os.RemoveAll(filepath.Join(making, waste)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(making, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
