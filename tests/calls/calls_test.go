// Package calls has black-box tests of CALL: many callers of as many chargers,
// while processors die and the gateway is replaced.
package calls

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"holdfast/tests/harness"
	"holdfast/tests/sim"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// TestManyCallers has every caller call its own charger again and again, while
// chargers send CALLs of their own, their processors are killed, and the gateway
// is replaced. HOLDFAST_CALLERS=5000 is the whole of it.
func TestManyCallers(t *testing.T) {
	chargers, rounds := 200, 3
	if s := os.Getenv("HOLDFAST_CALLERS"); s != "" {
		var err error
		if chargers, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
		rounds = 5
	}
	for _, loops := range []string{"1", "2"} {
		t.Run("loops "+loops, func(t *testing.T) {
			w := harness.New(t, "-loops", loops)
			a, b := w.Checkproc("a"), w.Checkproc("b")
			l := w.Load(chargers, 200, func(c *sim.Config) { c.CallDelay = 5 * time.Millisecond; c.Ramp = 2000 })
			c := w.Call(chargers, 4)
			for range rounds {
				c.More(int64(chargers))
				ctx, cancel := context.WithTimeout(t.Context(), 2*harness.Deadline)
				if out, err := w.Upgrade(ctx, harness.Holdfast()); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				cancel()
				c.More(int64(chargers))
				w.Kill(a)
				a, b = b, w.Checkproc("c")
				l.More(100)
			}
			c.Finish()
			r := l.Finish()
			w.CheckLedger(r)
			t.Logf("%d CALLs to %d chargers answered, none mixed up", c.Done.Load(), chargers)
		})
	}
}
