package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestPidFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holdfast.pid")
	if err := writePidFile(path); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != fmt.Sprintln(os.Getpid()) {
		t.Errorf("%q, %v", b, err)
	}
	if err := os.WriteFile(path, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	removePidFile(path)
	if _, err := os.Stat(path); err != nil {
		t.Error("the file of another process is removed")
	}
	if err := writePidFile(path); err != nil {
		t.Fatal(err)
	}
	removePidFile(path)
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
	if err := writePidFile(filepath.Join(path, "x")); err == nil {
		t.Error("no error without a directory")
	}
	if writePidFile("") != nil {
		t.Error("no pid file is asked for")
	}
}
