package delivery

import (
	"fmt"
	"testing"

	"holdfast/tests/harness"
)

// A processor that drains finishes what is its own: nothing is delivered twice.
func TestDrainedProcessorLeavesNothingBehind(t *testing.T) {
	w := harness.New(t)
	leaving := w.Checkproc("leaving", "-delay", "10ms")
	w.Checkproc("staying")
	l := w.Load(200, 1000, harness.Several)
	l.More(400)
	w.Terminate(leaving)
	l.More(400)
	redelivered, moves := w.CheckLedger(l.Finish())
	if redelivered != 0 {
		t.Errorf("%d redelivered, though nobody was killed", redelivered)
	}
	if moves == 0 {
		t.Error("no charger moved")
	}
}

func TestProcessorsComeAndGo(t *testing.T) {
	for _, loops := range []string{"1", "2"} {
		t.Run(loops+" loops", func(t *testing.T) {
			w := harness.New(t, "-loops", loops)
			w.Checkproc("stays")
			l := w.Load(200, 1000, harness.Several)
			for i := range 3 {
				first := w.Checkproc(fmt.Sprintf("first-%d", i), "-delay", "5ms")
				l.More(200)
				second := w.Checkproc(fmt.Sprintf("second-%d", i), "-delay", "1ms")
				l.More(200)
				w.Terminate(first)
				l.More(200)
				w.Terminate(second)
			}
			l.More(200)
			redelivered, moves := w.CheckLedger(l.Finish())
			if redelivered != 0 {
				t.Errorf("%d redelivered, though nobody was killed", redelivered)
			}
			if moves < 100 {
				t.Errorf("only %d moves", moves)
			}
		})
	}
}

// The gateway says DRAINED to the last processor as well; its chargers wait.
func TestLastProcessorDrains(t *testing.T) {
	w := harness.New(t)
	last := w.Processor("last")
	l := w.Load(50, 500)
	l.More(200)
	w.Terminate(last)
	harness.Until(t, "every charger to wait", func() bool { return l.Counters.Outstanding() == 50 })
	w.Processor("next")
	l.More(200)
	l.Finish()
}
