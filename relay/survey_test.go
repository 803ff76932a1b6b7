package relay

import (
	"fmt"
	"testing"
	"time"

	"holdfast/unixipc"
)

// handOver gives everything of a stage's only loop to another relay, which is
// not activated yet.
func (s *stage) handOver() *Relay {
	s.t.Helper()
	old := s.relays[0]
	next := New(old.cfg, &stageGateway{s, 0})
	next.SetNow(s.now)
	for _, l := range old.Links() {
		if _, err := next.AdoptLink(old.AppendLink(nil, l)); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, c := range old.chargers {
		if _, err := next.AdoptCharger(old.AppendCharger(nil, c), c.conn); err != nil {
			s.t.Fatal(err)
		}
	}
	s.relays[0] = next
	return next
}

// What waits is reported with its age, which a hand-over does not change.
func TestSurvey(t *testing.T) {
	s := newStage(t, 1)
	c := s.open(0)
	s.advance(3 * time.Second)
	c.sends(`[2,"1","Heartbeat",{}]`)
	s.advance(2 * time.Second)
	for range 2 {
		surveyed := 0
		survey(s.relays[0], func(_ *Charger, w Waiting) {
			surveyed++
			if w.Messages != 2 || w.Age != 5*time.Second || w.InFlight != 0 || w.Bytes == 0 || w.Paused {
				t.Errorf("what waits is %+v", w)
			}
		})
		if surveyed != 1 {
			t.Errorf("%d chargers have something", surveyed)
		}
		s.handOver()
	}
	s.relays[0].Activate()
	l := s.join(0, unixipc.HelloBody{Name: "p"}, false)
	s.advance(0)
	l.frames()
	survey(s.relays[0], func(c *Charger, w Waiting) { t.Errorf("%s still has %+v", c.Identity(), w) })
}

// A charger that connects again and again, while nobody takes that, is known by the
// number, whether it sends something each time or not.
func TestSurveyOfAReboot(t *testing.T) {
	for _, message := range []string{"", `[2,"1","BootNotification",{}]`} {
		s := newStage(t, 1)
		c := s.open(0)
		for range 49 {
			if message != "" {
				c.sends("%s", message)
			}
			c.r.Closed(c.Charger, unixipc.ClosedBody{Code: 1006, By: "network"})
			c.Charger = c.r.Opened(c.identity, "ocpp1.6", c.conn+1000, nil)
		}
		for range 2 {
			survey(s.relays[0], func(_ *Charger, w Waiting) {
				if w.Connections != 50 {
					t.Errorf("%q each time: %+v", message, w)
				}
			})
			s.handOver()
		}
	}
}

// The loop of the new process reads from chargers before it activates its relay:
// taps and watches must get that, too.
func TestLooksHoldBeforeActivate(t *testing.T) {
	s := newStage(t, 1)
	op := s.join(0, unixipc.HelloBody{Name: "tap", AskOnly: true}, true)
	op.order(unixipc.Frame{Type: unixipc.Tap, Ref: 1, Payload: []byte(`{"glob":"*"}`)})
	op.order(unixipc.Frame{Type: unixipc.Watch, Ref: 2, Payload: []byte(`{"glob":"*"}`)})
	c := s.open(0)
	s.advance(0)
	next := s.handOver()
	link := next.Links()[0]
	before := len(link.Unwritten())
	next.Message(next.Charger(c.identity), []byte(`[2,"1","Heartbeat",{}]`), 0, false)
	tapped := len(link.Unwritten())
	next.Closed(next.Charger(c.identity), unixipc.ClosedBody{Code: 1006, By: "network"})
	if seen := len(link.Unwritten()); tapped == before || seen == tapped {
		t.Errorf("%d bytes for the tap, %d for the watch", tapped-before, seen-tapped)
	}
}

func BenchmarkSurvey(b *testing.B) {
	for _, n := range []int{15_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := New(modelConfig, nobody{})
			r.SetNow(time.Now())
			for i := range n {
				c := r.Opened(fmt.Sprintf("CP%06d", i), "ocpp1.6", uint64(i+1), nil)
				if i%100 != 0 { // the others have something waiting
					c.q = nil
				}
			}
			for b.Loop() {
				survey(r, func(*Charger, Waiting) {})
			}
		})
	}
}

// survey looks at all chargers.
func survey(r *Relay, f func(*Charger, Waiting)) {
	for next := r.Survey(0, f); next > 0; {
		next = r.Survey(next, f)
	}
}
