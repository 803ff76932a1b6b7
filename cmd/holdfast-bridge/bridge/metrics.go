package bridge

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are counted up by all chargers.
type Metrics struct {
	FromChargers, FromUpstream, GivenBack, Unanswered, OfflineReplies prometheus.Counter
	Calls, CallsFailed, Lost, Moves                                   prometheus.Counter
	MirrorSent, MirrorDropped, MirrorDecided                          prometheus.Counter
	Up                                                                prometheus.Gauge
	RoundTrip                                                         prometheus.Histogram

	dials, verdicts, refused *prometheus.CounterVec
}

// NewMetrics registers them. chargers returns how many there are.
func NewMetrics(r prometheus.Registerer, chargers func() float64) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "holdfast_bridge_" + name, Help: help})
		r.MustRegister(c)
		return c
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdfast_bridge_" + name, Help: help}, []string{label})
		r.MustRegister(c)
		return c
	}
	m := &Metrics{
		FromChargers:   counter("charger_messages_total", "Messages of chargers, those that came again included."),
		FromUpstream:   counter("upstream_messages_total", "Messages of central systems."),
		GivenBack:      counter("given_back_total", "Messages that wait at the gateway, each time they were given back."),
		Unanswered:     counter("unanswered_total", "CALLs of chargers that a central system has not answered in time."),
		OfflineReplies: counter("offline_replies_total", "Answers in place of an absent central system (-offline-reply)."),
		Calls:          counter("calls_total", "CALLs of central systems to chargers."),
		CallsFailed:    counter("calls_failed_total", "Of those, the ones answered with an error of the bridge's."),
		Lost:           counter("upstream_lost_total", "Connections to central systems that have ended, and not by the bridge."),
		Moves:          counter("moves_total", "Chargers that were moved to another central system by a change of routes."),
		MirrorSent:     counter("mirror_messages_total", "Copies that mirrors were sent."),
		MirrorDropped:  counter("mirror_dropped_total", "Copies that were not sent: the mirror was away, or slow."),
		MirrorDecided:  counter("mirror_answers_total", "Answers of mirrors that chargers were given."),
		Up:             prometheus.NewGauge(prometheus.GaugeOpts{Name: "holdfast_bridge_upstream_connections", Help: "Chargers that are connected to their central system."}),
		RoundTrip: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "holdfast_bridge_upstream_seconds", Help: "From sending a central system a CALL to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
		dials:    vector("dials_total", "Connections to central systems that were tried, by outcome: connected, refused (with an HTTP status), unanswered.", "outcome"),
		verdicts: vector("verdicts_total", "Answers to the gateway's question whether a charger may connect, by the central system's HTTP status; 101 is yes.", "status"),
		refused:  vector("refused_total", "Messages that were not passed on, by reason: no_ocpp, answer (nobody waits for it), late_answer (of a charger), call_gone (its asker is gone), send and reply (the charger did not take it).", "reason"),
	}
	r.MustRegister(m.Up, m.RoundTrip, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "holdfast_bridge_chargers", Help: "Chargers that the bridge has, those included whose connection lingers.",
	}, chargers))
	return m
}

// Dials counts dials by outcome.
func (m *Metrics) Dials(outcome string) prometheus.Counter { return m.dials.WithLabelValues(outcome) }

// Verdict counts answers to AUTHORIZE by HTTP status.
func (m *Metrics) Verdict(status int) prometheus.Counter {
	return m.verdicts.WithLabelValues(strconv.Itoa(status))
}

// Refused counts messages that were not passed on, by reason.
func (m *Metrics) Refused(reason string) prometheus.Counter {
	return m.refused.WithLabelValues(reason)
}
