package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"holdfast/relay"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// count adds to s what w has counted, and how it is at this moment. It runs on
// the loop.
func (w *world) count(s samples) {
	w.counters.appendTo(s)
	w.relay.SetNow(w.loop.Now())
	var messages, bytes, inFlight, paused int
	oldest := time.Duration(0)
	w.relay.Survey(func(_ *relay.Charger, waits relay.Waiting) {
		messages += waits.Messages
		bytes += waits.Bytes
		inFlight += waits.InFlight
		oldest = max(oldest, waits.Age)
		if waits.Paused {
			paused++
		}
	})
	s.gauge(metricQueued, float64(messages))
	s.gauge(metricQueuedBytes, float64(bytes))
	s.gauge(metricInFlight, float64(inFlight))
	s.gauge(metricPaused, float64(paused))
	for l := range w.links {
		kind := "processor"
		if l.Operator() {
			kind = "operator"
		} else if l.AskOnly() {
			kind = "asker"
		}
		s.gauge(metricLinks, 1, kind)
	}
	for _, kind := range []string{"processor", "asker", "operator"} {
		s.gauge(metricLinks, 0, kind)
	}
	s.most(metricOldest, oldest.Seconds())
}

// sample is what all of the gateway has counted, and how it is at this moment.
func (g *gateway) sample(ctx context.Context) (samples, error) {
	all := samples{}
	for _, w := range g.worlds {
		s, err := ask(ctx, w, func() samples {
			s := samples{}
			w.count(s)
			return s
		})
		if err != nil {
			return nil, err
		}
		all.add(s)
	}
	g.tally.appendTo(all)
	all.add(g.inherited)
	all.gauge(metricBuild, 1, g.version)
	all.gauge(metricStarted, float64(g.since.UnixMilli())/1000)
	all.gauge(metricLimit, float64(g.cfg.MaxConnections))
	return all, nil
}

// exportCounters encodes what the gateway has counted, while its loops stand
// still.
func (g *gateway) exportCounters() []byte {
	all := samples{}
	for _, w := range g.worlds {
		w.counters.appendTo(all)
	}
	g.tally.appendTo(all)
	all.add(g.inherited)
	return appendCounters(nil, g.since, all)
}

// inherit goes on from what the old process had counted. There may be nothing:
// it may be of a version that counts nothing, or otherwise.
func (g *gateway) inherit(state []byte) {
	if len(state) == 0 {
		return
	}
	since, s, err := parseCounters(state)
	if err != nil {
		g.log.Warn("counters begin at zero: those of the old process cannot be read", "err", err)
		return
	}
	g.inherited = s
	if !since.IsZero() {
		g.since = since
	}
}

// Describe and Collect implement prometheus.Collector.
func (g *gateway) Describe(to chan<- *prometheus.Desc) {
	for _, m := range metrics {
		to <- m.desc()
	}
}

// Collect asks the loops: a scrape costs each of them one function.
func (g *gateway) Collect(to chan<- prometheus.Metric) {
	s, err := g.sample(context.Background())
	if err != nil {
		to <- prometheus.NewInvalidMetric(metricBuild.desc(), err)
		return
	}
	for _, k := range s.sorted() {
		to <- k.metric.metric(s[k], k.labels[:len(k.metric.labels)])
	}
}

func (m *metric) desc() *prometheus.Desc {
	return prometheus.NewDesc(m.name, m.help, m.labels, nil)
}

// metric is the value of one series as client_golang wants it.
func (m *metric) metric(v sample, labels []string) prometheus.Metric {
	switch m.kind {
	case counterKind:
		return prometheus.MustNewConstMetric(m.desc(), prometheus.CounterValue, float64(v.count), labels...)
	case gaugeKind:
		return prometheus.MustNewConstMetric(m.desc(), prometheus.GaugeValue, v.value, labels...)
	}
	buckets, below := make(map[float64]uint64, len(m.bounds)), uint64(0)
	for i, bound := range m.bounds {
		below += v.spread.counts[i]
		buckets[bound.Seconds()] = below
	}
	return prometheus.MustNewConstHistogram(m.desc(), v.spread.total(), v.spread.sum.Seconds(), buckets, labels...)
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
	registry := prometheus.NewRegistry()
	registry.MustRegister(g, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(g.log.Handler(), slog.LevelWarn),
		MaxRequestsInFlight: 4,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { sayHealth(w, g.health(r.Context())) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { sayHealth(w, g.readiness(r.Context())) })
	return &metricsServer{g: g, listener: g.gate.listener(l), server: newHTTPServer(mux, g.log)}, nil
}

func (m *metricsServer) run() {
	m.g.log.Info("metrics", "addr", m.listener.Addr().String())
	serveHTTP(m.server, m.listener, m.g.log)
}

func (m *metricsServer) shutDown() {
	if m != nil {
		shutDownHTTP(m.server)
	}
}

// health is an error when a loop does not turn: only a restart helps then.
func (g *gateway) health(ctx context.Context) error {
	for _, w := range g.worlds {
		if _, err := ask(ctx, w, func() struct{} { return struct{}{} }); err != nil {
			return err
		}
	}
	return nil
}

// readiness is an error when no charger is let in: the gateway is shutting down.
func (g *gateway) readiness(ctx context.Context) error {
	if g.gate.over() {
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
