package harness

import (
	"context"
	"testing"
	"time"

	"holdfast/tests/sim"
	"holdfast/tests/suites"
)

// Load is a simulation during a test.
type Load struct {
	*sim.Sim
	t   testing.TB
	end context.CancelFunc
}

// Several lets each charger of a Load have more CALLs under way than OCPP-J allows, so
// that there is an order to be lost.
func Several(c *sim.Config) { c.Outstanding = 8 }

// Load connects chargers to the gateway, half of them over ws and half over wss with
// each suite in turn, all of which send in an open loop until Finish. It returns when
// all are connected.
func (w *World) Load(chargers int, rate float64, adjust ...func(*sim.Config)) *Load {
	w.t.Helper()
	config := sim.Config{URLs: w.URLs(), Chargers: chargers, Rate: rate, Deadline: Deadline}
	if w.TLS != nil {
		config.TLS, config.Suites = w.TLS.Client(), suites.All
	}
	for _, a := range adjust {
		a(&config)
	}
	ctx, end := context.WithCancel(context.Background())
	s, err := sim.Start(ctx, config)
	if err != nil {
		end()
		w.t.Fatal(err)
	}
	l := &Load{Sim: s, t: w.t, end: end}
	w.t.Cleanup(func() { l.Stop() })
	if err := s.AllOpen(soon(w.t)); err != nil {
		w.t.Fatalf("%v: %+v", err, l.Stop())
	}
	return l
}

// More waits until n more CALLs were answered than now.
func (l *Load) More(n int64) {
	l.t.Helper()
	want := l.Counters.Answered.Load() + n
	Until(l.t, "answers", func() bool { return l.Counters.Answered.Load() >= want })
}

// Stop ends the load, and reports whatever it saw.
func (l *Load) Stop() sim.Report {
	l.end()
	return l.Wait()
}

// Finish ends the load and holds the report to the promises.
func (l *Load) Finish() sim.Report {
	l.t.Helper()
	r := l.Stop()
	if err := r.Err(); err != nil {
		l.t.Errorf("chargers saw %v; first: %q", err, r.Faults)
	}
	if r.Sent == 0 || r.Answered != r.Sent {
		l.t.Errorf("%d sent, %d answered", r.Sent, r.Answered)
	}
	return r
}

// CheckLedger holds what the checking processors saw to the promises: every
// message that was sent, in order.
func (w *World) CheckLedger(r sim.Report) (redelivered, moves int64) {
	w.t.Helper()
	s := w.Ledger()
	if err := s.Err(); err != nil {
		w.t.Error(err)
	}
	if s.Distinct != r.Sent {
		w.t.Errorf("%d sent, %d came to processors", r.Sent, s.Distinct)
	}
	w.t.Logf("%d messages to processors, %d redelivered, %d moves, by %v; longest silence %v",
		s.Messages, s.Redelivered, s.Moves, s.By, r.LongestSilence.Round(time.Millisecond))
	return s.Redelivered, s.Moves
}
