package gateway

import (
	"cmp"
	"context"
	"net"
	"os"
	"slices"
	"strings"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/shard"
	"holdfast/relay"
	"holdfast/unixipc"
)

// Status implements admin.Gateway.
func (g *gateway) Status(ctx context.Context) (*admin.Status, error) {
	all := &admin.Status{
		Version: g.version, PID: os.Getpid(), Started: g.began, Since: g.since, ShuttingDown: g.gate.Over(),
		Limit: g.cfg.MaxConnections, Keeper: g.keeping.State(), LastUpgrade: g.last.Load(), Links: []admin.LinkStatus{}, Kinds: []admin.KindStatus{},
	}
	for _, l := range g.chargers {
		all.Listen = append(all.Listen, l.Addr().String())
	}
	for _, c := range g.handshaker.certificatesHeld() {
		all.Certificates = append(all.Certificates, admin.CertificateStatus{File: c.File, Subject: c.Subject, Ends: c.Ends})
	}
	for _, s := range g.shards {
		waits, err := s.Survey(ctx)
		if err != nil {
			return nil, err
		}
		part, err := shard.Ask(ctx, s, func() admin.Status { return s.Status(waits) })
		if err != nil {
			return nil, err
		}
		addPart(all, part)
	}
	slices.SortFunc(all.Links, func(a, b admin.LinkStatus) int {
		return cmp.Or(strings.Compare(a.Processor, b.Processor), a.Loop-b.Loop, cmp.Compare(a.Link, b.Link))
	})
	slices.SortFunc(all.Kinds, func(a, b admin.KindStatus) int {
		return cmp.Or(strings.Compare(a.Subprotocol, b.Subprotocol), strings.Compare(a.TLS, b.TLS))
	})
	return all, nil
}

// addPart adds the part of one shard.
func addPart(all *admin.Status, part admin.Status) {
	for _, k := range part.Kinds {
		all.Connections += k.Connections
		i := slices.IndexFunc(all.Kinds, func(o admin.KindStatus) bool { return o.Subprotocol == k.Subprotocol && o.TLS == k.TLS })
		if i < 0 {
			all.Kinds = append(all.Kinds, k)
		} else {
			all.Kinds[i].Connections += k.Connections
		}
	}
	all.Links = append(all.Links, part.Links...)
	q, p := &all.Queue, part.Queue
	q.Messages += p.Messages
	q.Bytes += p.Bytes
	q.InFlight += p.InFlight
	q.Chargers += p.Chargers
	q.Paused += p.Paused
	q.Offline += p.Offline
	q.GivenBack += p.GivenBack
	q.Restless = shard.MostRestless(append(q.Restless, p.Restless...))
	q.OldestSeconds = max(q.OldestSeconds, p.OldestSeconds)
}

// Chargers implements admin.Gateway.
func (g *gateway) Chargers(ctx context.Context, pattern string) ([]admin.ChargerStatus, error) {
	var all []admin.ChargerStatus
	for _, s := range g.shards {
		found, err := shard.Ask(ctx, s, func() []uint64 { return s.Matching(pattern) })
		for len(found) > 0 && err == nil {
			some := found[:min(len(found), shard.ChargersAtOnce)]
			found = found[len(some):]
			var rows []admin.ChargerStatus
			rows, err = shard.Ask(ctx, s, func() []admin.ChargerStatus { return s.Describe(some) })
			all = append(all, rows...)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Drain implements admin.Gateway.
func (g *gateway) Drain(ctx context.Context, processor string, force bool) (found int, err error) {
	if !force {
		// A processor has a link to each loop; one tells for all.
		only, err := shard.Ask(ctx, g.shards[0], func() []string { return g.shards[0].Relay.OnlyBy(processor) })
		if err == nil && len(only) > 0 {
			err = &admin.LastError{Processor: processor, Subprotocols: only}
		}
		if err != nil {
			return 0, err
		}
	}
	return g.onLinks(ctx, func(s *shard.Shard) int { return s.Drain(processor) })
}

// Undrain implements admin.Gateway.
func (g *gateway) Undrain(ctx context.Context, processor string) (found int, err error) {
	return g.onLinks(ctx, func(s *shard.Shard) int { return s.Undrain(processor) })
}

// onLinks does f in each shard, and adds up the links that it returns; fewer than none
// means that they are another process's now.
func (g *gateway) onLinks(ctx context.Context, f func(*shard.Shard) int) (links int, err error) {
	for _, s := range g.shards {
		n, err := shard.Ask(ctx, s, func() int { return f(s) })
		switch {
		case err != nil:
			return 0, err
		case n < 0:
			return 0, admin.ErrReplaced
		}
		links += n
	}
	return links, nil
}

// Join implements admin.Gateway.
func (g *gateway) Join(c *net.UnixConn, early []byte) { g.linkAcceptor.receive(c, early, true) }

// Authorize implements admin.Gateway.
func (g *gateway) Authorize(ctx context.Context, body unixipc.AuthorizeBody) (unixipc.VerdictBody, error) {
	return g.shards[relay.LoopOf(body.Identity, len(g.shards))].Verdict(ctx, body, g.cfg.Admin)
}
