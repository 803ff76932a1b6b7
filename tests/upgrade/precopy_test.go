package upgrade

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"holdfast/tests/harness"
	"holdfast/tests/sim"
)

// Links and chargers come and go all the time while the connections are copied:
// some are in no slice, some in two, some belong to a link that came after the
// first.
func TestChangesDuringPrecopy(t *testing.T) {
	t.Parallel()
	w := harness.New(t, "-loops", "2", "-max-attempts", "100")
	w.Checkproc("stays")
	l := w.Load(1000, 500, func(c *sim.Config) { c.Outstanding = 2 })
	l.More(500)

	var stop atomic.Bool
	var guests sync.WaitGroup
	come := func(network, address string, greeting func(n int) string) {
		guests.Go(func() {
			b := make([]byte, 1<<10)
			for n := 0; !stop.Load(); n++ {
				c, err := net.Dial(network, address)
				if err != nil {
					t.Error(err)
					return
				}
				_, err = io.WriteString(c, greeting(n))
				if err == nil {
					_, err = c.Read(b) // it is let in
				}
				if err != nil {
					t.Error(err)
				}
				c.Close()
			}
		})
	}
	come("unix", w.Processors, func(n int) string { return hello(fmt.Sprint("guest-", n%7)) })
	for g := range 2 {
		come("tcp", w.Addr, func(n int) string {
			return (&charger{identity: fmt.Sprintf("guest-%d-%d", g, n%7)}).request()
		})
	}
	for range 5 {
		w.MustUpgrade()
	}
	stop.Store(true)
	guests.Wait()
	l.More(500)
	w.CheckLedger(l.Finish())
}
