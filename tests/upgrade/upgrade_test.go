package upgrade

import (
	"context"
	"flag"
	"os"
	"strings"
	"syscall"
	"testing"

	"holdfast/tests/harness"
)

// together is how many of the tests run at once: they mostly wait.
const together = "6"

func TestMain(m *testing.M) {
	flag.Parse()
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "test.parallel" })
	if !set {
		if err := flag.Set("test.parallel", together); err != nil {
			panic(err)
		}
	}
	os.Exit(harness.Main(m))
}

// upgrade runs `holdfast upgrade`. The binary that runs it is not the one that
// is started.
func upgrade(t testing.TB, w *harness.World) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*harness.Deadline)
	defer cancel()
	return w.Upgrade(ctx, harness.Holdfast())
}

// pid is the process that serves.
func pid(t testing.TB, w *harness.World) int {
	t.Helper()
	pid, err := w.CurrentPid()
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// newFailing starts a gateway whose upgrades are rolled back at the last moment.
func newFailing(t testing.TB, args ...string) *harness.World {
	t.Helper()
	return harness.NewOf(t, harness.Setup{
		Binary: harness.Faulty(t), Env: []string{"HOLDFAST_FAULT=new:prepared:exit"}, Args: args,
	})
}

// mustRollBack upgrades without success, and returns the sentence that the
// operator reads. The process stays the same.
func mustRollBack(t testing.TB, w *harness.World) string {
	t.Helper()
	before := pid(t, w)
	out, err := upgrade(t, w)
	if err == nil {
		t.Fatalf("the upgrade succeeded:\n%s", out)
	}
	return rolledBack(t, w, before, out)
}

// rolledBack checks what a roll-back leaves: one process, one sentence in the
// command's output and the same in the log.
func rolledBack(t testing.TB, w *harness.World, before int, out string) string {
	t.Helper()
	const told = "holdfast: upgrade rolled back, nothing has changed: "
	out = strings.TrimSpace(out)
	why, ok := strings.CutPrefix(out[strings.LastIndex(out, "\n")+1:], told)
	if !ok || why == "" {
		t.Fatalf("the command does not say in its last line that and why it was rolled back:\n%s", out)
	}
	if after := pid(t, w); after != before {
		t.Fatalf("rolled back, but process %d serves instead of %d", after, before)
	}
	w.Alone(before)
	harness.Until(t, "the log to say the same as the command", func() bool {
		return lastLogged(w, "upgrade rolled back").String("reason") == why
	})
	return why
}

// lastLogged is the last line with a message.
func lastLogged(w *harness.World, msg string) (found harness.Line) {
	for _, l := range w.Log.Lines() {
		if l.Msg() == msg {
			found = l
		}
	}
	return found
}

// hup upgrades with SIGHUP, and waits for success.
func hup(t testing.TB, w *harness.World) {
	t.Helper()
	before := pid(t, w)
	if err := w.SignalCurrent(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	harness.Until(t, "another process", func() bool {
		after, err := w.CurrentPid()
		return err == nil && after != before
	})
	w.Alone(pid(t, w))
}
