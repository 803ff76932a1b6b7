package service

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/tests/harness"
	"holdfast/tests/raw"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// The manager hears of everything from the process that it takes for the main one at
// that moment, and the former one does not end before it has heard which is the next.
func TestNotifications(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	w := harness.NewOf(t, harness.Setup{File: true, Env: m.env()})
	w.Checkproc("a")
	l := w.Load(20, 100)
	l.More(20)
	first := w.Pid()
	m.expect(first, "READY=1", "STATUS=version ")

	upgraded := make(chan error, 1)
	go func() {
		_, err := w.Upgrade(t.Context(), harness.Holdfast())
		upgraded <- err
	}()
	if got := m.expect(first, "RELOADING=1", "MONOTONIC_USEC="); len(got.fds) > 0 {
		t.Errorf("told with %d file descriptors", len(got.fds))
	}
	told := m.expect(first, "MAINPID=")
	barrier := m.expect(first, "BARRIER=1")
	var second int
	if _, err := fmt.Sscanf(told.lines[0], "MAINPID=%d", &second); err != nil || second == first {
		t.Fatalf("told %q", told.lines)
	}
	if len(barrier.fds) != 1 {
		t.Fatalf("a barrier with %d file descriptors", len(barrier.fds))
	}
	l.More(50) // the new one serves
	select {
	case <-w.Exited():
		t.Error("the former process has ended before the manager has heard of the next")
	case err := <-upgraded:
		t.Errorf("holdfast upgrade is done before: %v", err)
	default:
	}
	if err := unix.Close(barrier.fds[0]); err != nil {
		t.Fatal(err)
	}
	m.expect(second, "READY=1")
	if err := <-upgraded; err != nil {
		t.Error(err)
	}
	if now, err := w.CurrentPid(); err != nil || now != second {
		t.Errorf("told of process %d; process %d serves, %v", second, now, err)
	}
	<-w.Exited()

	// Rolled back: ready again, and the status says why.
	if err := w.Configure("ping-intervall 20s"); err != nil {
		t.Fatal(err)
	}
	if out, err := w.Upgrade(t.Context(), harness.Holdfast()); err == nil {
		t.Errorf("upgraded with a fault in the configuration: %s", out)
	}
	m.expect(second, "RELOADING=1")
	if got := m.expect(second, "READY=1"); !strings.Contains(strings.Join(got.lines, "\n"), "did you mean ping-interval?") {
		t.Errorf("rolled back, and told %q", got.lines)
	}
	l.More(20)
	w.CheckLedger(l.Finish())

	if err := w.SignalCurrent(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m.expect(second, "STOPPING=1", "EXTEND_TIMEOUT_USEC=20000000")
}

// A manager that does not read holds nothing up for long.
func TestDeafManager(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	w := harness.NewOf(t, harness.Setup{File: true, Env: m.env()})
	began := time.Now()
	if _, err := w.Upgrade(t.Context(), harness.Holdfast()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > harness.Deadline {
		t.Errorf("an upgrade took %v", took)
	}
	w.Logged(w.Process, "the service manager did not hear which process serves now")
}

// A socket that the manager has passed serves, also after upgrades, and is still the
// manager's when the gateway has ended.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for range 2 { // a restart, too
		waiting, err := net.Dial("tcp", l.Addr().String()) // nobody serves yet
		if err != nil {
			t.Fatal(err)
		}
		// LISTEN_PID is of the process itself, and it inherits file descriptor 3.
		cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, harness.Holdfast(), "serve", "-listen", l.Addr().String(),
			"-processors", path("processors.sock"), "-pid-file", path("pid"))
		cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES=listen")
		cmd.ExtraFiles = []*os.File{f}
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		handshake(t, waiting)
		first := pidOf(t, path("pid"))
		for range 2 {
			out, err := exec.Command(harness.Holdfast(), "upgrade", "-admin-socket", path("admin.sock")).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			handshake(t, c)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the first process: %v", err)
		}
		last := pidOf(t, path("pid"))
		if last == first {
			t.Errorf("process %d still serves", last)
		}
		if err := syscall.Kill(last, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		harness.Until(t, "the gateway to end", func() bool {
			_, err := os.Stat(path("pid"))
			return os.IsNotExist(err)
		})
	}
}

// handshake opens a WebSocket over c, and closes c.
func handshake(t *testing.T, c net.Conn) {
	t.Helper()
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(harness.Deadline)); err != nil {
		t.Fatal(err)
	}
	if resp, _, err := raw.Handshake(c, "CP1"); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", resp, err)
	}
}

func pidOf(t *testing.T, path string) (pid int) {
	t.Helper()
	harness.Until(t, "the pid file", func() bool {
		b, err := os.ReadFile(path)
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
		}
		return err == nil
	})
	return pid
}
