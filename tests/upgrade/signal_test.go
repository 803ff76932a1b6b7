package upgrade

import (
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast/tests/harness"
)

// SIGHUPs that come during an upgrade are served after it, by whoever serves
// then; none ends a process.
func TestManySIGHUPs(t *testing.T) {
	t.Parallel()
	w := harness.New(t)
	w.Checkproc("a")
	l := w.Load(50, 300)
	for range 5 {
		l.More(50)
		before := pid(t, w)
		for range 4 {
			for _, p := range w.Pids() {
				_ = syscall.Kill(p, syscall.SIGHUP) // it may have ended
			}
		}
		harness.Until(t, "another process", func() bool {
			now, err := w.CurrentPid()
			return err == nil && now != before
		})
	}
	l.More(100)
	w.CheckLedger(l.Finish())
	settle(t, w)
}

// A SIGHUP to the pid of the pid file, at any moment.
func TestSIGHUPStorm(t *testing.T) {
	t.Parallel()
	w := harness.New(t)
	w.Checkproc("a")
	l := w.Load(50, 300)
	l.More(50)
	upgrades := 0
	for last := pid(t, w); upgrades < 12; {
		// No matter when; but the gateway needs the processor, too.
		time.Sleep(rand.N(5 * time.Millisecond))
		now, err := w.CurrentPid()
		if err != nil {
			continue
		}
		if err := syscall.Kill(now, syscall.SIGHUP); err != nil && err != syscall.ESRCH {
			t.Fatal(err)
		}
		if now != last {
			last = now
			upgrades++
		}
	}
	l.More(100)
	settle(t, w)
	l.More(100)
	w.CheckLedger(l.Finish())
}

// settle waits until no upgrade is under way.
func settle(t *testing.T, w *harness.World) {
	t.Helper()
	quiet := 0
	last := 0
	harness.Until(t, "the upgrades to end", func() bool {
		now, err := w.CurrentPid()
		if err != nil || now != last || len(w.Pids()) != 1 {
			last, quiet = now, 0
			return false
		}
		quiet++
		return quiet > 40
	})
}

// Commands at the same time: each is told an outcome.
func TestCommandsAtTheSameTime(t *testing.T) {
	t.Parallel()
	w := harness.New(t)
	w.Checkproc("a")
	l := w.Load(50, 300)
	l.More(50)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if out, err := upgrade(t, w); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	all.Wait()
	l.More(100)
	settle(t, w)
	w.CheckLedger(l.Finish())
}

// SIGTERM during an upgrade ends the gateway, whichever process it is by then.
func TestSIGTERMDuringUpgrade(t *testing.T) {
	t.Parallel()
	w := harness.New(t, "-shutdown-grace", "20s")
	w.Checkproc("a")
	l := w.Load(50, 300)
	l.More(50)
	if err := w.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if err := w.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	harness.Until(t, "the end of all", func() bool { return len(w.Pids()) == 0 })
	harness.Until(t, "the chargers to be closed", func() bool { return l.Counters.Held.Load() == 0 })
	harness.Until(t, "the log to tell of 50 closed with 1012", func() bool {
		restart := 0
		for _, line := range w.Log.Lines() {
			if code, _ := line.Fields["code"].(float64); line.Msg() == "closed" && code == 1012 {
				restart++
			}
		}
		return restart == 50
	})
	if r := l.Stop(); r.Dropped != 50 {
		t.Errorf("%d of 50 closed: %v", r.Dropped, r.DroppedWhy)
	}
}
