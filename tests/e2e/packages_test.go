package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// build makes packages, as make package does, and returns their paths.
func build(t *testing.T, env ...string) []string {
	t.Helper()
	out := t.TempDir()
	cmd := exec.Command("../../deploy/package/build.sh")
	cmd.Env = append(append(os.Environ(), "OUT="+out), env...)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building packages: %v\n%s", err, b)
	}
	made, err := filepath.Glob(filepath.Join(out, "holdfast*"))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// deb makes the package of a version for this machine, in the directory of m.
func (m *machine) deb(version string, env ...string) (path string) {
	m.t.Helper()
	made := build(m.t, append(env, "VERSION="+version, "FORMATS=deb", "ARCHS="+runtime.GOARCH)...)
	if len(made) != 1 {
		m.t.Fatalf("made %q", made)
	}
	b, err := os.ReadFile(made[0])
	if err != nil {
		m.t.Fatal(err)
	}
	m.give(version+".deb", string(b))
	return "/e2e/" + version + ".deb"
}

// The same commit makes the same packages, whoever builds them and when, and Debian's
// own judge sees no error in them.
func TestPackages(t *testing.T) {
	if os.Getenv("HOLDFAST_E2E") == "" {
		t.Skip("make e2e runs it")
	}
	first := build(t, "TZ=Asia/Tokyo", "USER=one", "HOSTNAME=one")
	second := build(t, "TZ=America/Lima", "USER=other", "HOSTNAME=other", "HOME="+t.TempDir(), "GOCACHE="+goEnv(t, "GOCACHE"), "GOMODCACHE="+goEnv(t, "GOMODCACHE"))
	for _, dir := range []string{"bridge", "dev"} {
		first, second = append(first, beside(t, first[0], dir)...), append(second, beside(t, second[0], dir)...)
	}
	if len(first) != 12 || len(second) != 12 {
		t.Fatalf("made %q and %q, want deb and rpm for amd64 and arm64, of three packages", first, second)
	}
	for i := range first {
		if a, b := sum(t, first[i]), sum(t, second[i]); a != b || filepath.Base(first[i]) != filepath.Base(second[i]) {
			t.Errorf("%s: %s, and %s: %s", first[i], a, second[i], b)
		}
	}
	if _, err := exec.LookPath("lintian"); err != nil {
		unable(t, "lintian is missing: apt-get install lintian")
	}
	for _, path := range first {
		if filepath.Ext(path) != ".deb" {
			continue
		}
		out, err := exec.Command("lintian", "--no-cfg", "--allow-root", "--fail-on", "error", path).CombinedOutput()
		if err != nil {
			t.Errorf("lintian: %v", err)
		}
		t.Logf("lintian of %s:\n%s", filepath.Base(path), out)
	}
}

// beside are the packages in a directory beside one.
func beside(t *testing.T, path, dir string) []string {
	t.Helper()
	made, err := filepath.Glob(filepath.Join(filepath.Dir(path), dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func sum(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	b, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}
