package gateway

import (
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/gate"
	"holdfast/cmd/holdfast/keeping"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/cmd/holdfast/shard"
	"holdfast/cmd/holdfast/systemd"
	"holdfast/cmd/holdfast/upgrade"

	"github.com/cloudflare/tableflip"
)

// newGateway sets everything up, with the listeners of the old process if there
// is one, but serves nothing yet.
func newGateway(c *config.Config, version string, files fileBudget, flip *tableflip.Upgrader, log *slog.Logger) (*gateway, error) {
	now := time.Now()
	g := &gateway{
		cfg: c, version: version, files: files, log: log, flip: flip, gate: gate.New(),
		counters: metrics.NewCounters(admin.OutcomeDone, admin.OutcomeRolledBack), since: now, began: now,
	}
	var err error
	if g.shards, err = shard.New(c, version, log); err != nil {
		return nil, err
	}
	g.failed = make(chan error, len(g.shards))
	if g.handshaker, err = newHandshaker(c, files, g.shards, g.gate, g.counters, log); err != nil {
		return nil, err
	}
	g.keeping = &keeping.Keeping{Path: c.Keeper, Shard: g.shards[0], Log: log, Gate: g.gate, Counters: g.counters, Tickets: g.handshaker.tickets()}
	about := systemd.Process{Version: version, Chargers: g.shards[0].Held.Load, Links: g.shards[0].Joined.Load}
	for _, s := range g.shards {
		about.Loops = append(about.Loops, s.Loop.Post)
	}
	g.reporter = systemd.NewReporter(about, log)
	if err := g.listenChargers(); err != nil {
		return nil, err
	}
	if err := g.listenProcessors(); err != nil {
		return nil, err
	}
	if err := g.listenOperators(); err != nil {
		return nil, err
	}
	g.upgrades = &upgrade.Process{
		Config: c, Version: version, Log: log, Flip: flip, Shards: g.shards, Gate: g.gate, Reporter: g.reporter,
		Counters: g.counters, Tickets: g.handshaker.tickets(), EncodeCounters: g.encodeCounters, Record: g.recordUpgrade,
		Slice: files.slice,
	}
	return g, nil
}

func (g *gateway) listenChargers() error {
	sockets, err := systemd.TakeSockets()
	if err != nil {
		return err
	}
	for _, how := range slices.Concat(g.cfg.Listen, g.cfg.ListenTLS) {
		l, err := g.flip.ListenWithCallback("tcp", how.Address, sockets.Or(how.Option(), g.handshaker.listen))
		if err != nil {
			return fmt.Errorf("charger socket %s: %w", how.Address, err)
		}
		g.chargers = append(g.chargers, entrance{l, how})
		g.gate.Guard(l)
	}
	return sockets.Unused()
}

func (g *gateway) listenProcessors() (err error) {
	if g.processors, err = g.listenUnix(g.cfg.Processors, 0o117); err != nil {
		return err
	}
	g.gate.Guard(g.processors)
	g.linkAcceptor = &linkAcceptor{
		listener: g.processors, shards: g.shards, log: g.log, gate: g.gate,
		maxLinks: g.cfg.MaxLinks, cannotAccept: reminder{interval: shortageInterval}, joined: g.shards[0].Joined, counters: g.counters,
	}
	return nil
}

// metricsNetwork is the name under which an upgrade passes on the listener for
// Prometheus. It differs from that of listeners for chargers, one of which may have
// had its address before.
const metricsNetwork = "tcp-admin"

func (g *gateway) listenOperators() error {
	l, err := g.listenUnix(g.cfg.Admin, 0o177)
	if err != nil {
		return err
	}
	if err := admin.SetRights(g.cfg.Admin, g.cfg.AdminGroup); err != nil {
		return err
	}
	g.admin = admin.NewServer(g, g.gate, l, g.log)
	if g.cfg.Metrics == "" {
		return nil
	}
	m, err := g.flip.ListenWithCallback(metricsNetwork, g.cfg.Metrics, func(_, address string) (net.Listener, error) {
		return net.Listen("tcp", address)
	})
	if err != nil {
		return fmt.Errorf("admin address %s: %w", g.cfg.Metrics, err)
	}
	g.metrics = newMetricsServer(m, g.gate, questions{g.sample, g.health, g.readiness}, g.log)
	return nil
}

func (g *gateway) listenUnix(path string, mask int) (*net.UnixListener, error) {
	l, err := g.flip.ListenWithCallback("unix", path, func(_, path string) (net.Listener, error) { return listenUnix(path, mask) })
	if err != nil {
		return nil, err
	}
	return l.(*net.UnixListener), nil
}
