package gateway

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSocketPath(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "processors.sock")
	l, err := listenUnix(path, 0o117)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, mode %v", err, info.Mode())
	}
	_, err = listenUnix(path, 0o117)
	if want := fmt.Sprintf("%s is taken by the live process %d", path, os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the one that was there is harmed: %v", err)
	} else {
		c.Close()
	}
	l.SetUnlinkOnClose(false) // as a process that was killed
	l.Close()
	again, err := listenUnix(path, 0o117)
	if err != nil {
		t.Fatalf("a stale socket is not replaced: %v", err)
	}
	again.Close()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket stays behind: %v", err)
	}

	file := filepath.Join(dir, "precious")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(file, 0o117); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("a file: %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "x" {
		t.Errorf("the file is harmed: %v", err)
	}
	if _, err := listenUnix(filepath.Join(dir, "no", "such", "dir"), 0o117); err == nil {
		t.Error("no error without a directory")
	}
}
