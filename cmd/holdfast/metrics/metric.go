package metrics

import (
	"slices"
	"time"
)

// A Metric is one name of /metrics. Everything there is stands below; what
// docs/operations.md, the dashboard and the alert rules name is tested against it.
type Metric struct {
	kind   metricKind
	name   string
	help   string
	labels []string
	bounds []time.Duration // of a histogram's buckets, rising
}

type metricKind uint8

const (
	counterKind   metricKind = iota // only grows, also across upgrades
	gaugeKind                       // is as it is at the moment
	histogramKind                   // only grows, too
)

var (
	Build       = newGauge("holdfast_build_info", "Version of the serving process; always 1.", "version")
	Started     = newGauge("holdfast_started_timestamp_seconds", "When the first process started of those that upgraded each other since.")
	Connections = newGauge("holdfast_connections", "Chargers connected now.", "subprotocol", "tls")
	Limit       = newGauge("holdfast_connections_limit", "Most chargers that may be connected (-max-connections).")
	Opened      = newCounter("holdfast_opened_total", "Chargers that have connected.", "subprotocol", "tls")
	Closed      = newCounter("holdfast_closed_total", "Connections that have ended, by whom and with which kind of close code.", "by", "code")

	Handshakes    = newCounter("holdfast_handshakes_total", "Handshakes of chargers; status is the HTTP status they got, empty when the network or TLS failed.", "outcome", "status")
	HandshakeTime = newHistogram("holdfast_handshake_seconds", "Duration of the handshakes that let a charger in.", millis(1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000))

	Messages = newCounter("holdfast_messages_total", "Messages from chargers (in) and to them (out).", "direction")
	Bytes    = newCounter("holdfast_message_bytes_total", "Bytes of those messages, uncompressed and without framing.", "direction")

	Queued      = newGauge("holdfast_queue_messages", "Deliveries that no processor has acknowledged yet.")
	QueuedBytes = newGauge("holdfast_queue_bytes", "Their bytes.")
	InFlight    = newGauge("holdfast_queue_in_flight", "Those of them that a processor has.")
	Oldest      = newGauge("holdfast_oldest_unacknowledged_seconds", "Age of the oldest delivery that is not acknowledged; 0 when there is none.")
	Paused      = newGauge("holdfast_paused_chargers", "Chargers that are not read from now because their queue, or all queues, are full.")
	Pauses      = newCounter("holdfast_pauses_total", "How often reading from a charger was stopped for that.")

	Deliveries  = newCounter("holdfast_deliveries_total", "Deliveries made to processors; redelivered ones had been made before.", "redelivered")
	AckTime     = newHistogram("holdfast_acknowledge_seconds", "From a delivery until its acknowledgement.", millis(0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000))
	Nacks       = newCounter("holdfast_deliveries_given_back_total", "Deliveries that a processor gave back (NACK).")
	NotTaken    = newCounter("holdfast_messages_not_taken_total", "Messages of chargers that came when their queue was full and their connection ended.")
	Poison      = newCounter("holdfast_poison_total", "Messages given up because -max-attempts processors died of them.")
	Links       = newGauge("holdfast_links", "Links now: of processors, which have one for each loop, of askers, which take no deliveries, and of operators' commands.", "kind")
	LinksJoined = newCounter("holdfast_links_joined_total", "Links that have joined.")
	LinksLeft   = newCounter("holdfast_links_left_total", "Links that have ended; unclean ones had deliveries unacknowledged.", "clean")
	Refused     = newCounter("holdfast_links_refused_total", "Processors that were refused at their HELLO.")

	Calls    = newCounter("holdfast_calls_total", "CALLs to chargers that have come to an end.", "outcome")
	CallTime = newHistogram("holdfast_call_seconds", "From a CALL until the charger's answer, waiting for its turn included.", millis(5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000))

	Upgrades     = newCounter("holdfast_upgrades_total", "Upgrades asked for.", "outcome")
	UpgradePhase = newHistogram("holdfast_upgrade_phase_seconds", "Duration of what comes before the freeze of an upgrade: the start of the new process, the pre-copy.", millis(0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000), "phase")
	UpgradePause = newHistogram("holdfast_upgrade_pause_seconds", "From the freeze until a process served again, the new one or, rolled back, the old one.", millis(0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 25, 50, 100, 250, 500, 1000, 3000))

	Turn = newHistogram("holdfast_loop_turn_seconds", "Time that a turn of a loop took; a charger waits as long at worst.", millis(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 1000))
)

// metrics are all of them, in the order above.
var metrics []*Metric

func define(m Metric) *Metric {
	if m.labels == nil {
		m.labels = []string{}
	}
	metrics = append(metrics, &m)
	return &m
}

func newCounter(name, help string, labels ...string) *Metric {
	return define(Metric{kind: counterKind, name: name, help: help, labels: labels})
}

func newGauge(name, help string, labels ...string) *Metric {
	return define(Metric{kind: gaugeKind, name: name, help: help, labels: labels})
}

func newHistogram(name, help string, bounds []time.Duration, labels ...string) *Metric {
	return define(Metric{kind: histogramKind, name: name, help: help, labels: labels, bounds: bounds})
}

func millis(ms ...float64) (bounds []time.Duration) {
	for _, m := range ms {
		bounds = append(bounds, time.Duration(m*float64(time.Millisecond)))
	}
	return bounds
}

func metricOf(name string) *Metric {
	if i := slices.IndexFunc(metrics, func(m *Metric) bool { return m.name == name }); i >= 0 {
		return metrics[i]
	}
	return nil
}

// maxBuckets is the most that any histogram has, the one without a bound included.
const maxBuckets = 18

// A histogram counts durations in the buckets of a histogram. It belongs to one
// goroutine, or stands under somebody's lock.
type histogram struct {
	counts [maxBuckets]uint64
	sum    time.Duration
}

// Observe counts d in a bucket of m.
func (s *histogram) Observe(m *Metric, d time.Duration) {
	i := 0
	for i < len(m.bounds) && d > m.bounds[i] {
		i++
	}
	s.counts[i]++
	s.sum += d
}

func (s *histogram) add(o *histogram) {
	for i, n := range o.counts {
		s.counts[i] += n
	}
	s.sum += o.sum
}

func (s *histogram) total() (n uint64) {
	for _, c := range s.counts {
		n += c
	}
	return n
}
