package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/gate"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/cmd/holdfast/shard"
	"holdfast/cmd/holdfast/systemd"
	"holdfast/cmd/holdfast/upgrade"
	"holdfast/relay"

	"github.com/cloudflare/tableflip"
)

// A gateway is this process: its shards, and what lets chargers, processors and
// operators in.
type gateway struct {
	cfg        *config.Config
	version    string
	log        *slog.Logger
	flip       *tableflip.Upgrader
	shards     []*shard.Shard
	gate       *gate.Gate
	upgrades   *upgrade.Process
	handshaker *handshaker

	chargers     []entrance
	processors   *net.UnixListener
	admin        *admin.Server
	linkAcceptor *linkAcceptor
	metrics      *metricsServer // nil: not asked for
	reporter     *systemd.Reporter

	counters  *metrics.Counters
	inherited metrics.Samples // what the processes before this one have counted
	since     time.Time       // when the first of them started
	began     time.Time       // when this one did
	last      atomic.Pointer[admin.UpgradeReport]

	running sync.WaitGroup
	failed  chan error
}

// entrance is where chargers come in.
type entrance struct {
	net.Listener
	how config.Listener
}

// newGateway sets everything up, with the listeners of the old process if there
// is one, but serves nothing yet.
func newGateway(c *config.Config, version string, flip *tableflip.Upgrader, log *slog.Logger) (*gateway, error) {
	now := time.Now()
	g := &gateway{cfg: c, version: version, log: log, flip: flip, gate: gate.New(), counters: metrics.NewCounters(admin.OutcomeDone, admin.OutcomeRolledBack), since: now, began: now}
	var err error
	if g.shards, err = shard.New(c, version, log); err != nil {
		return nil, err
	}
	g.failed = make(chan error, len(g.shards))
	if g.handshaker, err = newHandshaker(c, g.shards, g.gate, g.counters, log); err != nil {
		return nil, err
	}
	about := systemd.Process{Version: version, Chargers: g.shards[0].Held.Load, Links: g.shards[0].Joined.Load}
	for _, w := range g.shards {
		about.Loops = append(about.Loops, w.Loop.Post)
	}
	g.reporter = systemd.NewReporter(about, log)
	sockets, err := systemd.TakeSockets()
	if err != nil {
		return nil, err
	}
	for _, how := range slices.Concat(c.Listen, c.ListenTLS) {
		l, err := flip.ListenWithCallback("tcp", how.Address, sockets.Or(how.Option(), g.handshaker.listen))
		if err != nil {
			return nil, fmt.Errorf("charger socket %s: %w", how.Address, err)
		}
		g.chargers = append(g.chargers, entrance{l, how})
		g.gate.Guard(l)
	}
	if err := sockets.Unused(); err != nil {
		return nil, err
	}
	if g.processors, err = g.listenUnix(c.Processors, 0o117); err != nil {
		return nil, err
	}
	g.gate.Guard(g.processors)
	l, err := g.listenUnix(c.Admin, 0o177)
	if err != nil {
		return nil, err
	}
	if err := admin.SetRights(c.Admin, c.AdminGroup); err != nil {
		return nil, err
	}
	g.admin = admin.NewServer(g, g.gate, l, log)
	if c.Metrics != "" {
		if g.metrics, err = newMetricsServer(g, c.Metrics); err != nil {
			return nil, err
		}
	}
	g.upgrades = &upgrade.Process{
		Config: c, Version: version, Log: log, Flip: flip, Shards: g.shards, Gate: g.gate, Reporter: g.reporter,
		Counters: g.counters, Tickets: g.handshaker.tickets(), Counted: g.exportCounters, Ended: g.upgraded,
	}
	return g, nil
}

func (g *gateway) listenUnix(path string, mask int) (*net.UnixListener, error) {
	l, err := g.flip.ListenWithCallback("unix", path, func(_, path string) (net.Listener, error) { return listenUnix(path, mask) })
	if err != nil {
		return nil, err
	}
	return l.(*net.UnixListener), nil
}

// start lets the loops turn.
func (g *gateway) start() {
	for _, w := range g.shards {
		g.running.Go(func() {
			if err := w.Run(); err != nil {
				g.failed <- err
			}
		})
	}
}

// accept opens the doors.
func (g *gateway) accept() {
	g.linkAcceptor = &linkAcceptor{
		listener: g.processors, shards: g.shards, log: g.log, gate: g.gate,
		maxLinks: g.cfg.MaxLinks, maxMessage: g.cfg.MaxMessage, joined: g.shards[0].Joined, counters: g.counters,
	}
	go g.linkAcceptor.run()
	g.handshaker.watch()
	for _, e := range g.chargers {
		go g.handshaker.run(e.Listener, e.how)
	}
	go g.admin.Run()
	if g.metrics != nil {
		go g.metrics.run()
	}
	for _, e := range g.chargers {
		g.log.Info("listening", "addr", e.Addr().String(), "tls", e.how.TLS, "processors", g.cfg.Processors, "pid", os.Getpid(), "version", g.version)
	}
}

// takeSignals has signals wait for serve. It comes before anything that others
// could know this process by: a SIGHUP that nobody takes would end it, and with
// it, once it has taken over, every connection.
func takeSignals() <-chan os.Signal {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	return signals
}

// serve handles signals and operators' commands until the process is to end.
func (g *gateway) serve(signals <-chan os.Signal) error {
	for {
		select {
		case err := <-g.failed:
			return fmt.Errorf("loop failed: %w", err)
		case request := <-g.admin.Upgrades:
			if done, err := g.replace(request.Tell); done {
				request.Finish(err, errors.Is(err, upgrade.ErrGone))
				g.passOn(signals)
				g.admin.ShutDown()
				g.metrics.shutDown()
				return err
			} else {
				request.Finish(err, false)
			}
		case s := <-signals:
			if s != syscall.SIGHUP {
				return g.end(s, signals)
			}
			if done, err := g.replace(func(admin.Progress) {}); done {
				g.passOn(signals)
				g.admin.ShutDown()
				g.metrics.shutDown()
				return err
			}
		}
	}
}

// replace upgrades, and tells in the log how it went. done says that this
// process is over.
func (g *gateway) replace(tell func(admin.Progress)) (done bool, err error) {
	g.log.Info("upgrade begins", "binary", os.Args[0], "connections", g.shards[0].Held.Load())
	if err := g.awaitParent(); err != nil {
		return false, err
	}
	g.reporter.Reloading()
	err = g.upgrades.Upgrade(tell)
	switch {
	case err == nil:
		g.log.Info("upgrade done: this process ends")
		return true, nil
	case errors.Is(err, upgrade.ErrGone):
		g.log.Error("upgrade failed, and nobody owns the connections", "err", err)
		return true, err
	}
	g.log.Error("upgrade rolled back", "reason", err.Error())
	g.reporter.RolledBack(err)
	return false, err
}

// awaitParent waits until the process before this one has gone: there are never
// three of them.
func (g *gateway) awaitParent() error {
	ctx, cancel := context.WithTimeout(context.Background(), g.cfg.HandshakeTimeout+2*shard.HelloTimeout)
	defer cancel()
	if err := g.flip.WaitForParent(ctx); err != nil {
		return fmt.Errorf("the upgrade before is not over: %w", err)
	}
	<-g.reporter.Announced // what is told next comes behind it
	return nil
}

// passOn sends signals that came during the upgrade to the new process: they
// were meant for the gateway.
func (g *gateway) passOn(signals <-chan os.Signal) {
	for {
		select {
		case s := <-signals:
			for _, pid := range upgrade.Children() {
				_ = syscall.Kill(pid, s.(syscall.Signal))
			}
		default:
			return
		}
	}
}

// end closes everything.
func (g *gateway) end(s os.Signal, signals <-chan os.Signal) error {
	held := g.shards[0].Held
	g.log.Info("shutting down", "signal", s.String(), "connections", held.Load(), "grace", g.cfg.ShutdownGrace.String())
	g.reporter.Stopping(g.cfg.ShutdownGrace)
	g.gate.End()
	shutDown(g.cfg, g.shards, signals)
	for _, w := range g.shards {
		w.Loop.Post(w.Loop.Stop)
	}
	g.running.Wait()
	g.admin.ShutDown()
	g.metrics.shutDown()
	g.flip.Stop()
	<-g.flip.Exit()
	lost := 0
	for _, w := range g.shards { // they turn no more
		w.Survey(func(_ *relay.Charger, waiting relay.Waiting) { lost += waiting.Messages })
	}
	if lost > 0 {
		g.log.Warn("deliveries are lost: no processor has acknowledged them", "deliveries", lost)
	}
	g.log.Info("ended", "closed_by_force", held.Load())
	return nil
}

// upgraded counts an upgrade that is over; pause is 0 if it did not come to one.
func (g *gateway) upgraded(last admin.UpgradeReport, pause time.Duration) {
	last.PauseMS = float64(pause.Microseconds()) / 1000
	g.last.Store(&last)
	g.counters.Upgraded(last.Outcome, pause)
}

// report tells what an upgrade has brought, in the new process.
func (g *gateway) report(t *upgrade.Takeover, connections, links int) {
	pause, took := time.Since(t.Frozen), time.Since(g.began)
	g.upgraded(admin.UpgradeReport{At: t.Frozen, Outcome: admin.OutcomeDone, TookSeconds: took.Seconds(), Connections: int64(connections)}, pause)
	g.log.Info("upgraded", "connections", connections, "links", links,
		"pause", pause.Round(time.Microsecond).String(),
		"took", took.Round(time.Millisecond).String(), "pid", os.Getpid(), "version", g.version)
}
