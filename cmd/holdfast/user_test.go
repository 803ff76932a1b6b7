package main

import (
	"bytes"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// another is a user that is not root, for tests that root runs; directories of the
// test are opened to it.
func another(t *testing.T) (u *user.User, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may run as another user")
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	if dir, err = os.MkdirTemp("", "holdfast-user"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return u, dir
}

// TestMain lets the test binary be the program, for what it runs as another user.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "check" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// Run as root, check finds what the gateway's user may not read.
func TestCheckAsTheGatewaysUser(t *testing.T) {
	u, dir := another(t)
	uid, _ := strconv.Atoi(u.Uid)
	socket := filepath.Join(dir, "admin.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chown(socket, uid, -1); err != nil {
		t.Fatal(err)
	}
	chargers := filepath.Join(dir, "chargers")
	if err := os.WriteFile(chargers, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"check", "-admin-socket", socket, "-auth", "file", "-auth-file", chargers}
	var stdout, stderr bytes.Buffer
	if code := run(args, &stdout, &stderr); code != exitUsage || strings.Count(stderr.String(), "\n") != 1 || !strings.Contains(stderr.String(), chargers+": permission denied") {
		t.Errorf("code %d\n%s%s", code, &stdout, &stderr)
	}
	if err := os.Chown(chargers, uid, -1); err != nil {
		t.Fatal(err)
	}
	stderr.Reset()
	if code := run(args, &stdout, &stderr); code != 0 || !strings.Contains(stdout.String(), "read as user "+u.Username) {
		t.Errorf("code %d\n%s%s", code, &stdout, &stderr)
	}
}

// Run as root, passwd makes a file that the gateway's user can read, leaves one of
// another's to it, and says if it cannot be read.
func TestPasswdForAnotherUser(t *testing.T) {
	u, dir := another(t)
	uid, _ := strconv.Atoi(u.Uid)
	of := func(path string) (int, os.FileMode) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return int(info.Sys().(*syscall.Stat_t).Uid), info.Mode().Perm()
	}
	path := filepath.Join(dir, "chargers")
	for range 2 {
		var stdout, stderr bytes.Buffer
		if code := run([]string{"passwd", "-generate", "-file", path, "-owner", u.Username, "CP-1"}, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
			t.Errorf("code %d\n%s", code, &stderr)
		}
		if owner, mode := of(path); owner != uid || mode != 0o600 {
			t.Errorf("owner %d, mode %v", owner, mode)
		}
	}
	if err := os.Chown(path, 0, 0); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if code := run([]string{"passwd", "-generate", "-file", path, "-owner", u.Username, "CP-2"}, &stdout, &stderr); code != 0 || !strings.Contains(stderr.String(), "permission denied") {
		t.Errorf("code %d\n%s", code, &stderr)
	}
	if owner, _ := of(path); owner != 0 {
		t.Errorf("it was given to user %d", owner)
	}
}
