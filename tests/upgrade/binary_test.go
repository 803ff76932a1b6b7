package upgrade

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"holdfast/tests/harness"
	"holdfast/unixipc"
)

// frameHello is the number of HELLO on the hand-over channel.
const frameHello = 0x41

// channel writes a file to the hand-over channel, wherever it is among the file
// descriptors: 3 and 4 are pipes, and the others listeners, which take nothing.
const channel = "for fd in 5 6 7 8 9; do cat \"$0.bytes\" 2>/dev/null >&$fd; done 2>/dev/null\n"

func TestBinaries(t *testing.T) {
	hello := func(json string) []byte {
		return unixipc.Frame{Type: frameHello, Payload: []byte(json)}.Append(nil)
	}
	for _, c := range []struct {
		name   string
		script string // "": no file
		mode   os.FileMode
		bytes  []byte // on the hand-over channel
		want   string // of the sentence
	}{
		{"does not exist", "", 0, nil, "no such file"},
		{"not executable", "#!/bin/sh\n", 0o644, nil, "permission denied"},
		{"no program", "this is no program\n", 0o755, nil, "exec format error"},
		{"empty", "\x00", 0o755, nil, "exec format error"},
		{"ends at once", "#!/bin/sh\nexit 0\n", 0o755, nil, "exited"},
		{"crashes at once", "#!/bin/sh\nkill -SEGV $$\n", 0o755, nil, "segmentation fault"},
		{"hangs", "#!/bin/sh\nexec sleep 600\n", 0o755, nil, "no HELLO from the new process within the time-out"},
		{"prints garbage", "#!/bin/sh\n" + channel + "exec sleep 600\n", 0o755, []byte("garbage, and more of it\n"), "garbage on the hand-over channel"},
		{"prints half a frame", "#!/bin/sh\n" + channel + "exec sleep 600\n", 0o755, hello("{}")[:9], "no HELLO"},
		{"prints a frame of processors", "#!/bin/sh\n" + channel + "exec sleep 600\n", 0o755, unixipc.Frame{Type: unixipc.Hello}.Append(nil), "garbage on the hand-over channel"},
		{"HELLO is no JSON", "#!/bin/sh\n" + channel + "exec sleep 600\n", 0o755, hello("{"), "HELLO of the new process"},
		{"unknown version", "#!/bin/sh\n" + channel + "exec sleep 600\n", 0o755, hello(`{"program":"99.0","versions":[98,99]}`), "reads versions [98 99] of the state"},
		{"says hello and hangs", "#!/bin/sh\n" + channel + "exec sleep 600\n", 0o755, hello(`{"program":"9","versions":[1]}`), "no TOOK"},
		{"says hello and ends", "#!/bin/sh\n" + channel + "exit 9\n", 0o755, hello(`{"program":"9","versions":[1]}`), "exit status 9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			binary := filepath.Join(t.TempDir(), "holdfast")
			install(t, binary, harness.Holdfast())
			limit := "20s"
			if strings.HasPrefix(c.want, "no ") && c.script != "" {
				limit = "2s" // it is what is waited for
			}
			w := harness.NewOf(t, harness.Setup{Binary: binary, Args: []string{"-upgrade-timeout", limit}})
			w.Checkproc("a")
			l := w.Load(50, 300)
			l.More(100)
			if c.bytes != nil {
				if err := os.WriteFile(binary+".bytes", c.bytes, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Remove(binary); err != nil {
				t.Fatal(err)
			}
			if c.script != "" {
				if err := script(binary, c.script, c.mode); err != nil {
					t.Fatal(err)
				}
			}
			if why := mustRollBack(t, w); !strings.Contains(why, c.want) || strings.Contains(why, "\n") {
				t.Errorf("the operator reads %q, want %q", why, c.want)
			}
			l.More(100)
			install(t, binary, harness.Holdfast())
			hup(t, w)
			l.More(100)
			w.CheckLedger(l.Finish())
		})
	}
}

// install puts a program at a path from which another may run.
func install(t *testing.T, path, from string) {
	t.Helper()
	if err := os.Link(from, path+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// script writes a program. While it is open nothing may be forked that would keep
// it open for a moment: a file that is open for writing cannot be run.
func script(path, content string, mode os.FileMode) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, []byte(content), mode)
}
