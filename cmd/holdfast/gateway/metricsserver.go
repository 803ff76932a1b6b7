package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"holdfast/cmd/holdfast/gate"
	"holdfast/cmd/holdfast/metrics"
)

// questions are what the metrics server asks the gateway, from any goroutine.
type questions struct {
	sample    func(context.Context) (metrics.Samples, error)
	health    func(context.Context) error
	readiness func(context.Context) error
}

// metricsServer serves /metrics to Prometheus, and /healthz and /readyz to
// whatever watches over processes.
type metricsServer struct {
	log      *slog.Logger
	listener net.Listener
	server   *http.Server
}

func newMetricsServer(l net.Listener, at *gate.Gate, ask questions, log *slog.Logger) *metricsServer {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.NewHandler(ask.sample, log))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { writeHealth(w, ask.health(r.Context())) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { writeHealth(w, ask.readiness(r.Context())) })
	return &metricsServer{log: log, listener: at.Listener(l), server: gate.NewHTTPServer(mux, log)}
}

func (m *metricsServer) run() {
	m.log.Info("metrics", "addr", m.listener.Addr().String())
	gate.ServeHTTP(m.server, m.listener, m.log)
}

// shutDown takes no more questions. It does nothing for nil.
func (m *metricsServer) shutDown() {
	if m != nil {
		gate.ShutDownHTTP(m.server)
	}
}

func writeHealth(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}
