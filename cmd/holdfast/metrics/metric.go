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
	Build           = newGauge("holdfast_build_info", "Version of the serving process; always 1.", "version")
	Started         = newGauge("holdfast_started_timestamp_seconds", "Start of the first process; upgrades since have replaced it.")
	connections     = newGauge("holdfast_connections", "Chargers connected now.", "subprotocol", "tls")
	Limit           = newGauge("holdfast_connections_limit", "Most chargers that may be connected (-max-connections).")
	KeeperUp        = newGauge("holdfast_keeper_up", "1 while a keeper has the sockets and the state, so that a crash closes no connection; 0 while it is gone. Only with -keeper.")
	recoveries      = newCounter("holdfast_recoveries_total", "Crashes of the gateway that this process, or one before it, has gone on from; with -keeper.")
	CertificateEnds = newGauge("holdfast_certificate_expiry_seconds", "Time until a certificate of tls-cert or tls-client-ca ends; negative once it has.", "file", "subject")
	opened          = newCounter("holdfast_opened_total", "Connections of chargers that were opened.", "subprotocol", "tls")
	closed          = newCounter("holdfast_closed_total", "Connections of chargers that have ended; by what, and with which kind of close code.", "by", "code")

	handshakes    = newCounter("holdfast_handshakes_total", "Handshakes of chargers; status is the HTTP status sent, empty when the network or TLS failed.", "outcome", "status")
	refusals      = newCounter("holdfast_handshake_refusals_total", "Handshakes refused, by the name of the reason: docs/operations.md lists them.", "reason")
	noFiles       = newCounter("holdfast_file_limit_refusals_total", "Handshakes refused because every file descriptor but the reserve was taken.")
	handshakeTime = newHistogram("holdfast_handshake_seconds", "Duration of the handshakes that succeeded.", millis(1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000))

	messages     = newCounter("holdfast_messages_total", "Messages from chargers (in) and to them (out).", "direction")
	messageBytes = newCounter("holdfast_message_bytes_total", "Bytes of the messages from and to chargers, uncompressed and without framing.", "direction")

	Queued      = newGauge("holdfast_queue_messages", "Deliveries that no processor has acknowledged yet.")
	QueuedBytes = newGauge("holdfast_queue_bytes", "Bytes of the deliveries that no processor has acknowledged yet.")
	InFlight    = newGauge("holdfast_queue_in_flight", "Deliveries that a processor has and has not acknowledged yet.")
	Oldest      = newGauge("holdfast_oldest_unacknowledged_seconds", "Age of the oldest delivery that no processor has acknowledged yet; 0 if there is none.")
	Paused      = newGauge("holdfast_paused_chargers", "Chargers that the gateway does not read from now, because their queue or the memory of all queues is full.")
	pauses      = newCounter("holdfast_pauses_total", "Times that the gateway stopped reading from a charger because a queue was full.")

	deliveries  = newCounter("holdfast_deliveries_total", "Deliveries made to processors; redelivered: whether the message had been delivered before.", "redelivered")
	AckTime     = newHistogram("holdfast_acknowledge_seconds", "Time from a delivery until its acknowledgement.", millis(0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000))
	nacks       = newCounter("holdfast_deliveries_given_back_total", "Deliveries that a processor gave back (NACK).")
	notTaken    = newCounter("holdfast_messages_not_taken_total", "Messages of chargers that were dropped: their connection was ending and their queue full.")
	poison      = newCounter("holdfast_poison_total", "Messages given up because -max-attempts processors died of them.")
	Links       = newGauge("holdfast_links", "Links now, by kind: processor (one for each loop), draining (a processor that gets no more deliveries), asker (takes none) and operator (a command).", "kind")
	linksJoined = newCounter("holdfast_links_joined_total", "Links that have joined.")
	linksLeft   = newCounter("holdfast_links_left_total", "Links that have ended; clean: whether every delivery was acknowledged.", "clean")
	refused     = newCounter("holdfast_links_refused_total", "HELLOs that the gateway refused.")

	calls    = newCounter("holdfast_calls_total", "CALLs to chargers that have ended, by outcome.", "outcome")
	callTime = newHistogram("holdfast_call_seconds", "Time from a CALL until the charger's answer, including the wait for its turn.", millis(5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000))

	upgrades     = newCounter("holdfast_upgrades_total", "Upgrades that were requested, by outcome.", "outcome")
	upgradePhase = newHistogram("holdfast_upgrade_phase_seconds", "Duration of the phases of an upgrade before the freeze: start of the new process, pre-copy.", millis(0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000), "phase")
	upgradePause = newHistogram("holdfast_upgrade_pause_seconds", "Time from the freeze until a process served again: the new one or, after a roll-back, the old one.", millis(0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 25, 50, 100, 250, 500, 1000, 3000))

	turn = newHistogram("holdfast_loop_turn_seconds", "Duration of a turn of a loop; a charger waits no longer than that for its turn.", millis(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 1000))
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
func (h *histogram) Observe(m *Metric, d time.Duration) {
	i := 0
	for i < len(m.bounds) && d > m.bounds[i] {
		i++
	}
	h.counts[i]++
	h.sum += d
}

func (h *histogram) add(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.sum += o.sum
}

func (h *histogram) total() (n uint64) {
	for _, c := range h.counts {
		n += c
	}
	return n
}
