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
	l := start(t, w, 200, 1000, several)
	l.more(400)
	w.Terminate(leaving)
	l.more(400)
	redelivered, moves := checkLedger(t, w, l.finish())
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
			l := start(t, w, 200, 1000, several)
			for i := range 3 {
				first := w.Checkproc(fmt.Sprintf("first-%d", i), "-delay", "5ms")
				l.more(200)
				second := w.Checkproc(fmt.Sprintf("second-%d", i), "-delay", "1ms")
				l.more(200)
				w.Terminate(first)
				l.more(200)
				w.Terminate(second)
			}
			l.more(200)
			redelivered, moves := checkLedger(t, w, l.finish())
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
	l := start(t, w, 50, 500)
	l.more(200)
	w.Terminate(last)
	harness.Until(t, "every charger to wait", func() bool { return l.Counters.Outstanding() == 50 })
	w.Processor("next")
	l.more(200)
	l.finish()
}
