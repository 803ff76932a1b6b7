package gateway

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/shard"
	"holdfast/cmd/holdfast/upgrade"
	"holdfast/unixipc/handoff"

	"github.com/cloudflare/tableflip"
)

// Run serves with a configuration, or with its faults, which an old process
// that started us is to hear of.
func Run(c *config.Config, faults []error, version string, stderr io.Writer) error {
	signals := takeSignals()
	if os.Getenv("GOGC") == "" {
		// Nearly all of the heap is connections that stay; collecting more
		// often than by default costs little and saves their size again.
		debug.SetGCPercent(gcPercent)
	}
	flip, err := tableflip.New(tableflip.Options{UpgradeTimeout: upgrade.FlipTimeout})
	if err != nil {
		return err
	}
	channel, err := upgrade.Inherited(flip)
	if err != nil {
		return err
	}
	refuse := func(why error) error {
		if channel != nil {
			return handoff.NewNew(channel).Refuse(why)
		}
		return why
	}
	if len(faults) > 0 {
		return refuse(config.Faults(faults))
	}
	raiseFiles()
	out := newLogWriter(stderr)
	defer out.close()
	log := newLogger(c, out)
	warnFiles(c, log)
	g, err := newGateway(c, version, flip, log)
	if err != nil {
		return refuse(err)
	}
	if channel == nil {
		g.start()
	} else {
		usual := debug.SetGCPercent(upgrade.GCPercent)
		t, n, err := upgrade.TakeOver(channel, g.version, g.shards, g.counters, g.handshaker.tickets())
		if err != nil {
			return err
		}
		connections, links := t.Activate()
		g.start()
		g.inherit(t.Counters)
		debug.SetGCPercent(usual)
		g.handshaker.trimmer.soon()
		g.report(t, connections, links)
		go func() {
			if err := n.Late(t.Late); err != nil {
				log.Warn("late items of the old process", "err", err)
			}
			n.Close()
		}()
	}
	g.accept()
	if err := writePidFile(c.PIDFile); err != nil {
		log.Error("pid file", "err", err)
	}
	defer removePidFile(c.PIDFile)
	if err := flip.Ready(); err != nil {
		log.Warn("the old process did not hear that this one is ready", "err", err)
	}
	takeHang(g.shards)
	go g.reporter.Announce(flip.WaitForParent)
	go g.reporter.Run()
	return g.serve(signals)
}

// raiseFiles raises the soft limit of open files to the hard one. Go does so,
// too, but takes it back in processes that it starts.
func raiseFiles() {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil {
		limit.Cur = limit.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
}

// gcPercent is how much garbage the heap may hold, in percent of what lives.
const gcPercent = 25

// shutDown closes the chargers with 1012, spread over half of the grace period
// so that they do not all come back at once, and waits for them. A second
// signal cuts it short.
func shutDown(c *config.Config, shards []*shard.Shard, signals <-chan os.Signal) {
	const steps = 50
	interval := max(time.Millisecond, c.ShutdownGrace/(2*steps))
	began := time.Now()
	spread, ends := began.Add(c.ShutdownGrace/2), began.Add(c.ShutdownGrace)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for shards[0].Held.Load() > 0 && time.Now().Before(ends) {
		// By the clock, not by counting: a busy machine skips ticks.
		left := int(time.Until(spread) / interval)
		for _, w := range shards {
			w.Loop.Post(func() { w.CloseShare(max(1, left)) })
		}
		select {
		case <-tick.C:
		case <-signals:
			return
		}
	}
}

// warnFiles compares the limit of open files, which Go has raised to the hard
// one, with what the configuration may need.
func warnFiles(c *config.Config, log *slog.Logger) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return
	}
	need := uint64(c.MaxConnections + c.Handshakes + c.MaxLinks + 64)
	if limit.Max < need {
		log.Warn("file limit is too low for max-connections", "limit", limit.Max, "needed", need,
			"remedy", "LimitNOFILE= of the unit, or a lower max-connections")
	}
}

// writePidFile writes path as a whole, or not at all.
func writePidFile(path string) error {
	if path == "" {
		return nil
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, fmt.Appendln(nil, os.Getpid()), 0o644); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	return nil
}

// removePidFile removes path if it is still ours.
func removePidFile(path string) {
	if path == "" {
		return
	}
	b, err := os.ReadFile(path)
	if err != nil || string(b) != string(fmt.Appendln(nil, os.Getpid())) {
		return
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		slog.Warn("pid file stays", "err", err)
	}
}
