package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"holdfast/cmd/holdfast/config"
	"holdfast/conn"
	"holdfast/unixipc/handoff"

	"github.com/cloudflare/tableflip"
)

// run serves with a configuration, or with its faults, which an old process
// that started us is to hear of.
func runServe(c *config.Config, faults []error, stderr io.Writer) error {
	signals := takeSignals()
	if os.Getenv("GOGC") == "" {
		// Nearly all of the heap is connections that stay; collecting more
		// often than by default costs little and saves their size again.
		debug.SetGCPercent(gcPercent)
	}
	flip, err := tableflip.New(tableflip.Options{UpgradeTimeout: flipTimeout})
	if err != nil {
		return err
	}
	channel, err := inherited(flip)
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
	g, err := newGateway(c, flip, log)
	if err != nil {
		return refuse(err)
	}
	if channel == nil {
		g.start()
	} else {
		usual := debug.SetGCPercent(gcPercentUpgrade)
		t, n, err := g.takeOver(channel)
		if err != nil {
			return err
		}
		connections, links := t.activate()
		g.start()
		g.inherit(t.counters)
		debug.SetGCPercent(usual)
		g.door.tidy.soon()
		g.report(t, connections, links)
		go func() {
			if err := n.Late(t.late); err != nil {
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
	takeHang(g.worlds)
	go g.watch.Announce(flip.WaitForParent)
	go g.watch.Run()
	return g.serve(signals)
}

// flipTimeout is when tableflip ends a new process that is not ready. The
// hand-over has shorter limits of its own, and must be the one that decides.
const flipTimeout = 24 * time.Hour

// inherited is the hand-over channel to the process that started us; nil if
// there is none.
func inherited(flip *tableflip.Upgrader) (*net.UnixConn, error) {
	if !flip.HasParent() {
		return nil, nil
	}
	f, err := flip.File(handoffFile)
	if err != nil || f == nil {
		return nil, fmt.Errorf("started by another gateway, but without a hand-over channel: %w", err)
	}
	defer func() { _ = f.Close() }()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("hand-over channel: %w", err)
	}
	return c.(*net.UnixConn), nil
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

// gcPercentUpgrade is the same while connections are handed over: it is short,
// and collecting would add to the pause.
const gcPercentUpgrade = 400

// shutDown closes the chargers with 1012, spread over half of the grace period
// so that they do not all come back at once, and waits for them. A second
// signal cuts it short.
func shutDown(c *config.Config, worlds []*world, signals <-chan os.Signal) {
	const steps = 50
	interval := max(time.Millisecond, c.ShutdownGrace/(2*steps))
	began := time.Now()
	spread, ends := began.Add(c.ShutdownGrace/2), began.Add(c.ShutdownGrace)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for worlds[0].held.Load() > 0 && time.Now().Before(ends) {
		// By the clock, not by counting: a busy machine skips ticks.
		left := int(time.Until(spread) / interval)
		for _, w := range worlds {
			w.loop.Post(func() { w.closeShare(max(1, left)) })
		}
		select {
		case <-tick.C:
		case <-signals:
			return
		}
	}
}

// closeShare begins to close one in n of the connections that are open.
func (w *world) closeShare(n int) {
	i := 0
	w.loop.All(func(c *conn.Conn) {
		if i++; i%n == 0 {
			c.Close(conn.Close{Code: conn.CodeRestart, Reason: "the gateway is shutting down", By: conn.ByOperator})
		}
	})
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
