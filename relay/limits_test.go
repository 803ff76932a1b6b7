package relay

import (
	"strings"
	"testing"
	"time"

	"holdfast/unixipc"
)

// A link whose orders wait for another loop is not read beyond maxForwarded, and is
// woken when they have been carried out.
func TestOrdersForAnotherLoopAreBounded(t *testing.T) {
	s := newStage(t, 2)
	c := s.open(1)
	l := s.join(0, askOnly, false)
	message := []byte(`[2,"a","` + strings.Repeat("x", 1000) + `",{}]`)
	order := unixipc.Frame{Type: unixipc.Send, Ref: 1, Key: []byte(c.identity), Payload: message}.Append(nil)
	size := len(c.identity) + len(message) + forwardCost
	sent := 0
	for ; !l.Ahead(); sent++ {
		l.r.Receive(l.Link, order)
	}
	if sent != maxForwarded/size+1 {
		t.Errorf("%d orders of %d bytes are too many; the limit is %d", sent, size, maxForwarded)
	}
	l.r.Wrote(l.Link, len(l.Unwritten())) // it is not notified now
	s.run()
	if l.Ahead() || !l.notified || l.forwarded != 0 {
		t.Errorf("carried out: ahead %v, notified %v, %d bytes", l.Ahead(), l.notified, l.forwarded)
	}
	if n := len(c.received()); n != sent {
		t.Errorf("%d of %d arrived", n, sent)
	}
}

// again is what GivenBackAgain reported.
type again struct {
	Gateway
	times []int
}

func (a *again) GivenBackAgain(_, _ string, times int, _ time.Duration) {
	a.times = append(a.times, times)
}

// NACKs of the oldest delivery count, until it is acknowledged; those of others, which
// come back with it, do not. Operators hear of the 10th, the 100th, and so on.
func TestGivenBackAgain(t *testing.T) {
	s := newStage(t, 1)
	r := s.relays[0]
	a := &again{Gateway: r.gateway}
	r.gateway = a
	c := s.open(0)
	l := s.join(0, unixipc.HelloBody{Name: "p"}, false)
	l.frames() // acknowledges OPENED
	c.sends(`[2,"1","A",{}]`)
	c.sends(`[2,"2","A",{}]`)
	// giveBack gives back what is in flight, the last first.
	giveBack := func() {
		var flying []unixipc.Frame
		in := append([]byte(nil), l.Unwritten()...)
		r.Wrote(l.Link, len(in))
		for len(in) > 0 {
			f, n, err := unixipc.Parse(in, 1<<20)
			if err != nil || n == 0 {
				t.Fatal(err)
			}
			flying, in = append(flying, f), in[n:]
		}
		if len(flying) == 0 {
			t.Fatal("nothing was delivered")
		}
		for i := len(flying) - 1; i >= 0; i-- {
			l.order(unixipc.Frame{Type: unixipc.Nack, Ref: flying[i].Ref, Key: flying[i].Key})
		}
		r.Tick()
	}
	for range 99 {
		giveBack()
	}
	if n := r.Waiting(c.Charger).GivenBack; n != 99 || len(a.times) != 1 || a.times[0] != 10 {
		t.Errorf("after 99 NACKs: %d, reported %v", n, a.times)
	}
	giveBack()
	if n := r.Waiting(c.Charger).GivenBack; n != 100 || len(a.times) != 2 || a.times[1] != 100 {
		t.Errorf("after 100 NACKs: %d, reported %v", n, a.times)
	}
	l.frames() // acknowledges
	if n := r.Waiting(c.Charger).GivenBack; n != 0 {
		t.Errorf("acknowledged: %d", n)
	}
}
