package sdk

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "holdfast/proc/proctest" // so that results are not cached beyond a change of the SDK
)

// A module outside the tree builds and tests a processor with nothing but the
// installed sources and the standard library.
func TestModuleOutsideTheTree(t *testing.T) {
	t.Parallel()
	const script = "../../deploy/package/sdk.sh"
	read(t, script) // nor beyond one of the script
	sdk := filepath.Join(t.TempDir(), "sdk")
	if out, err := exec.Command(script, sdk).CombinedOutput(); err != nil {
		t.Fatalf("sdk.sh: %v\n%s", err, out)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.go"), read(t, "testdata/mine/main.go"))
	write(t, filepath.Join(dir, "main_test.go"), read(t, "testdata/mine/main_test.go"))
	write(t, filepath.Join(dir, "go.mod"), "module example.com/mine\n\ngo 1.26.0\n\nrequire holdfast v0.0.0\n\nreplace holdfast => "+sdk+"\n")

	goes(t, dir, "build", "-o", filepath.Join(dir, "mine"), ".")
	goes(t, dir, "vet", "./...")
	goes(t, dir, "test", ".", "holdfast/proc") // and the examples of the package's page
	if deps := goes(t, dir, "list", "-m", "all"); len(strings.Split(strings.TrimSpace(deps), "\n")) != 2 {
		t.Errorf("the SDK brings other modules along:\n%s", deps)
	}
}

// goes runs the go command in dir, without a network and without the caches and
// settings that make this tree work.
func goes(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"GOPROXY=off", "GOSUMDB=off", "GOFLAGS=-mod=mod", "GOWORK=off", "GOTOOLCHAIN=local", "GOMODCACHE="+filepath.Join(t.TempDir(), "empty"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// The page about the SDK shows the program and its test as they are built here.
func TestPageShowsTheProgram(t *testing.T) {
	page := read(t, "../../docs/sdk.md")
	for _, name := range []string{"main.go", "main_test.go"} {
		if !strings.Contains(page, "```go\n"+read(t, filepath.Join("testdata/mine", name))+"```\n") {
			t.Errorf("docs/sdk.md does not show testdata/mine/%s", name)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
