package upgrade

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/tests/harness"
	"holdfast/tests/raw"
	"holdfast/tests/sim"
)

// outcome of an upgrade in which something fails.
type outcome int

const (
	// back: the old process goes on, and the chargers notice nothing.
	back outcome = iota
	// done: the upgrade completes, and the chargers notice nothing.
	done
	// either of these.
	either
	// over: the old process is dead, the new one serves, and the chargers
	// notice nothing.
	over
	// lost: nobody serves. All processes have ended, and with them every
	// connection. Never do two own one.
	lost
)

// faults is the failure table of docs/handoff.md: what comes of it when a side
// is killed, exits, or is stopped past every time-out at a step. An old process
// that is stopped goes on later; a new one only where it says so.
var faults = []struct {
	side, step       string
	kill, exit, stop outcome
}{
	{"old", "hello", lost, lost, done},
	{"old", "begin", lost, lost, done},
	{"old", "precopy", lost, lost, done},
	{"old", "final", lost, lost, done},
	{"old", "sealed", lost, lost, either},
	{"old", "prepared", lost, lost, done},
	{"old", "committed", over, over, done},
	{"old", "late", over, over, done},
	{"new", "start", back, back, back},
	{"new", "hello", back, back, back},
	{"new", "begin", back, back, back},
	{"new", "precopy", back, back, back},
	{"new", "sealed", back, back, back},
	{"new", "prepared", back, back, back},
	{"new", "committed", back, back, back},
	{"new", "active", lost, lost, done},
}

// Time-outs of the processes that are stopped: short, and long enough for all
// that is not stopped on a busy machine.
const (
	stopUpgrade = 6 * time.Second
	stopFreeze  = 3 * time.Second
)

// TestFaults has half of its chargers on wss, and opens all that was on the wire with
// the logged secrets.
func TestFaults(t *testing.T) {
	harness.Faulty(t)
	for _, f := range faults {
		for action, want := range map[string]outcome{"kill": f.kill, "exit": f.exit, "stop": f.stop} {
			t.Run(f.side+"/"+f.step+"/"+action, func(t *testing.T) {
				t.Parallel()
				testFault(t, f.side, f.step, action, want)
			})
		}
	}
}

func testFault(t *testing.T, side, step, action string, want outcome) {
	const chargers, callers = 60, 20
	once := filepath.Join(t.TempDir(), "once")
	if err := os.WriteFile(once, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-loops", "2"}
	if action == "stop" {
		args = []string{"-upgrade-timeout", stopUpgrade.String(), "-freeze-timeout", stopFreeze.String()}
	}
	w, tap := harness.NewTapped(t, []string{
		fmt.Sprintf("HOLDFAST_FAULT=%s:%s:%s", side, step, action), "HOLDFAST_FAULT_ONCE=" + once,
	}, args...)
	w.Checkproc("a")
	w.Checkproc("b")
	l := w.Load(chargers, 300, func(c *sim.Config) { c.Outstanding, c.CallDelay = 4, 100*time.Millisecond })
	calls := w.Call(callers, 2)
	l.More(200)
	calls.More(callers)
	before := w.Pid()

	type result struct {
		out string
		err error
	}
	upgraded := make(chan result, 1)
	begun := time.Now()
	late := slowHandshake(t, w, step == "late")
	go func() {
		out, err := upgrade(t, w)
		upgraded <- result{out, err}
	}()
	if step == "late" {
		awaitLog(t, w, "upgraded")
		late()
	}
	if action == "stop" && (side == "old" || want == done) {
		goOn(t, w)
	}
	r := <-upgraded
	took := time.Since(begun)
	if _, err := os.Stat(once); err == nil {
		t.Fatalf("nothing failed: the step was not passed, or the environment is lost:\n%s", r.out)
	}

	if want == either {
		if want = done; r.err != nil {
			want = back
		}
	}
	switch want {
	case back:
		if r.err == nil {
			t.Fatalf("upgraded, though it should be rolled back:\n%s", r.out)
		}
		why := rolledBack(t, w, before, r.out)
		t.Logf("rolled back after %v: %s", took.Round(time.Millisecond), why)
	case done:
		if r.err != nil {
			t.Fatal(r.err)
		}
		harness.Until(t, "the end of the old process", func() bool { return ended(w.Process) })
		if err := w.Err(); err != nil {
			t.Errorf("the old process: %v", err)
		}
	case over:
		if r.err == nil {
			t.Errorf("the command knows of an end that its gateway did not see:\n%s", r.out)
		}
		harness.Until(t, "the end of the old process", func() bool { return ended(w.Process) })
		harness.Until(t, "a new process", func() bool {
			now, err := w.CurrentPid()
			return err == nil && now != before
		})
	case lost:
		if r.err == nil || strings.Contains(r.out, "nothing has changed") {
			t.Errorf("the command says, with %v:\n%s", r.err, r.out)
		}
		harness.Until(t, "the end of all processes", func() bool { return len(w.Pids()) == 0 })
		if err := w.Err(); err == nil {
			t.Error("the old process ended with success")
		}
		harness.Until(t, "all connections to end", func() bool { return l.Counters.Held.Load() == 0 })
		calls.Stop()
		rep := l.Stop()
		if rep.Dropped != chargers || rep.Duplicated+rep.OutOfOrder+rep.Stray+rep.Malformed > 0 {
			t.Errorf("%v; first: %q", rep.Err(), rep.Faults)
		}
		w.Untap(tap, chargers/2)
		return
	}
	l.More(100)
	calls.More(callers)
	hup(t, w)
	l.More(100)
	calls.More(callers)
	calls.Finish()
	redelivered, _ := w.CheckLedger(l.Finish())
	if redelivered != 0 {
		t.Errorf("%d redelivered, though no processor left", redelivered)
	}
	w.Untap(tap, chargers/2)
}

func ended(p *harness.Process) bool {
	select {
	case <-p.Exited():
		return true
	default:
		return false
	}
}

// goOn waits until a process of the gateway is stopped, and lets it go on when
// all time-outs have passed.
func goOn(t *testing.T, w *harness.World) {
	t.Helper()
	stopped := 0
	harness.Until(t, "a stopped process", func() bool {
		pids := w.Pids()
		i := slices.IndexFunc(pids, harness.Stopped)
		if i >= 0 {
			stopped = pids[i]
		}
		return i >= 0
	})
	time.Sleep(max(stopUpgrade, stopFreeze) + 2*time.Second)
	if err := syscall.Kill(stopped, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

func awaitLog(t *testing.T, w *harness.World, msg string) {
	t.Helper()
	harness.Until(t, "the log to say "+msg, func() bool { return lastLogged(w, msg).Msg() != "" })
}

// slowHandshake begins a handshake, if it is wanted; the function that it returns
// completes it.
func slowHandshake(t *testing.T, w *harness.World, wanted bool) func() {
	t.Helper()
	if !wanted {
		return func() {}
	}
	nc, err := net.Dial("tcp", w.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	request := raw.Request("late")
	if _, err := nc.Write([]byte(request[:len(request)-2])); err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := nc.Write([]byte(request[len(request)-2:])); err != nil {
			t.Error(err)
		}
	}
}
