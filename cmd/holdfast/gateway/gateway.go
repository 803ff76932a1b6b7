package gateway

// Theory of operation
//
// A gateway is one process that serves. Between its birth and its end it is in one of
// these states:
//
//	starting      new.go makes the listeners, or adopts those of the old process
//	taking over   only if another gateway started this one (package upgrade)
//	serving       loops turn, chargers, processors and operators come in (accept)
//	upgrading     the loops are handed over; see upgrade/old.go for its states
//	shutting down chargers are closed, over half of -shutdown-grace
//
//	starting ──▶ taking over ──▶ serving ──▶ shutting down ──▶ exit
//	   │                          ▲ │  ▲
//	   └──────────────────────────┘ ▼  │ rolled back
//	                             upgrading ── done, or gone ──▶ exit
//
// Who may move it. Only the goroutine of Run, which ends in serve: one loop that
// takes a signal, an operator's `upgrade`, or the failure of an epoll instance, and
// finishes with it before it takes the next. So two upgrades, or an upgrade and a
// shutdown, never overlap. A signal that comes during an upgrade is passed on to
// the process that serves then.
//
// How others come in. Each has a goroutine that accepts, behind the gate:
//
//	charger    listener ─▶ handshaker, up to -max-handshakes at a time ─▶ Shard.Open
//	processor  Unix socket ─▶ linkAcceptor reads HELLO ────────────────▶ Shard.Join
//	operator   admin socket ─▶ admin.Server ─▶ the methods of admin.Gateway (status.go)
//	Prometheus -admin ─▶ metricsServer ─▶ sample, health, readiness
//
// A connection's fd belongs to the goroutine of its handshake until it is posted to
// its shard. The gate counts what is between the two, so that an upgrade knows when
// nothing is under way any more.
//
// Questions of operators and of Prometheus run on the loops (shard.Ask), one after
// the other. A loop that does not answer within seconds is a fault, not a delay.

import (
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
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

// A gateway is this process: its shards, and what lets chargers, processors and
// operators in.
type gateway struct {
	cfg        *config.Config
	version    string
	files      fileBudget
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

	keeping   *keeping.Keeping
	counters  *metrics.Counters
	inherited metrics.Samples // what the processes before this one have counted
	since     time.Time       // when the first of them started
	began     time.Time       // when this one did
	last      atomic.Pointer[admin.UpgradeReport]

	running sync.WaitGroup // loops
	failed  chan error     // of a loop
}

// entrance is where chargers come in.
type entrance struct {
	net.Listener
	how config.Listener
}

// start lets the loops turn.
func (g *gateway) start() {
	for _, s := range g.shards {
		g.running.Go(func() {
			if err := s.Run(); err != nil {
				g.failed <- err
			}
		})
	}
}

// accept begins to let chargers, processors and operators in.
func (g *gateway) accept() {
	go g.linkAcceptor.run()
	go g.watchWaiting()
	g.handshaker.files.Watch(g.log)
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
