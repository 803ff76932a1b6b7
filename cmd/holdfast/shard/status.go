package shard

import (
	"path"
	"time"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/conn"
	"holdfast/relay"
)

// Status returns the shard's part of the gateway's status, with what Survey returned.
func (s *Shard) Status(waits *Survey) (part admin.Status) {
	for k, n := range s.Counters.Kinds {
		if n.Held > 0 {
			part.Kinds = append(part.Kinds, admin.KindStatus{Subprotocol: k.Subprotocol, TLS: k.TLS, Connections: n.Held})
		}
	}
	part.Queue = admin.QueueStatus{
		Messages: waits.Messages, Bytes: waits.Bytes, InFlight: waits.InFlight, OldestSeconds: waits.Oldest.Seconds(),
		Chargers: waits.Chargers, Paused: waits.Paused, Offline: waits.Offline, GivenBack: waits.GivenBack,
		Restless: waits.Restless,
	}
	for l, own := range s.links.all {
		who := own.peer()
		part.Links = append(part.Links, admin.LinkStatus{
			Processor: l.Name(), PID: who.PID, UID: who.UID, Loop: s.Index, Link: l.ID(),
			Chargers: l.Chargers(), InFlight: l.InFlight(), Window: l.Window(), Queue: waits.queues[l],
			Unwritten: len(l.Unwritten()), Draining: l.Draining(), Operator: l.Operator(), AskOnly: l.AskOnly(),
		})
	}
	return part
}

// ChargersAtOnce is how many chargers are described in one turn of a loop. The
// rest of a long list waits for the next turns, so that messages need not.
const ChargersAtOnce = 256

// Matching returns the handles of the connections whose identity matches.
func (s *Shard) Matching(pattern string) (handles []uint64) {
	s.Loop.All(func(c *conn.Conn) {
		if ok, _ := path.Match(pattern, c.Identity); ok || pattern == "*" {
			handles = append(handles, c.Handle())
		}
	})
	return handles
}

// Describe returns a row for each connection that is still there.
func (s *Shard) Describe(handles []uint64) (rows []admin.ChargerStatus) {
	for _, h := range handles {
		c := s.Loop.Lookup(h)
		if c == nil {
			continue
		}
		charger, ok := c.User.(*relay.Charger)
		if !ok {
			continue
		}
		waits := s.Relay.Waiting(charger)
		row := admin.ChargerStatus{
			Identity: c.Identity, Subprotocol: c.Subprotocol.String(), TLS: metrics.TLSOf(c), Remote: c.Remote.String(),
			Opened: time.UnixMilli(c.Opened).UTC(), Queue: waits.Messages, Paused: waits.Paused, Gone: c.Gone(), GivenBack: waits.GivenBack,
		}
		if owner := charger.Owner(); owner != nil {
			row.Processor = owner.Name()
		}
		rows = append(rows, row)
	}
	return rows
}

// Count adds to all what the shard has counted, and its gauges as they are now, with
// what Survey returned.
func (s *Shard) Count(all metrics.Samples, waits *Survey) {
	s.Counters.AppendTo(all)
	all.Gauge(metrics.Queued, float64(waits.Messages))
	all.Gauge(metrics.QueuedBytes, float64(waits.Bytes))
	all.Gauge(metrics.InFlight, float64(waits.InFlight))
	all.Gauge(metrics.Paused, float64(waits.Paused))
	for l := range s.links.all {
		kind := "processor"
		if l.Operator() {
			kind = "operator"
		} else if l.AskOnly() {
			kind = "asker"
		} else if l.Draining() {
			kind = "draining"
		}
		all.Gauge(metrics.Links, 1, kind)
	}
	for _, kind := range []string{"processor", "draining", "asker", "operator"} {
		all.Gauge(metrics.Links, 0, kind)
	}
	all.Most(metrics.Oldest, waits.Oldest.Seconds())
}
