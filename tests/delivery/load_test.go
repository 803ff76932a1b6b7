package delivery

import (
	"context"
	"os"
	"testing"
	"time"

	"holdfast/tests/harness"
	"holdfast/tests/sim"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// load is a simulation during a test.
type load struct {
	*sim.Sim
	t   testing.TB
	end context.CancelFunc
}

// start connects chargers to the gateway, all of which send in an open loop until
// finish. It returns when all are connected.
func start(t testing.TB, w *harness.World, chargers int, rate float64, adjust ...func(*sim.Config)) *load {
	t.Helper()
	config := sim.Config{
		URLs: []string{w.URL()}, Chargers: chargers, Rate: rate, Deadline: harness.Deadline,
	}
	for _, a := range adjust {
		a(&config)
	}
	ctx, end := context.WithCancel(context.Background())
	s, err := sim.Start(ctx, config)
	if err != nil {
		end()
		t.Fatal(err)
	}
	l := &load{Sim: s, t: t, end: end}
	t.Cleanup(func() { end(); s.Wait() })
	open, cancel := context.WithTimeout(ctx, harness.Deadline)
	defer cancel()
	if err := s.AllOpen(open); err != nil {
		t.Fatalf("%v: %+v", err, l.stop())
	}
	return l
}

// more waits until n more CALLs were answered than now.
func (l *load) more(n int64) {
	l.t.Helper()
	want := l.Counters.Answered.Load() + n
	harness.Until(l.t, "answers", func() bool { return l.Counters.Answered.Load() >= want })
}

func (l *load) stop() sim.Report {
	l.end()
	return l.Wait()
}

// finish ends the load and holds the report to the promises.
func (l *load) finish() sim.Report {
	l.t.Helper()
	r := l.stop()
	if err := r.Err(); err != nil {
		l.t.Errorf("chargers saw %v; first: %q", err, r.Faults)
	}
	if r.Sent == 0 || r.Answered != r.Sent {
		l.t.Errorf("%d sent, %d answered", r.Sent, r.Answered)
	}
	return r
}

// checkLedger holds what the checking processors saw to the promises: every message
// that was sent, in order.
func checkLedger(t testing.TB, w *harness.World, r sim.Report) (redelivered, moves int64) {
	t.Helper()
	s := w.Ledger()
	if err := s.Err(); err != nil {
		t.Error(err)
	}
	if s.Distinct != r.Sent {
		t.Errorf("%d sent, %d came to processors", r.Sent, s.Distinct)
	}
	t.Logf("%d messages to processors, %d redelivered, %d moves, by %v; longest silence %v",
		s.Messages, s.Redelivered, s.Moves, s.By, r.LongestSilence.Round(time.Millisecond))
	return s.Redelivered, s.Moves
}

// several lets each charger have more CALLs under way than OCPP-J allows, so that
// there is an order to be lost.
func several(c *sim.Config) { c.Outstanding = 8 }
