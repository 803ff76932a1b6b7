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

// The same commit makes the same packages, whoever builds them and when.
func TestReproducible(t *testing.T) {
	if os.Getenv("HOLDFAST_E2E") == "" {
		t.Skip("make e2e runs it")
	}
	sums := func(env ...string) map[string]string {
		all := map[string]string{}
		for _, path := range build(t, env...) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(b)
			all[filepath.Base(path)] = hex.EncodeToString(sum[:])
		}
		return all
	}
	first := sums("TZ=Asia/Tokyo", "USER=one", "HOSTNAME=one")
	second := sums("TZ=America/Lima", "USER=other", "HOSTNAME=other", "HOME="+t.TempDir(), "GOCACHE="+goEnv(t, "GOCACHE"), "GOMODCACHE="+goEnv(t, "GOMODCACHE"))
	if len(first) != 4 || len(second) != 4 {
		t.Errorf("made %v and %v, want deb and rpm for amd64 and arm64", first, second)
	}
	for name, sum := range first {
		if second[name] != sum {
			t.Errorf("%s: %s, and %s the second time", name, sum, second[name])
		}
	}
}

// Debian's own judge has nothing to complain about that is an error.
func TestLintian(t *testing.T) {
	if os.Getenv("HOLDFAST_E2E") == "" {
		t.Skip("make e2e runs it")
	}
	if _, err := exec.LookPath("lintian"); err != nil {
		if os.Getenv("HOLDFAST_E2E") == "required" {
			t.Fatal("lintian is missing: apt-get install lintian")
		}
		t.Skip("THIS MACHINE CANNOT RUN IT: lintian is missing: apt-get install lintian")
	}
	for _, path := range build(t, "FORMATS=deb", "ARCHS="+runtime.GOARCH) {
		out, err := exec.Command("lintian", "--no-cfg", "--allow-root", "--fail-on", "error", path).CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		t.Logf("lintian:\n%s", out)
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	b, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}
