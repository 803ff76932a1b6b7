package delivery

import (
	"testing"

	"holdfast/tests/harness"
	"holdfast/tests/sim"
)

func TestMessagesWaitForAProcessor(t *testing.T) {
	w := harness.New(t)
	l := w.Load(100, 1000)
	harness.Until(t, "every charger to wait", func() bool { return l.Counters.Outstanding() == 100 })
	if n := l.Counters.Answered.Load(); n != 0 {
		t.Fatalf("%d answers without a processor", n)
	}
	w.Checkproc("late")
	l.More(500)
	w.CheckLedger(l.Finish())
}

// More than any queue holds: the gateway stops reading, and loses nothing.
func TestBackPressureWithoutAProcessor(t *testing.T) {
	const chargers, each = 10, 500
	w := harness.New(t)
	l := w.Load(chargers, 20000, func(c *sim.Config) { c.Outstanding = each })
	harness.Until(t, "all queues to fill", func() bool { return l.Counters.Outstanding() == chargers*each })
	w.Checkproc("late")
	l.More(chargers * each)
	w.CheckLedger(l.Finish())
}
