package sdk

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// The page about the simulator has a row for each of its flags, and for no other.
func TestSimulatorPageHasEveryFlag(t *testing.T) {
	t.Parallel()
	read(t, "../cmd/sim/main.go") // so that the result is not cached beyond a change of the flags
	sim := filepath.Join(t.TempDir(), "sim")
	if out, err := exec.Command("go", "build", "-o", sim, "../cmd/sim").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	usage, err := exec.Command(sim, "-h").CombinedOutput()
	if err != nil {
		t.Fatalf("-h: %v\n%s", err, usage)
	}
	has := names(`(?m)^  -([a-z]+)`, string(usage))
	described := names("(?m)^\\| `-([a-z]+)` \\|", read(t, "../../docs/simulator.md"))
	if len(has) == 0 {
		t.Fatalf("no flags in:\n%s", usage)
	}
	for name := range has {
		if !described[name] {
			t.Errorf("docs/simulator.md has no row for -%s", name)
		}
	}
	for name := range described {
		if !has[name] {
			t.Errorf("docs/simulator.md describes -%s, which does not exist", name)
		}
	}
}

func names(pattern, text string) map[string]bool {
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found[m[1]] = true
	}
	return found
}
