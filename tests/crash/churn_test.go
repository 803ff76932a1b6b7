package crash

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/tests/sim"
)

// TestChurn has chargers come and go during upgrades and kills: slots of the memory are
// used again all the time, in the process that serves and in the next one.
func TestChurn(t *testing.T) {
	w := newWorld(t)
	w.Checkproc("a")
	l := w.Load(600, 300, func(c *sim.Config) { c.Outstanding = 2 })
	l.More(100)
	var addr atomic.Value // another one after each kill
	addr.Store(w.Addr)
	var stop atomic.Bool
	var guests sync.WaitGroup
	for g := range 2 {
		guests.Go(func() {
			b := make([]byte, 1<<10)
			for n := 0; !stop.Load(); n++ {
				c, err := net.Dial("tcp", addr.Load().(string))
				if err != nil { // the gateway is between two lives
					time.Sleep(10 * time.Millisecond)
					continue
				}
				fmt.Fprintf(c, "GET /ocpp/guest-%d-%d HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
					"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\r\n", g, n%7)
				_ = c.SetReadDeadline(time.Now().Add(time.Second))
				_, _ = c.Read(b)
				time.Sleep(3 * time.Millisecond)
				c.Close()
			}
		})
	}
	for range 3 {
		w.MustUpgrade()
		l.More(50)
		w.crash()
		addr.Store(w.Addr)
		l.More(50)
	}
	stop.Store(true)
	guests.Wait()
	if n := w.Log.Contains("an item of the gateway before is lost"); n {
		t.Error("an item was lost")
	}
	if redelivered, _ := w.CheckLedger(l.Finish()); redelivered != 0 {
		t.Errorf("%d redelivered, though no link was lost", redelivered)
	}
}

// TestKeeperWithoutRoom has more chargers than the keeper has room for: those beyond cost
// the others nothing.
func TestKeeperWithoutRoom(t *testing.T) {
	w := newWorldOf(t, world{files: 128}, nil)
	w.Checkproc("a")
	few := w.Load(20, 100)
	few.More(50)
	more := w.Load(100, 100, func(c *sim.Config) { c.Prefix = "MORE-" })
	more.More(50)
	w.Logged(w.keeper, "keeper: no room for all")
	w.crash()
	few.More(50)
	r := few.Finish()
	if r.Dropped > 0 {
		t.Errorf("%d of those that are kept were dropped", r.Dropped)
	}
	if dropped := more.Stop().Dropped; dropped == 0 || dropped > 60 {
		t.Errorf("%d of 100 were dropped", dropped)
	}
}
