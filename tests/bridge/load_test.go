package bridge

import (
	"io"
	"testing"
	"time"

	"holdfast/tests/central"
	"holdfast/tests/sim"
)

// Chargers under load notice nothing while the central system is killed and comes back,
// the bridge is released and killed, and the gateway is upgraded. The central system has
// seen every CALL.
func TestNothingIsNoticed(t *testing.T) {
	w := newWorld(t, central.Config{})
	b := w.bridge()
	s, err := sim.Start(deadline(t), sim.Config{
		URLs: []string{w.URL(), w.URLTLS()}, TLS: w.TLS.Client(), Chargers: 60, Rate: 300, Duration: 14 * time.Second,
		Deadline: 40 * time.Second, Progress: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AllOpen(deadline(t)); err != nil {
		t.Fatal(err)
	}
	pause := func() { time.Sleep(time.Second) }
	for i := range 2 {
		pause()
		w.cs.Kill()
		pause()
		if err := w.cs.Start(); err != nil {
			t.Fatal(err)
		}
		pause()
		if i == 0 {
			w.Terminate(b)
		} else if err := b.Kill(); err != nil {
			t.Fatal(err)
		}
		b = w.bridge()
		pause()
		w.MustUpgrade()
	}
	report := s.Wait()
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	if n := w.cs.Distinct(); int64(n) != report.Sent {
		t.Errorf("the central system has seen %d CALLs of %d", n, report.Sent)
	}
	t.Logf("%d CALLs answered, %d repeated at the central system, longest wait %v", report.Answered, w.cs.Repeated.Load(), report.LongestSilence)
}
