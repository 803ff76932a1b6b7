package delivery

import (
	"testing"
	"time"

	"holdfast/tests/harness"
)

// A processor that hangs past -ack-timeout is closed and its chargers move; when it
// wakes up, what it says about them changes nothing.
func TestHungProcessorLosesItsChargers(t *testing.T) {
	// On a busy machine it must not pass for the processor that is well, nor before as many
	// messages wait as are asked for below.
	const timeout = 4 * time.Second
	w := harness.New(t, "-ack-timeout", timeout.String())
	hung := w.Checkproc("hung")
	w.Checkproc("other")
	l := w.Load(200, 500, harness.Several)
	l.More(300)
	w.Pause(hung)
	// Chargers of the hung one soon wait, all of them with what they may have under way.
	harness.Until(t, "its chargers to wait", func() bool { return l.Counters.Outstanding() > 300 })
	harness.Until(t, "its chargers to move", func() bool { return l.Counters.Outstanding() < 100 })
	w.Resume(hung)
	select {
	case <-hung.Exited(): // its link was closed
	case <-time.After(harness.Deadline):
		t.Fatal("the link of the hung processor is still open")
	}
	l.More(300)
	r := l.Finish()
	if r.LongestSilence < timeout || r.LongestSilence > 4*timeout {
		t.Errorf("longest silence %v with an ack-timeout of %v", r.LongestSilence, timeout)
	}
	if redelivered, _ := w.CheckLedger(r); redelivered == 0 {
		t.Error("nothing was redelivered: the test did not test")
	}
}
