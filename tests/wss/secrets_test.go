package wss

import (
	"os"
	"path/filepath"
	"testing"

	"holdfast/tests/harness"
	"holdfast/tests/pki"
)

// The gateway says which secrets processors could read, with what to do about it; of one
// that its own user alone can read it says nothing.
func TestSecretsThatProcessorsCanRead(t *testing.T) {
	from := issue(t, harness.New(t), pki.Request{CommonName: "gateway"})
	dir := t.TempDir()
	write := func(name string, b []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert := write("cert.pem", from.PEM, 0o644)
	passwords := write("passwords", nil, 0o600)
	key := write("key.pem", from.KeyPEM, 0o400)
	for _, tt := range []struct {
		name           string
		key, passwords os.FileMode
		want           map[string]string // file to mode
	}{
		{"the user's", 0o400, 0o600, nil},
		{"the group's", 0o440, 0o640, map[string]string{key: "0440", passwords: "0640"}},
		{"everybody's", 0o400, 0o604, map[string]string{passwords: "0604"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for path, mode := range map[string]os.FileMode{key: tt.key, passwords: tt.passwords} {
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
			}
			w := harness.New(t, "-tls-cert", cert, "-tls-key", key, "-auth", "file", "-auth-file", passwords)
			got := map[string]string{}
			for _, l := range w.Gateway.Log.Lines() {
				if l.Msg() == "processors can read a secret" {
					got[l.String("file")] = l.String("mode")
					if l.String("level") != "WARN" || l.String("remedy") == "" || l.Fields["group"] != float64(os.Getgid()) {
						t.Errorf("%+v", l)
					}
				}
			}
			for path, mode := range tt.want {
				if got[path] != mode {
					t.Errorf("%s is not warned of: %q", path, got)
				}
				delete(got, path)
			}
			for path, mode := range got {
				if path == key || path == passwords {
					t.Errorf("warned of %s, %s", path, mode)
				}
			}
		})
	}
}
