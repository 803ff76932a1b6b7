package delivery

import (
	"testing"

	"holdfast/tests/harness"
	"holdfast/tests/sim"
)

func TestMessagesWaitForAProcessor(t *testing.T) {
	w := harness.New(t)
	l := start(t, w, 100, 1000)
	harness.Until(t, "every charger to wait", func() bool { return l.Counters.Outstanding() == 100 })
	if n := l.Counters.Answered.Load(); n != 0 {
		t.Fatalf("%d answers without a processor", n)
	}
	w.Checkproc("late")
	l.more(500)
	checkLedger(t, w, l.finish())
}

// More than any queue holds: the gateway stops reading, and loses nothing.
func TestBackPressureWithoutAProcessor(t *testing.T) {
	const chargers, each = 10, 500
	w := harness.New(t)
	l := start(t, w, chargers, 20000, func(c *sim.Config) { c.Outstanding = each })
	harness.Until(t, "all queues to fill", func() bool { return l.Counters.Outstanding() == chargers*each })
	w.Checkproc("late")
	l.more(chargers * each)
	checkLedger(t, w, l.finish())
}
