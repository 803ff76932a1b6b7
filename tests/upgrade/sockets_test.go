package upgrade

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"holdfast/tests/harness"
)

// With the new path in the configuration already, the command of a reload finds the
// running gateway at the old one. Processors that are joined stay, and commands and
// processors that come later are served at the new path.
func TestSocketsMoveByReload(t *testing.T) {
	for _, option := range []string{"admin-socket", "processors"} {
		t.Run(option, func(t *testing.T) {
			dir := t.TempDir()
			env := "RUNTIME_DIRECTORY=" + dir // as systemd sets it for the service and its reload
			w := harness.NewOf(t, harness.Setup{File: true, Env: []string{env}})
			w.Checkproc("a")
			l := w.Load(20, 200)
			l.More(100)
			moved := filepath.Join(dir, "moved.sock")
			configure(t, w, option+" "+moved)
			config := filepath.Join(filepath.Dir(w.PidFile), "holdfast.conf")
			run := func(args ...string) {
				t.Helper()
				cmd := exec.Command(harness.Holdfast(), append(args, "-config", config)...)
				cmd.Env = append(os.Environ(), env)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%q: %v\n%s", args, err, out)
				}
			}
			run("upgrade")
			l.More(100)
			run("status")
			run("upgrade") // at the new socket
			l.More(100)
			if option == "processors" {
				w.Gateway.Processors = moved
				w.Checkproc("b")
				l.More(100)
			}
			w.CheckLedger(l.Finish())
		})
	}
}

// The group that may give commands comes and goes with a reload.
func TestAdminGroupByReload(t *testing.T) {
	w := harness.NewOf(t, harness.Setup{File: true})
	for _, tt := range []struct {
		line string
		want os.FileMode
	}{{fmt.Sprint("admin-group ", os.Getgid()), 0o660}, {"shutdown-grace 1s", 0o600}} {
		configure(t, w, tt.line)
		w.MustUpgrade()
		info, err := os.Stat(w.AdminSocket())
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != tt.want {
			t.Errorf("%s: mode %04o, want %04o", tt.line, got, tt.want)
		}
	}
}
