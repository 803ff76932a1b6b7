package gateway

import (
	"context"
	"time"

	"holdfast/cmd/holdfast/metrics"
	"holdfast/cmd/holdfast/shard"
)

// sample returns what all of the gateway has counted, and its gauges as they are
// now.
func (g *gateway) sample(ctx context.Context) (metrics.Samples, error) {
	all := metrics.Samples{}
	for _, s := range g.shards {
		waits, err := s.Survey(ctx)
		if err != nil {
			return nil, err
		}
		part, err := shard.Ask(ctx, s, func() metrics.Samples {
			part := metrics.Samples{}
			s.Count(part, waits)
			return part
		})
		if err != nil {
			return nil, err
		}
		all.Add(part)
	}
	g.counters.AppendTo(all)
	all.Add(g.inherited)
	all.Gauge(metrics.Build, 1, g.version)
	all.Gauge(metrics.Started, float64(g.since.UnixMilli())/1000)
	all.Gauge(metrics.Limit, float64(g.cfg.MaxConnections))
	if g.cfg.Keeper != "" {
		up := 0.0
		if g.keeping.Up() {
			up = 1
		}
		all.Gauge(metrics.KeeperUp, up)
	}
	for _, c := range g.handshaker.certificatesHeld() {
		all.Least(metrics.CertificateEnds, time.Until(c.Ends).Seconds(), c.File, c.Subject)
	}
	return all, nil
}

// encodeCounters encodes what the gateway has counted, while its loops are frozen.
func (g *gateway) encodeCounters() []byte {
	all := metrics.Samples{}
	for _, s := range g.shards {
		s.Counters.AppendTo(all)
	}
	g.counters.AppendTo(all)
	all.Add(g.inherited)
	return metrics.AppendCounters(nil, g.since, all)
}

// inherit goes on from what the old process had counted. There may be nothing: a
// release may count nothing, or count in another way.
func (g *gateway) inherit(state []byte) {
	if len(state) == 0 {
		return
	}
	since, all, err := metrics.ParseCounters(state)
	if err != nil {
		g.log.Warn("counters begin at zero: those of the old process cannot be read", "err", err)
		return
	}
	g.inherited = all
	if !since.IsZero() {
		g.since = since
	}
}
