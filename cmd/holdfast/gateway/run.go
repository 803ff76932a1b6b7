package gateway

import (
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/logging"
	"holdfast/cmd/holdfast/upgrade"

	"github.com/cloudflare/tableflip"
)

// Run serves with a configuration. Its faults, if there are any, are returned; an old
// process that started this one receives them too.
func Run(c *config.Config, faults []error, version string, stderr io.Writer) error {
	signals := takeSignals()
	limitGarbage()
	flip, err := tableflip.New(tableflip.Options{UpgradeTimeout: upgrade.FlipTimeout})
	if err != nil {
		return err
	}
	channel, err := upgrade.Inherited(flip)
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		return upgrade.Refuse(channel, config.Faults(faults))
	}
	files := newFileBudget(hardFileLimit(), c)
	log, closeLog := newLog(c, stderr)
	defer closeLog()
	files.warn(c, log)
	g, err := newGateway(c, version, files, flip, log)
	if err != nil {
		return upgrade.Refuse(channel, err)
	}
	warnSecrets(c, log)
	if channel == nil {
		if err := g.keeping.Recover(); err != nil {
			return err
		}
		g.start()
	} else if err := g.takeOver(channel); err != nil {
		return err
	}
	g.accept()
	if err := writePidFile(c.PIDFile); err != nil {
		log.Error("pid file", "err", err)
	}
	defer removePidFile(c.PIDFile)
	if err := admin.PointTo(c.Admin); err != nil {
		log.Warn("holdfast upgrade would not find this process if admin-socket changes", "err", err)
	}
	if err := flip.Ready(); err != nil {
		log.Warn("the old process did not hear that this one is ready", "err", err)
	}
	takeHang(g.shards)
	go g.reporter.Announce(flip.WaitForParent)
	go g.reporter.Run()
	return g.serve(signals)
}

// takeOver receives everything from the old process, and starts the loops with it.
func (g *gateway) takeOver(channel *net.UnixConn) error {
	restore := upgrade.RestGC()
	t, err := upgrade.TakeOver(channel, g.version, g.shards, g.counters, g.handshaker.tickets(), g.keeping.Lost())
	if err != nil {
		return err
	}
	g.keeping.TookOver()
	connections, links := t.Activate()
	g.start()
	g.inherit(t.Counters)
	restore()
	g.handshaker.trimmer.soon()
	g.tookOver(t.Frozen, connections, links)
	go func() {
		if err := t.Late(); err != nil {
			g.log.Warn("late items of the old process", "err", err)
		}
	}()
	return nil
}

// gcPercent is how much garbage the heap may hold, in percent of what lives.
// Nearly all of the heap is connections that stay: collecting more often than by
// default costs little and saves their size again.
const gcPercent = 25

// limitGarbage sets gcPercent, unless the environment sets another limit.
func limitGarbage() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// newLog returns the log that a configuration asks for.
func newLog(c *config.Config, out io.Writer) (log *slog.Logger, close func()) {
	o := logging.Options{
		Program: "holdfast", JSON: c.LogFormat == "json", Burst: c.LogBurst,
		OfChargers: []string{"opened", "closed", "refused", "handshake failed"},
	}
	_ = o.Level.UnmarshalText([]byte(c.LogLevel)) // one of the choices
	return logging.New(out, o)
}
