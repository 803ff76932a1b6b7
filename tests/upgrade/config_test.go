package upgrade

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/tests/harness"
	"holdfast/tests/sim"
)

// free is an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A configuration that cannot be is refused with a sentence that says where and
// why; nothing is lost, and the next upgrade, with a good one, works.
func TestBadConfigs(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, line, want string }{
		{"unknown name", "ping-intervall 20s", `holdfast.conf:1: unknown name "ping-intervall"; did you mean ping-interval?`},
		{"bad value", "ping-interval soon", "holdfast.conf:1: ping-interval"},
		{"contradiction", "queue-bytes 8KiB", "queue-bytes (8192) is less than max-message"},
		{"other loops", "loops 2", "loops is 2, and was 1"},
		{"address is taken", "listen " + taken.Addr().String(), "address already in use"},
		{"processors is a file", "processors " + file, "exists and is not a socket"},
		{"processors in no directory", "processors /no/such/directory/p.sock", "no such file or directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := harness.NewOf(t, harness.Setup{File: true, Lines: []string{"shutdown-grace 1s"}})
			w.Checkproc("a")
			l := w.Load(50, 300)
			l.More(100)
			configure(t, w, c.line)
			if why := mustRollBack(t, w); !strings.Contains(why, c.want) || strings.Contains(why, "\n") {
				t.Errorf("the operator reads %q, want %q", why, c.want)
			}
			l.More(100)
			configure(t, w, "shutdown-grace 2s")
			hup(t, w)
			l.More(100)
			w.CheckLedger(l.Finish())
		})
	}
}

func configure(t *testing.T, w *harness.World, lines ...string) {
	t.Helper()
	if err := w.Configure(lines...); err != nil {
		t.Fatal(err)
	}
}

// reaches says whether chargers are let in at an address.
func reaches(t *testing.T, addr string) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := sim.Start(ctx, sim.Config{URLs: []string{"ws://" + addr + "/ocpp"}, Prefix: "REACH-" + fmt.Sprint(len(addr)), Deadline: harness.Deadline})
	if err != nil {
		cancel()
		return err
	}
	err = s.AllOpen(ctx)
	cancel()
	return firstError(err, s.Wait().Err())
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Listeners come and go with the configuration; connections stay, whatever they
// came in by.
func TestListenersComeAndGo(t *testing.T) {
	t.Parallel()
	a, b := "listen "+free(t), "listen "+free(t)
	address := func(line string) string { return strings.TrimPrefix(line, "listen ") }
	w := harness.NewOf(t, harness.Setup{File: true, Lines: []string{a}})
	w.Checkproc("p")
	l := w.Load(50, 300)
	l.More(100)

	configure(t, w, a, b)
	w.MustUpgrade()
	if err := firstError(reaches(t, address(a)), reaches(t, address(b))); err != nil {
		t.Errorf("with a second address: %v", err)
	}
	l.More(100)

	configure(t, w, b)
	w.MustUpgrade()
	if reaches(t, address(a)) == nil {
		t.Error("the address that was removed still lets chargers in")
	}
	if err := reaches(t, address(b)); err != nil {
		t.Error(err)
	}
	l.More(100)
	w.CheckLedger(l.Finish())
}

// The sockets move; the processors that were there stay.
func TestSocketsMove(t *testing.T) {
	t.Parallel()
	w := harness.NewOf(t, harness.Setup{File: true})
	w.Checkproc("p")
	l := w.Load(50, 300)
	l.More(100)
	old := w.Processors
	w.Processors = filepath.Join(t.TempDir(), "elsewhere.sock")
	configure(t, w)
	// The command asks where the gateway still is.
	ctx, cancel := context.WithTimeout(t.Context(), harness.Deadline)
	defer cancel()
	there := *w.Gateway
	there.Processors = old
	if _, err := there.Upgrade(ctx, harness.Holdfast()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the former socket is still there: %v", err)
	}
	l.More(100)
	w.Checkproc("q")
	l.More(100)
	w.MustUpgrade()
	l.More(100)
	w.CheckLedger(l.Finish())
}
