package main

import (
	"context"
	"encoding/json"
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
	"holdfast/cmd/holdfast/systemd"
	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc/handoff"

	"github.com/cloudflare/tableflip"
)

// A gateway is this process: its worlds, and the doors that lead to them.
type gateway struct {
	cfg     *config.Config
	version string
	log     *slog.Logger
	flip    *tableflip.Upgrader
	worlds  []*world
	gate    *gate.Gate
	door    *door

	chargers   []entrance
	processors *net.UnixListener
	admin      *admin.Server
	reception  *reception
	metrics    *metricsServer // nil: not asked for
	watch      *systemd.Reporter

	tally     *metrics.Counters
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
func newGateway(c *config.Config, flip *tableflip.Upgrader, log *slog.Logger) (*gateway, error) {
	now := time.Now()
	g := &gateway{cfg: c, version: version, log: log, flip: flip, gate: gate.New(), tally: metrics.NewCounters(admin.OutcomeDone, admin.OutcomeRolledBack), since: now, began: now}
	var err error
	if g.worlds, err = newWorlds(c, log); err != nil {
		return nil, err
	}
	g.failed = make(chan error, len(g.worlds))
	if g.door, err = newDoor(c, g.worlds, g.gate, g.tally, log); err != nil {
		return nil, err
	}
	about := systemd.Process{Version: version, Chargers: g.worlds[0].held.Load, Links: g.worlds[0].joined.Load}
	for _, w := range g.worlds {
		about.Loops = append(about.Loops, w.loop.Post)
	}
	g.watch = systemd.NewReporter(about, log)
	sockets, err := systemd.TakeSockets()
	if err != nil {
		return nil, err
	}
	for _, how := range slices.Concat(c.Listen, c.ListenTLS) {
		l, err := flip.ListenWithCallback("tcp", how.Address, sockets.Or(how.Option(), g.door.listen))
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
	return g, nil
}

func (g *gateway) listenUnix(path string, mask int) (*net.UnixListener, error) {
	l, err := g.flip.ListenWithCallback("unix", path, func(_, path string) (net.Listener, error) { return listenUnix(path, mask) })
	if err != nil {
		return nil, err
	}
	return l.(*net.UnixListener), nil
}

// takeOver receives everything from the old process. When it returns nil, all
// is ours.
func (g *gateway) takeOver(channel *net.UnixConn) (*takeover, *handoff.New, error) {
	n := handoff.NewNew(channel)
	begin, err := n.Hello(handoff.Hello{Program: g.version, Versions: conn.StateVersions})
	if err != nil {
		return nil, nil, err
	}
	var note beginNote
	if err := json.Unmarshal(begin.Note, &note); err != nil {
		return nil, nil, n.Refuse(fmt.Errorf("BEGIN: %w", err))
	}
	if note.Loops != len(g.worlds) {
		return nil, nil, n.Refuse(fmt.Errorf("loops is %d, and was %d: that can only change with a restart", len(g.worlds), note.Loops))
	}
	t := newTakeover(g.worlds, g.tally)
	t.door = g.door
	if err := n.Receive(t); err != nil {
		return nil, nil, err
	}
	return t, n, nil
}

// start lets the loops turn.
func (g *gateway) start() {
	for _, w := range g.worlds {
		g.running.Go(func() {
			if err := w.run(); err != nil {
				g.failed <- err
			}
		})
	}
}

// accept opens the doors.
func (g *gateway) accept() {
	g.reception = &reception{
		listener: g.processors, worlds: g.worlds, log: g.log, gate: g.gate,
		maxLinks: g.cfg.MaxLinks, maxMessage: g.cfg.MaxMessage, joined: g.worlds[0].joined, tally: g.tally,
	}
	go g.reception.run()
	g.door.watch()
	for _, e := range g.chargers {
		go g.door.run(e.Listener, e.how)
	}
	go g.admin.Run()
	if g.metrics != nil {
		go g.metrics.run()
	}
	for _, e := range g.chargers {
		g.log.Info("listening", "addr", e.Addr().String(), "tls", e.how.TLS, "processors", g.cfg.Processors, "pid", os.Getpid(), "version", version)
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
				request.Finish(err, errors.Is(err, errGone))
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
	g.log.Info("upgrade begins", "binary", os.Args[0], "connections", g.worlds[0].held.Load())
	if err := g.awaitParent(); err != nil {
		return false, err
	}
	g.watch.Reloading()
	err = g.upgrade(tell)
	switch {
	case err == nil:
		g.log.Info("upgrade done: this process ends")
		return true, nil
	case errors.Is(err, errGone):
		g.log.Error("upgrade failed, and nobody owns the connections", "err", err)
		return true, err
	}
	g.log.Error("upgrade rolled back", "reason", err.Error())
	g.watch.RolledBack(err)
	return false, err
}

// awaitParent waits until the process before this one has gone: there are never
// three of them.
func (g *gateway) awaitParent() error {
	ctx, cancel := context.WithTimeout(context.Background(), g.cfg.HandshakeTimeout+2*helloTimeout)
	defer cancel()
	if err := g.flip.WaitForParent(ctx); err != nil {
		return fmt.Errorf("the upgrade before is not over: %w", err)
	}
	<-g.watch.Announced // what is told next comes behind it
	return nil
}

// passOn sends signals that came during the upgrade to the new process: they
// were meant for the gateway.
func (g *gateway) passOn(signals <-chan os.Signal) {
	for {
		select {
		case s := <-signals:
			for _, pid := range children() {
				_ = syscall.Kill(pid, s.(syscall.Signal))
			}
		default:
			return
		}
	}
}

// end closes everything.
func (g *gateway) end(s os.Signal, signals <-chan os.Signal) error {
	held := g.worlds[0].held
	g.log.Info("shutting down", "signal", s.String(), "connections", held.Load(), "grace", g.cfg.ShutdownGrace.String())
	g.watch.Stopping(g.cfg.ShutdownGrace)
	g.gate.End()
	shutDown(g.cfg, g.worlds, signals)
	for _, w := range g.worlds {
		w.loop.Post(w.loop.Stop)
	}
	g.running.Wait()
	g.admin.ShutDown()
	g.metrics.shutDown()
	g.flip.Stop()
	<-g.flip.Exit()
	lost := 0
	for _, w := range g.worlds { // they turn no more
		w.relay.Survey(func(_ *relay.Charger, waiting relay.Waiting) { lost += waiting.Messages })
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
	g.tally.Upgraded(last.Outcome, pause)
}

// report tells what an upgrade has brought, in the new process.
func (g *gateway) report(t *takeover, connections, links int) {
	pause, took := time.Since(t.frozen), time.Since(g.began)
	g.upgraded(admin.UpgradeReport{At: t.frozen, Outcome: admin.OutcomeDone, TookSeconds: took.Seconds(), Connections: int64(connections)}, pause)
	g.log.Info("upgraded", "connections", connections, "links", links,
		"pause", pause.Round(time.Microsecond).String(),
		"took", took.Round(time.Millisecond).String(), "pid", os.Getpid(), "version", version)
}
