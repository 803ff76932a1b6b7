package main

import (
	"cmp"
	"context"
	"net"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"
)

// Status implements admin.Gateway.
func (g *gateway) Status(ctx context.Context) (*admin.Status, error) {
	s := &admin.Status{
		Version: g.version, PID: os.Getpid(), Started: g.began, Since: g.since, ShuttingDown: g.gate.Over(),
		Limit: g.cfg.MaxConnections, LastUpgrade: g.last.Load(), Links: []admin.LinkStatus{}, Kinds: []admin.KindStatus{},
	}
	for _, l := range g.chargers {
		s.Listen = append(s.Listen, l.Addr().String())
	}
	for _, w := range g.worlds {
		part, err := ask(ctx, w, w.status)
		if err != nil {
			return nil, err
		}
		addShard(s, part)
	}
	slices.SortFunc(s.Links, func(a, b admin.LinkStatus) int {
		return cmp.Or(strings.Compare(a.Processor, b.Processor), a.Loop-b.Loop, cmp.Compare(a.Link, b.Link))
	})
	slices.SortFunc(s.Kinds, func(a, b admin.KindStatus) int {
		return cmp.Or(strings.Compare(a.Subprotocol, b.Subprotocol), strings.Compare(a.TLS, b.TLS))
	})
	return s, nil
}

// addShard adds the part of one shard.
func addShard(s *admin.Status, part admin.Status) {
	for _, k := range part.Kinds {
		s.Connections += k.Connections
		i := slices.IndexFunc(s.Kinds, func(o admin.KindStatus) bool { return o.Subprotocol == k.Subprotocol && o.TLS == k.TLS })
		if i < 0 {
			s.Kinds = append(s.Kinds, k)
		} else {
			s.Kinds[i].Connections += k.Connections
		}
	}
	s.Links = append(s.Links, part.Links...)
	q, p := &s.Queue, part.Queue
	q.Messages += p.Messages
	q.Bytes += p.Bytes
	q.InFlight += p.InFlight
	q.Chargers += p.Chargers
	q.Paused += p.Paused
	q.Offline += p.Offline
	q.OldestSeconds = max(q.OldestSeconds, p.OldestSeconds)
}

// status is the part of one world. It runs on the loop.
func (w *world) status() (s admin.Status) {
	w.relay.SetNow(w.loop.Now())
	for k, n := range w.counters.Kinds {
		if n.Held > 0 {
			s.Kinds = append(s.Kinds, admin.KindStatus{k.Subprotocol, k.TLS, n.Held})
		}
	}
	queues := map[*relay.Link]int{}
	w.relay.Survey(func(c *relay.Charger, waits relay.Waiting) {
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
	for l, own := range w.links {
		who := unixipc.PeerOfFD(own.source.Fd())
		s.Links = append(s.Links, admin.LinkStatus{
			Processor: l.Name(), PID: who.PID, UID: who.UID, Loop: w.index, Link: l.ID(),
			Chargers: l.Chargers(), InFlight: l.InFlight(), Window: l.Window(), Queue: queues[l],
			Unwritten: len(l.Unwritten()), Draining: l.Draining(), Operator: l.Operator(), AskOnly: l.AskOnly(),
		})
	}
	return s
}

// chargersAtOnce are described in one turn of a loop: what else it has to do
// does not wait for a long list.
const chargersAtOnce = 256

// matching are the connections whose identity matches. It runs on the loop.
func (w *world) matching(pattern string) (handles []uint64) {
	w.loop.All(func(c *conn.Conn) {
		if ok, _ := path.Match(pattern, c.Identity); ok || pattern == "*" {
			handles = append(handles, c.Handle())
		}
	})
	return handles
}

// describe runs on the loop.
func (w *world) describe(handles []uint64) (rows []admin.ChargerStatus) {
	for _, h := range handles {
		c := w.loop.Lookup(h)
		if c == nil {
			continue // gone meanwhile
		}
		charger, ok := c.User.(*relay.Charger)
		if !ok {
			continue
		}
		waits := w.relay.Waiting(charger)
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

// Chargers implements admin.Gateway.
func (g *gateway) Chargers(ctx context.Context, pattern string) ([]admin.ChargerStatus, error) {
	var all []admin.ChargerStatus
	for _, world := range g.worlds {
		found, err := ask(ctx, world, func() []uint64 { return world.matching(pattern) })
		for len(found) > 0 && err == nil {
			some := found[:min(len(found), chargersAtOnce)]
			found = found[len(some):]
			var rows []admin.ChargerStatus
			rows, err = ask(ctx, world, func() []admin.ChargerStatus { return world.describe(some) })
			all = append(all, rows...)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Drain implements admin.Gateway.
func (g *gateway) Drain(ctx context.Context, processor string) (found int, err error) {
	for _, world := range g.worlds {
		n, err := ask(ctx, world, func() int { return world.drain(processor) })
		switch {
		case err != nil:
			return 0, err
		case n < 0:
			return 0, admin.ErrReplaced
		}
		found += n
	}
	return found, nil
}

// Join implements admin.Gateway.
func (g *gateway) Join(c *net.UnixConn, early []byte) { g.reception.receive(c, early, true) }

// Authorize implements admin.Gateway.
func (g *gateway) Authorize(ctx context.Context, body unixipc.AuthorizeBody) (unixipc.VerdictBody, error) {
	return g.worlds[relay.LoopOf(body.Identity, len(g.worlds))].verdict(ctx, body, g.cfg.Admin)
}
