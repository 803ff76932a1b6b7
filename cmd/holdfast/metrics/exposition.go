package metrics

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewHandler serves what sample returns, and what Go and the kernel count
// of this process, in the format of Prometheus.
func NewHandler(sample func(context.Context) (Samples, error), log *slog.Logger) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{sample}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		MaxRequestsInFlight: 4,
	})
}

// collector implements prometheus.Collector.
type collector struct {
	sample func(context.Context) (Samples, error)
}

// Describe and Collect implement prometheus.Collector.
func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range metrics {
		to <- m.desc()
	}
}

// Collect asks the loops: a scrape costs each of them one function.
func (c collector) Collect(to chan<- prometheus.Metric) {
	s, err := c.sample(context.Background())
	if err != nil {
		to <- prometheus.NewInvalidMetric(Build.desc(), err)
		return
	}
	for _, k := range s.sorted() {
		to <- k.metric.metric(s[k], k.labels[:len(k.metric.labels)])
	}
}

func (m *Metric) desc() *prometheus.Desc {
	return prometheus.NewDesc(m.name, m.help, m.labels, nil)
}

// metric is the value of one series as client_golang wants it.
func (m *Metric) metric(v sample, labels []string) prometheus.Metric {
	switch m.kind {
	case counterKind:
		return prometheus.MustNewConstMetric(m.desc(), prometheus.CounterValue, float64(v.count), labels...)
	case gaugeKind:
		return prometheus.MustNewConstMetric(m.desc(), prometheus.GaugeValue, v.value, labels...)
	}
	buckets, below := make(map[float64]uint64, len(m.bounds)), uint64(0)
	for i, bound := range m.bounds {
		below += v.histogram.counts[i]
		buckets[bound.Seconds()] = below
	}
	return prometheus.MustNewConstHistogram(m.desc(), v.histogram.total(), v.histogram.sum.Seconds(), buckets, labels...)
}
