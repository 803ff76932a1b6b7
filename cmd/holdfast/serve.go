package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"holdfast/conn"
)

// serve runs the gateway until a signal ends it.
func serve(c *config, stderr io.Writer) error {
	if os.Getenv("GOGC") == "" {
		// Nearly all of the heap is connections that stay; collecting more
		// often than by default costs little and saves their size again.
		debug.SetGCPercent(gcPercent)
	}
	out := newLogWriter(stderr)
	defer out.close()
	log := newLogger(c, out)
	warnFiles(c, log)

	worlds, err := newWorlds(c, log)
	if err != nil {
		return err
	}
	processors, err := listenUnix(c.processors)
	if err != nil {
		return err
	}
	defer func() { _ = processors.Close() }()
	d := newDoor(c, worlds, log)
	var listeners []net.Listener
	for _, address := range c.listen {
		l, err := d.listen(address)
		if err != nil {
			return err
		}
		defer func() { _ = l.Close() }()
		listeners = append(listeners, l)
	}
	if err := writePidFile(c.pidFile); err != nil {
		return err
	}
	defer removePidFile(c.pidFile)

	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	failed := make(chan error, len(worlds))
	var running sync.WaitGroup
	for _, w := range worlds {
		running.Go(func() {
			if err := w.run(); err != nil {
				failed <- err
			}
		})
	}
	reception := &reception{listener: processors, worlds: worlds, log: log, maxLinks: c.maxLinks, maxMessage: c.maxMessage, joined: worlds[0].joined}
	go reception.run()
	for _, l := range listeners {
		go d.run(l)
		log.Info("listening", "addr", l.Addr().String(), "processors", c.processors, "pid", os.Getpid(), "version", version)
	}

	for {
		select {
		case err := <-failed:
			return fmt.Errorf("loop failed: %w", err)
		case s := <-signals:
			if s == syscall.SIGHUP {
				log.Warn("SIGHUP ignored: this version cannot be upgraded in place")
				continue
			}
			log.Info("shutting down", "signal", s.String(), "connections", worlds[0].held.Load(), "grace", c.shutdownGrace.String())
			for _, l := range listeners {
				_ = l.Close()
			}
			shutDown(c, worlds, signals)
			for _, w := range worlds {
				w.loop.Post(w.loop.Stop)
			}
			running.Wait()
			log.Info("ended", "closed_by_force", worlds[0].held.Load())
			return nil
		}
	}
}

// gcPercent is how much garbage the heap may hold, in percent of what lives.
const gcPercent = 25

// shutDown closes the chargers with 1012, spread over half of the grace period
// so that they do not all come back at once, and waits for them. A second
// signal cuts it short.
func shutDown(c *config, worlds []*world, signals <-chan os.Signal) {
	const steps = 50
	ends := time.Now().Add(c.shutdownGrace)
	tick := time.NewTicker(max(time.Millisecond, c.shutdownGrace/(2*steps)))
	defer tick.Stop()
	for step := 1; worlds[0].held.Load() > 0 && time.Now().Before(ends); step++ {
		for _, w := range worlds {
			w.loop.Post(func() { w.closeShare(max(1, steps-step)) })
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
func warnFiles(c *config, log *slog.Logger) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return
	}
	need := uint64(c.maxConnections + c.handshakes + c.maxLinks + 64)
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
