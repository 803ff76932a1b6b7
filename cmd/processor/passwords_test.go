package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/unixipc"
)

func TestPasswords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwords")
	write := func(s string) (passwords, error) {
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		return readPasswords(path)
	}
	p, err := write("# ours\n\nCP1 secret word\r\nCP2 \xff\n\"RDAM 123\" pass word\n\"a\\\"b\" x\n")
	if err != nil {
		t.Fatal(err)
	}
	certificate := &unixipc.CertificateBody{Subject: "CN=CP1"}
	for _, tt := range []struct {
		identity, user, password string
		certificate              *unixipc.CertificateBody
		want                     int // 0: accepted
	}{
		{"CP1", "CP1", "secret word", nil, 0},
		{"CP2", "CP2", "\xff", nil, 0},
		{"RDAM 123", "RDAM 123", "pass word", nil, 0},
		{`a"b`, `a"b`, "x", nil, 0},
		{"CP1", "CP1", "secret word\n", nil, 0},
		{"CP1", "", "", certificate, 0},
		{"CP1", "CP1", "secret", nil, 401},
		{"CP1", "CP1", "secret", certificate, 401},
		{"CP1", "CP2", "secret word", nil, 401},
		{"CP1", "", "", nil, 401},
		{"CP3", "CP3", "secret word", certificate, 401},
	} {
		a := unixipc.AuthorizeBody{Identity: tt.identity, Certificate: tt.certificate}
		if tt.user != "" {
			a.Basic = &unixipc.BasicBody{Username: []byte(tt.user), Password: []byte(tt.password)}
		}
		if v := p.verdict(a); v.Accept != (tt.want == 0) || v.Status != tt.want {
			t.Errorf("%+v: %+v", tt, v)
		}
	}
	for text, want := range map[string]string{
		"CP1 a\nCP2\n": ":2: want an identity", "CP1 a\nCP1 b\n": ":2: CP1 stands there twice", "CP1 \n": ":1: want", "\"CP 1\"x\n": ":1: want",
	} {
		if _, err := write(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
