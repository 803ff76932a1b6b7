package gateway

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"holdfast/cmd/holdfast/gate"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/cmd/holdfast/shard"
)

// sample is what all of the gateway has counted, and how it is at this moment.
func (g *gateway) sample(ctx context.Context) (metrics.Samples, error) {
	all := metrics.Samples{}
	for _, w := range g.shards {
		s, err := shard.Ask(ctx, w, func() metrics.Samples {
			s := metrics.Samples{}
			w.Count(s)
			return s
		})
		if err != nil {
			return nil, err
		}
		all.Add(s)
	}
	g.counters.AppendTo(all)
	all.Add(g.inherited)
	all.Gauge(metrics.Build, 1, g.version)
	all.Gauge(metrics.Started, float64(g.since.UnixMilli())/1000)
	all.Gauge(metrics.Limit, float64(g.cfg.MaxConnections))
	return all, nil
}

// exportCounters encodes what the gateway has counted, while its loops stand
// still.
func (g *gateway) exportCounters() []byte {
	all := metrics.Samples{}
	for _, w := range g.shards {
		w.Counters.AppendTo(all)
	}
	g.counters.AppendTo(all)
	all.Add(g.inherited)
	return metrics.AppendCounters(nil, g.since, all)
}

// inherit goes on from what the old process had counted. There may be nothing:
// it may be of a version that counts nothing, or otherwise.
func (g *gateway) inherit(state []byte) {
	if len(state) == 0 {
		return
	}
	since, s, err := metrics.ParseCounters(state)
	if err != nil {
		g.log.Warn("counters begin at zero: those of the old process cannot be read", "err", err)
		return
	}
	g.inherited = s
	if !since.IsZero() {
		g.since = since
	}
}

// metricsServer serves /metrics to Prometheus, and /healthz and /readyz to
// whoever watches over processes.
type metricsServer struct {
	g        *gateway
	listener net.Listener
	server   *http.Server
}

// metricsNetwork is the name under which an upgrade passes on the listener:
// another than that of listeners for chargers, one of which may have had its
// address.
const metricsNetwork = "tcp-admin"

func newMetricsServer(g *gateway, address string) (*metricsServer, error) {
	l, err := g.flip.ListenWithCallback(metricsNetwork, address, func(_, address string) (net.Listener, error) {
		return net.Listen("tcp", address)
	})
	if err != nil {
		return nil, fmt.Errorf("admin address %s: %w", address, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.NewHandler(g.sample, g.log))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { sayHealth(w, g.health(r.Context())) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { sayHealth(w, g.readiness(r.Context())) })
	return &metricsServer{g: g, listener: g.gate.Listener(l), server: gate.NewHTTPServer(mux, g.log)}, nil
}

func (m *metricsServer) run() {
	m.g.log.Info("metrics", "addr", m.listener.Addr().String())
	gate.ServeHTTP(m.server, m.listener, m.g.log)
}

func (m *metricsServer) shutDown() {
	if m != nil {
		gate.ShutDownHTTP(m.server)
	}
}

// health is an error when a loop does not turn: only a restart helps then.
func (g *gateway) health(ctx context.Context) error {
	for _, w := range g.shards {
		if _, err := shard.Ask(ctx, w, func() struct{} { return struct{}{} }); err != nil {
			return err
		}
	}
	return nil
}

// readiness is an error when no charger is let in: the gateway is shutting down.
func (g *gateway) readiness(ctx context.Context) error {
	if g.gate.Over() {
		return fmt.Errorf("shutting down")
	}
	return g.health(ctx)
}

func sayHealth(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}
