package delivery

import (
	"fmt"
	"testing"

	"holdfast/tests/harness"
)

// Each round kills the one of two processors that has unacknowledged messages for
// certain, because it takes its time, and starts it again under its name.
func TestKilledProcessorLosesNothing(t *testing.T) {
	for _, loops := range []string{"1", "2"} {
		t.Run(loops+" loops", func(t *testing.T) {
			w := harness.New(t, "-loops", loops)
			slow := w.Checkproc("slow", "-delay", "20ms")
			w.Checkproc("other")
			l := w.Load(200, 1000, harness.Several)
			for range 4 {
				l.More(300)
				w.Kill(slow)
				l.More(300)
				slow = w.Checkproc("slow", "-delay", "20ms")
			}
			l.More(300)
			redelivered, moves := w.CheckLedger(l.Finish())
			if redelivered == 0 || moves == 0 {
				t.Errorf("%d redelivered, %d moves: the test did not test", redelivered, moves)
			}
		})
	}
}

func TestAllProcessorsKilledThenBack(t *testing.T) {
	w := harness.New(t)
	a, b := w.Checkproc("a"), w.Checkproc("b")
	l := w.Load(100, 500, harness.Several)
	l.More(200)
	w.Kill(a)
	w.Kill(b)
	before := l.Counters.Sent.Load()
	harness.Until(t, "messages sent without a processor", func() bool { return l.Counters.Sent.Load() > before+200 })
	w.Checkproc("c")
	l.More(400)
	w.CheckLedger(l.Finish())
}

func TestReferenceProcessorKilled(t *testing.T) {
	w := harness.New(t)
	p := w.Processor("p0")
	w.Processor("q")
	l := w.Load(200, 1000)
	for i := range 3 {
		l.More(300)
		w.Kill(p)
		l.More(300)
		p = w.Processor(fmt.Sprintf("p%d", i+1))
	}
	l.More(300)
	l.Finish()
}
