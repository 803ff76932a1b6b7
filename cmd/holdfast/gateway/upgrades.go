package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/shard"
	"holdfast/cmd/holdfast/upgrade"
)

// replace upgrades, and logs the outcome. done reports that this process is over.
func (g *gateway) replace(progress func(admin.Progress)) (done bool, err error) {
	g.log.Info("upgrade begins", "binary", os.Args[0], "connections", g.shards[0].Held.Load())
	defer g.keeping.Hold()()
	waiting := g.awaitParent()
	g.reporter.Reloading()
	if err = waiting; err == nil {
		err = g.upgrades.Upgrade(progress)
	}
	switch {
	case err == nil:
		g.log.Info("upgrade done: this process ends")
		return true, nil
	case errors.Is(err, upgrade.ErrGone):
		g.log.Error("upgrade failed, and nobody owns the connections", "err", err)
		return true, err
	}
	g.log.Error("upgrade rolled back", "reason", err.Error())
	// The new process has shared the admin socket, and may have given it to another group.
	if err := admin.SetRights(g.cfg.Admin, g.cfg.AdminGroup); err != nil {
		g.log.Error("the admin socket may have the rights of the refused configuration", "err", err)
	}
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
	<-g.reporter.Announced // what is reported next comes behind it
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

// recordUpgrade counts an upgrade that is over. pause is 0 if there was no freeze.
func (g *gateway) recordUpgrade(report admin.UpgradeReport, pause time.Duration) {
	report.PauseMS = float64(pause.Microseconds()) / 1000
	g.last.Store(&report)
	g.counters.Upgraded(report.Outcome, pause)
}

// tookOver records the upgrade that has brought this process to serve.
func (g *gateway) tookOver(frozen time.Time, connections, links int) {
	pause, took := time.Since(frozen), time.Since(g.began)
	g.recordUpgrade(admin.UpgradeReport{At: frozen, Outcome: admin.OutcomeDone, TookSeconds: took.Seconds(), Connections: int64(connections)}, pause)
	g.log.Info("upgraded", "connections", connections, "links", links,
		"pause", pause.Round(time.Microsecond).String(),
		"took", took.Round(time.Millisecond).String(), "pid", os.Getpid(), "version", g.version)
}
