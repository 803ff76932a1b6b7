// Command holdfast-bridge is a processor that connects each charger of a gateway to a
// central system that speaks OCPP-J over WebSocket. The central system is restarted,
// upgraded or moved, and no charger notices. docs/bridge.md is its manual.
//
//	main.go         serving, signals, leaving
//	options.go      the options; configfile.go the file that they may stand in
//	tls.go          certificates toward central systems
//	notify.go       what systemd is told
//	admin.go        the socket that status and -dry-run ask
//	status.go       the command that shows it
//	route/          which central system a charger belongs to
//	upstream/       connections to central systems, and how often they are made
//	bridge/         what goes on between a charger and its central system
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"holdfast/cmd/holdfast-bridge/bridge"
	"holdfast/cmd/holdfast-bridge/upstream"
)

var version = "unknown"

const usage = `usage: holdfast-bridge [options]
       holdfast-bridge status -admin PATH [-json]
       holdfast-bridge version

Joins a gateway as a processor, and connects each of its chargers to a central
system that speaks OCPP-J over WebSocket. SIGHUP, or -reload, reads the routes of
-config again, and moves just the chargers whose route has changed. SIGTERM finishes what is
under way, then leaves; the chargers stay with the gateway.

`

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "holdfast-bridge:", err)
		if errors.Is(err, errUsage) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

// errUsage marks what is wrong with the options.
var errUsage = errors.New("see -help")

func command(args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "status":
			return status(args[1:], os.Stdout)
		case "version", "-version", "--version":
			fmt.Println("holdfast-bridge", version)
			return nil
		}
	}
	o, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Print(usage)
		fs := o.flags()
		fs.SetOutput(os.Stdout)
		fs.PrintDefaults()
		return nil
	case err != nil:
		return fmt.Errorf("%w (%w)", err, errUsage)
	case o.dryRun:
		return dryRun(o, os.Stdout)
	case o.reload:
		return askReload(o, os.Stdout)
	}
	return serve(o, args)
}

func serve(o options, args []string) error {
	log, closeLog := o.logger(os.Stderr)
	defer closeLog()
	tls, err := clientTLS(o)
	if err != nil {
		return err
	}
	var passwords map[string]string
	if o.upstreamAuth != "none" {
		if passwords, err = readPasswords(o.upstreamAuth); err != nil {
			return fmt.Errorf("upstream-auth: %w", err)
		}
	}
	// The first signal drains; the second one, with the handler gone, kills.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	dials, endDials := context.WithCancel(context.Background())
	defer endDials()

	queue := upstream.NewQueue(upstream.NewDialer(upstream.Config{
		TLS: tls, Header: o.header, MaxMessage: o.maxMessage, Timeout: o.dialTimeout, Ping: o.ping,
	}), o.dialRate)
	go queue.Run(dials)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var b *bridge.Bridge
	metrics := bridge.NewMetrics(registry, func() float64 { return float64(b.Chargers()) })
	b = bridge.New(bridge.Config{
		Name: o.name, Authorize: o.auth == "processor", Queue: queue, Logger: log, Metrics: metrics, Passwords: passwords,
		AnswerTimeout: o.answerTimeout, CallTimeout: o.callTimeout, Attempts: o.attempts, Linger: o.linger,
		BootOnRedial: o.bootOnRedial, OfflineReply: o.offlineReply,
	}, &o.routes)
	again := &reloader{args: args, b: b, log: log}
	closeListeners, err := listen(o, again, registry)
	if err != nil {
		return err
	}
	defer closeListeners()
	go again.onHangUp(ctx)
	run, drain := context.WithCancel(context.WithoutCancel(ctx))
	defer drain()
	context.AfterFunc(ctx, func() {
		_ = notify("STOPPING=1")
		b.Leave(o.drain / 3)
		drain()
	})

	p := b.Processor()
	p.DrainTimeout = o.drain
	log.Info("holdfast-bridge starts", "version", version, "socket", o.socket, "routes", len(o.routes.Routes), "mirrors", len(o.routes.Mirrors), "pid", os.Getpid())
	if err := notify("READY=1"); err != nil {
		log.Warn("systemd cannot be told", "err", err)
	}
	err = p.Run(run, o.socket, b.Handle)
	b.End()
	log.Info("holdfast-bridge ended", "err", err)
	return err
}

// A reloader reads the routes again: on SIGHUP, or when it is asked. Options beside them
// need a restart, which no charger notices either.
type reloader struct {
	args []string // the command line
	b    *bridge.Bridge
	log  *slog.Logger
	mu   sync.Mutex // one at a time
}

// reload returns how many chargers move.
func (r *reloader) reload() (moves int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o, err := parse(r.args)
	if err != nil {
		r.log.Error("routes not read again: the old ones hold", "err", err)
		return 0, err
	}
	moves = len(r.b.Moves(&o.routes))
	r.log.Info("routes read again", "routes", len(o.routes.Routes), "mirrors", len(o.routes.Mirrors), "moves", moves)
	r.b.Reroute(&o.routes)
	return moves, nil
}

// onHangUp reloads on each SIGHUP, until ctx ends.
func (r *reloader) onHangUp(ctx context.Context) {
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangUps:
			_, _ = r.reload() // which logs what is wrong
		}
	}
}

// listen opens the sockets for people and for Prometheus.
func listen(o options, r *reloader, registry *prometheus.Registry) (stop func(), err error) {
	var servers []*http.Server
	stop = func() {
		for _, s := range servers {
			_ = s.Close()
		}
	}
	serve := func(l net.Listener, h http.Handler) {
		s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
		servers = append(servers, s)
		go func() {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				r.log.Error("a socket is lost", "addr", l.Addr().String(), "err", err)
			}
		}()
	}
	if o.metrics != "" {
		l, err := net.Listen("tcp", o.metrics)
		if err != nil {
			return stop, fmt.Errorf("metrics: %w", err)
		}
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
		serve(l, mux)
	}
	if o.admin != "" {
		l, err := adminListener(o.admin)
		if err != nil {
			stop()
			return stop, fmt.Errorf("admin: %w", err)
		}
		serve(l, adminHandler(r))
	}
	return stop, nil
}
