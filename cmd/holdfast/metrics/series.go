package metrics

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"holdfast/unixipc/tlv"
)

// series is one line of /metrics: a metric and the values of its labels.
type series struct {
	metric *Metric
	labels [2]string // as many as the metric has
}

// A sample is the value of one series; which field, the metric's kind says.
type sample struct {
	count     uint64
	value     float64
	histogram *histogram
}

// Samples are the values of series at one moment. Adding up those of all loops,
// and those that were inherited, gives what the gateway tells.
type Samples map[series]sample

func (s Samples) count(m *Metric, n uint64, labels ...string) {
	k := seriesOf(m, labels)
	was := s[k]
	was.count += n
	s[k] = was
}

func (s Samples) Gauge(m *Metric, v float64, labels ...string) {
	k := seriesOf(m, labels)
	was := s[k]
	was.value += v
	s[k] = was
}

// Most is gauge for one of which only the highest counts.
func (s Samples) Most(m *Metric, v float64) {
	k := seriesOf(m, nil)
	s[k] = sample{value: max(s[k].value, v)}
}

// Least is Gauge for one of which only the lowest counts.
func (s Samples) Least(m *Metric, v float64, labels ...string) {
	k := seriesOf(m, labels)
	if was, ok := s[k]; ok {
		v = min(v, was.value)
	}
	s[k] = sample{value: v}
}

func (s Samples) histogram(m *Metric, o *histogram, labels ...string) {
	k := seriesOf(m, labels)
	was := s[k]
	if was.histogram == nil {
		was.histogram = new(histogram)
	}
	was.histogram.add(o)
	s[k] = was
}

func seriesOf(m *Metric, labels []string) series {
	k := series{metric: m}
	copy(k.labels[:], labels)
	return k
}

func (s Samples) Add(o Samples) {
	for k, v := range o {
		labels := k.labels[:len(k.metric.labels)]
		switch k.metric.kind {
		case counterKind:
			s.count(k.metric, v.count, labels...)
		case gaugeKind:
			if k.metric == Oldest {
				s.Most(k.metric, v.value)
			} else {
				s.Gauge(k.metric, v.value, labels...)
			}
		case histogramKind:
			s.histogram(k.metric, v.histogram, labels...)
		}
	}
}

// sorted are the series in an order that is always the same.
func (s Samples) sorted() []series {
	keys := make([]series, 0, len(s))
	for k := range s {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b series) int {
		return cmp.Or(strings.Compare(a.metric.name, b.metric.name), slices.Compare(a.labels[:], b.labels[:]))
	})
	return keys
}

// The encoding of what is handed over, in the terms of package tlv: counters and
// histograms by the names under which they are told, so that a release that
// knows others skips those, and adds up what both know.
const (
	countersSince  = 1 // Unix time, milliseconds, of the gateway's first process
	countersSeries = 2 // list

	seriesName    = 1
	seriesLabel   = 2 // list
	seriesCount   = 3
	seriesBounds  = 4 // list: nanoseconds
	seriesBuckets = 5 // list: one more than bounds
	seriesSum     = 6 // nanoseconds
)

const countersVersion = 1

var countersMagic = [2]byte{'H', 'm'}

// limits of what a state may hold.
const (
	maxSeries     = 10_000
	maxLabelValue = 256
)

// AppendCounters encodes those of s that only grow.
func AppendCounters(dst []byte, since time.Time, s Samples) []byte {
	dst = tlv.AppendHeader(dst, countersMagic, countersVersion)
	dst = tlv.AppendUint(dst, countersSince, uint64(since.UnixMilli()))
	var item, number []byte
	uint := func(dst []byte, id uint32, v uint64) []byte { // in a list zero counts, too
		number = tlv.AppendUint(number[:0], 1, v)
		return tlv.AppendItem(dst, id, number)
	}
	for k, v := range s {
		m := k.metric
		if m.kind == gaugeKind {
			continue
		}
		item = tlv.AppendBytes(item[:0], seriesName, m.name)
		for _, l := range k.labels[:len(m.labels)] {
			item = tlv.AppendItem(item, seriesLabel, []byte(l))
		}
		item = tlv.AppendUint(item, seriesCount, v.count)
		if m.kind == histogramKind {
			for _, b := range m.bounds {
				item = uint(item, seriesBounds, uint64(b))
			}
			for _, n := range v.histogram.counts[:len(m.bounds)+1] {
				item = uint(item, seriesBuckets, n)
			}
			item = tlv.AppendUint(item, seriesSum, uint64(max(0, v.histogram.sum)))
		}
		dst = tlv.AppendItem(dst, countersSeries, item)
	}
	return tlv.AppendEnd(dst)
}

// ParseCounters decodes what appendCounters has encoded. What this release does
// not know, or counts in other buckets, it leaves out.
func ParseCounters(b []byte) (since time.Time, s Samples, err error) {
	f := tlv.NewReader("counters", b, countersMagic, countersVersion)
	s = Samples{}
	for {
		id, ok := f.Next(countersSeries)
		if !ok {
			return since, s, f.Err()
		}
		switch id {
		case countersSince:
			since = time.UnixMilli(int64(f.Uint(1 << 52)))
		case countersSeries:
			if len(s) >= maxSeries {
				f.Fail(errors.New("too many series"))
				continue
			}
			f.Fail(s.parseSeries(f.Item(1 << 20)))
		default:
			f.Unknown()
		}
	}
}

func (s Samples) parseSeries(b []byte) error {
	f := tlv.NewFields("series", b)
	var name string
	var labels []string
	var v sample
	var bounds []time.Duration
	var buckets []uint64
	var sum time.Duration
	for {
		id, ok := f.Next(seriesLabel, seriesBounds, seriesBuckets)
		if !ok {
			break
		}
		switch id {
		case seriesName:
			name = f.String(maxLabelValue)
		case seriesLabel:
			labels = append(labels, string(f.Item(maxLabelValue)))
		case seriesCount:
			v.count = f.Uint(math.MaxUint64)
		case seriesBounds:
			n, err := parseNumber(f.Item(16))
			f.Fail(err)
			bounds = append(bounds, time.Duration(n))
		case seriesBuckets:
			n, err := parseNumber(f.Item(16))
			f.Fail(err)
			buckets = append(buckets, n)
		case seriesSum:
			sum = time.Duration(f.Uint(math.MaxInt64))
		default:
			f.Unknown()
		}
	}
	if err := f.Err(); err != nil {
		return err
	}
	m := metricOf(name)
	switch {
	case m == nil, m.kind == gaugeKind, len(labels) != len(m.labels):
		return nil
	case m.kind == counterKind:
		s.count(m, v.count, labels...)
	case slices.Equal(bounds, m.bounds) && len(buckets) == len(bounds)+1:
		h := &histogram{sum: sum}
		copy(h.counts[:], buckets)
		s.histogram(m, h, labels...)
	}
	return nil
}

// parseNumber reads an element of a list of numbers.
func parseNumber(b []byte) (n uint64, err error) {
	f := tlv.NewFields("number", b)
	for {
		id, ok := f.Next()
		if !ok {
			return n, f.Err()
		}
		if id == 1 {
			n = f.Uint(math.MaxUint64)
		} else {
			f.Unknown()
		}
	}
}
