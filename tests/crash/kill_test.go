package crash

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"holdfast/tests/sim"
)

// kills is how often a test kills the gateway: HOLDFAST_KILLS, or a few times.
func kills(t testing.TB, few int) int {
	if n, err := strconv.Atoi(os.Getenv("HOLDFAST_KILLS")); err == nil {
		return n
	}
	return few
}

// TestKills kills the gateway at random instants, while chargers send over ws and over
// wss with each suite, two processors answer, and callers have the chargers called: all
// connections and links stay, nothing is lost, answered twice or out of order, and no
// nonce has carried two texts.
func TestKills(t *testing.T) {
	const chargers, callers = 60, 20
	w := newWorld(t)
	w.Checkproc("a")
	w.Checkproc("b")
	l := w.Load(chargers, 1500, func(c *sim.Config) { c.Outstanding, c.CallDelay = 8, 20*time.Millisecond })
	calls := w.Call(callers, 2)
	l.More(200)
	for i := range kills(t, 30) {
		w.crash()
		l.More(30)
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		if i%10 == 9 {
			calls.More(callers)
		}
	}
	calls.More(callers)
	calls.Finish()
	redelivered, _ := w.CheckLedger(l.Finish())
	if redelivered != 0 {
		t.Errorf("%d redelivered, though no link was lost", redelivered)
	}
	w.Untap(w.tap, chargers/2)
}
