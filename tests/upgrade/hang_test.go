package upgrade

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/tests/harness"
)

// A loop that does not turn any more hangs neither an upgrade nor the end: each gives
// up at its limit, and the other loop serves its chargers meanwhile. SIGUSR1 makes the
// last loop of a faulty gateway stand still for ever.
func TestHungLoop(t *testing.T) {
	const limit, freeze, grace = 3 * time.Second, 2 * time.Second, 2 * time.Second
	harness.Faulty(t)
	w, _ := harness.NewTapped(t, nil, "-loops", "2", "-upgrade-timeout", limit.String(), "-freeze-timeout", freeze.String(),
		"-shutdown-grace", grace.String())
	w.Checkproc("a")
	l := w.Load(30, 300)
	l.More(100)
	before := w.Pid()
	if err := w.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	out, err := upgrade(t, w)
	took := time.Since(begun)
	if err == nil || !strings.Contains(out, "loop 1 does not turn") {
		t.Errorf("upgrade: %v\n%s", err, out)
	}
	if most := limit + freeze + harness.Deadline/2; took > most {
		t.Errorf("the upgrade took %v, want at most %v", took, most)
	}
	if pid := w.Pid(); pid != before {
		t.Fatalf("process %d serves, and not %d", pid, before)
	}
	awaitLog(t, w, "upgrade rolled back")
	l.More(100) // by way of the other loop

	begun = time.Now()
	if err := w.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.Exited():
	case <-time.After(harness.Deadline + grace):
		t.Fatal("a gateway with a hung loop does not end")
	}
	t.Logf("the upgrade gave up after %v, the end took %v", took, time.Since(begun))
}
