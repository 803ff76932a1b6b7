package crash

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"holdfast/tests/harness"
	"holdfast/tests/sim"
)

// TestUpgradesAndKills has upgrades and kills follow each other: whoever is killed, and
// however it came to serve, chargers and links stay.
func TestUpgradesAndKills(t *testing.T) {
	const chargers, callers = 60, 20
	w := newWorld(t)
	w.Checkproc("a")
	w.Checkproc("b")
	l := w.Load(chargers, 1000, func(c *sim.Config) { c.Outstanding, c.CallDelay = 8, 20*time.Millisecond })
	calls := w.Call(callers, 2)
	l.More(200)
	for range 3 {
		w.MustUpgrade()
		l.More(100)
		w.MustUpgrade()
		w.crash()
		l.More(100)
		calls.More(callers)
		w.crash()
	}
	w.MustUpgrade()
	calls.More(callers)
	calls.Finish()
	if redelivered, _ := w.CheckLedger(l.Finish()); redelivered != 0 {
		t.Errorf("%d redelivered, though no link was lost", redelivered)
	}
	w.Untap(w.tap, chargers/2)
}

// TestFaultsOfUpgrades kills each side of an upgrade at each of its steps: without a
// keeper some of these lose everything; see docs/handoff.md.
func TestFaultsOfUpgrades(t *testing.T) {
	for _, point := range []string{
		"old:hello", "old:begin", "old:precopy", "old:final", "old:sealed", "old:prepared", "old:committed",
		"new:start", "new:hello", "new:begin", "new:precopy", "new:sealed", "new:prepared", "new:committed", "new:active",
	} {
		t.Run(point, func(t *testing.T) {
			const chargers = 30
			once := filepath.Join(t.TempDir(), "once")
			if err := os.WriteFile(once, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			w := newWorldEnv(t, []string{"HOLDFAST_FAULT=" + point + ":kill", "HOLDFAST_FAULT_ONCE=" + once})
			w.Checkproc("a")
			l := w.Load(chargers, 500, harness.Several)
			l.More(50)
			ctx, cancel := context.WithTimeout(t.Context(), harness.Deadline)
			defer cancel()
			_, err := w.Upgrade(ctx, harness.Faulty(t))
			if _, gone := os.Stat(once); gone == nil {
				t.Fatalf("nothing was killed: %v", err)
			}
			// What a service manager does when nobody is left.
			time.Sleep(100 * time.Millisecond)
			harness.Until(t, "one process, or none", func() bool { return len(w.Pids()) <= 1 })
			if len(w.Pids()) == 0 {
				if err := w.Again(ctx); err != nil {
					t.Fatal(err)
				}
			}
			l.More(50)
			w.crash()
			l.More(50)
			if redelivered, _ := w.CheckLedger(l.Finish()); redelivered != 0 {
				t.Errorf("%d redelivered, though no link was lost", redelivered)
			}
			w.Untap(w.tap, chargers/2-1)
		})
	}
}

// TestKeeperDies has the keeper die under load: nobody notices, and once there is another
// one a crash closes nothing again.
func TestKeeperDies(t *testing.T) {
	const chargers = 60
	w := newWorld(t)
	w.Checkproc("a")
	l := w.Load(chargers, 1000, harness.Several)
	for range 2 {
		l.More(100)
		if err := w.keeper.Kill(); err != nil {
			t.Fatal(err)
		}
		w.Logged(w.Process, "no keeper: a crash of the gateway would close every charger")
		l.More(100)
		w.startKeeper()
		w.Logged(w.Process, "kept: a crash of the gateway drops no charger")
		l.More(100)
		time.Sleep(100 * time.Millisecond)
		w.crash()
		l.More(100)
	}
	if redelivered, _ := w.CheckLedger(l.Finish()); redelivered != 0 {
		t.Errorf("%d redelivered, though no link was lost", redelivered)
	}
	w.Untap(w.tap, chargers/2)
}
