package shard

import (
	"path"
	"time"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"
)

// Status is the part of one shard. It runs on the loop.
func (w *Shard) Status() (s admin.Status) {
	for k, n := range w.Counters.Kinds {
		if n.Held > 0 {
			s.Kinds = append(s.Kinds, admin.KindStatus{Subprotocol: k.Subprotocol, TLS: k.TLS, Connections: n.Held})
		}
	}
	queues := map[*relay.Link]int{}
	w.Survey(func(c *relay.Charger, waits relay.Waiting) {
		q := &s.Queue
		q.Messages += waits.Messages
		q.Bytes += waits.Bytes
		q.InFlight += waits.InFlight
		q.OldestSeconds = max(q.OldestSeconds, waits.Age.Seconds())
		q.Chargers++
		if waits.Paused {
			q.Paused++
		}
		if _, connected := c.Conn(); !connected {
			q.Offline++
		}
		queues[c.Owner()] += waits.Messages - waits.InFlight
	})
	for l, own := range w.Links {
		who := unixipc.PeerOfFD(own.Source.Fd())
		s.Links = append(s.Links, admin.LinkStatus{
			Processor: l.Name(), PID: who.PID, UID: who.UID, Loop: w.Index, Link: l.ID(),
			Chargers: l.Chargers(), InFlight: l.InFlight(), Window: l.Window(), Queue: queues[l],
			Unwritten: len(l.Unwritten()), Draining: l.Draining(), Operator: l.Operator(), AskOnly: l.AskOnly(),
		})
	}
	return s
}

// Survey calls f for each charger that has anything waiting.
func (w *Shard) Survey(f func(*relay.Charger, relay.Waiting)) {
	for next := w.Relay.Survey(0, f); next > 0; {
		next = w.Relay.Survey(next, f)
	}
}

// ChargersAtOnce are described in one turn of a loop: what else it has to do
// does not wait for a long list.
const ChargersAtOnce = 256

// Matching are the connections whose identity matches. It runs on the loop.
func (w *Shard) Matching(pattern string) (handles []uint64) {
	w.Loop.All(func(c *conn.Conn) {
		if ok, _ := path.Match(pattern, c.Identity); ok || pattern == "*" {
			handles = append(handles, c.Handle())
		}
	})
	return handles
}

// Describe runs on the loop.
func (w *Shard) Describe(handles []uint64) (rows []admin.ChargerStatus) {
	for _, h := range handles {
		c := w.Loop.Lookup(h)
		if c == nil {
			continue // gone meanwhile
		}
		charger, ok := c.User.(*relay.Charger)
		if !ok {
			continue
		}
		waits := w.Relay.Waiting(charger)
		row := admin.ChargerStatus{
			Identity: c.Identity, Subprotocol: c.Subprotocol.String(), TLS: metrics.TLSOf(c), Remote: c.Remote.String(),
			Opened: time.UnixMilli(c.Opened).UTC(), Queue: waits.Messages, Paused: waits.Paused,
		}
		if owner := charger.Owner(); owner != nil {
			row.Processor = owner.Name()
		}
		rows = append(rows, row)
	}
	return rows
}

// Count adds to s what w has counted, and how it is at this moment. It runs on
// the loop.
func (w *Shard) Count(s metrics.Samples) {
	w.Counters.AppendTo(s)
	var messages, bytes, inFlight, paused int
	oldest := time.Duration(0)
	w.Survey(func(_ *relay.Charger, waits relay.Waiting) {
		messages += waits.Messages
		bytes += waits.Bytes
		inFlight += waits.InFlight
		oldest = max(oldest, waits.Age)
		if waits.Paused {
			paused++
		}
	})
	s.Gauge(metrics.Queued, float64(messages))
	s.Gauge(metrics.QueuedBytes, float64(bytes))
	s.Gauge(metrics.InFlight, float64(inFlight))
	s.Gauge(metrics.Paused, float64(paused))
	for l := range w.Links {
		kind := "processor"
		if l.Operator() {
			kind = "operator"
		} else if l.AskOnly() {
			kind = "asker"
		}
		s.Gauge(metrics.Links, 1, kind)
	}
	for _, kind := range []string{"processor", "asker", "operator"} {
		s.Gauge(metrics.Links, 0, kind)
	}
	s.Most(metrics.Oldest, oldest.Seconds())
}

// CloseShare begins to close one in n of the connections that are open.
func (w *Shard) CloseShare(n int) {
	i := 0
	w.Loop.All(func(c *conn.Conn) {
		if i++; i%n == 0 {
			c.Close(conn.Close{Code: conn.CodeRestart, Reason: "the gateway is shutting down", By: conn.ByOperator})
		}
	})
}

// Drain drains the links of a processor, and returns how many there are; -1
// when they are another process's now.
func (w *Shard) Drain(processor string) (n int) {
	if w.Successor != nil {
		return -1
	}
	for l := range w.Links {
		if l.Name() == processor {
			w.Relay.Drain(l)
			n++
		}
	}
	return n
}
