package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"holdfast/cmd/holdfast/credentials"
)

func TestPasswdCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chargers")
	var stdout, stderr bytes.Buffer
	if code := run([]string{"passwd", "-generate", "-file", path, "CP-1"}, &stdout, &stderr); code != 0 {
		t.Fatalf("code %d: %s", code, &stderr)
	}
	p, err := credentials.NewPasswords(path, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, right := p.Check("CP-1", bytes.TrimSpace(stdout.Bytes())); !right {
		t.Errorf("the password %q is not the one in the file", &stdout)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	for _, args := range [][]string{{}, {"CP-1", "CP-2"}, {""}, {"-delete", "CP-1"}, {"-generate", "-hex", "CP-1"}, {"-nothing", "CP-1"}} {
		if code := run(append([]string{"passwd"}, args...), &stdout, &stderr); code != exitUsage {
			t.Errorf("passwd %q: code %d", args, code)
		}
	}
}

func TestWeakPasswords(t *testing.T) {
	for password, weak := range map[string]bool{
		"secret":                           true,
		"fifteen bytes x":                  true,
		"0000000000000000":                 true,
		"my charger CP-1 here":             true,
		"MY CHARGER cp-1 HERE":             true,
		"5b0f1f4e1df2bb5be7a7f8ba80cfbfb6": false,
	} {
		if got := weakness("CP-1", []byte(password)); (got != "") != weak {
			t.Errorf("%q: %q", password, got)
		}
	}
}
