package metrics

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// everything has a value in each metric, from what the gateway counts with.
func everything() Samples {
	s := Samples{}
	n := NewLoopCounters()
	n.Kinds[connKind{"ocpp1.6", noTLS}] = &kindCount{Held: 3, Opened: 7}
	n.closed[0][0] = 4
	n.calls["timeout"] = 2
	n.turns.Observe(turn, 3*time.Millisecond)
	n.AppendTo(s)
	t := NewCounters()
	t.Handshake("opened", 101, 30*time.Millisecond)
	t.Refused("path", 404)
	t.Phase("start", time.Second)
	t.Upgraded("done", time.Millisecond)
	t.AppendTo(s)
	for _, m := range metrics {
		if m.kind == gaugeKind && len(m.labels) == 0 {
			s.Gauge(m, 1)
		}
	}
	s.Gauge(Build, 1, "1")
	s.Gauge(Links, 1, "processor")
	s.Least(CertificateEnds, 1, "chain.pem", "gateway")
	return s
}

// scraped is what /metrics says of s.
func scraped(t *testing.T, s Samples) []byte {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(given(s))
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("%d: %s", answer.Code, answer.Body)
	}
	return answer.Body.Bytes()
}

// given is a collector of these samples.
type given Samples

func (given) Describe(to chan<- *prometheus.Desc) {
	for _, m := range metrics {
		to <- m.desc()
	}
}

func (g given) Collect(to chan<- prometheus.Metric) {
	for _, k := range Samples(g).sorted() {
		to <- k.metric.metric(g[k], k.labels[:len(k.metric.labels)])
	}
}

func TestMetricsAreWellNamed(t *testing.T) {
	text := scraped(t, everything())
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, m := range metrics {
		if !strings.Contains(string(text), "\n"+m.name) && !strings.Contains(string(text), "# HELP "+m.name+" ") {
			t.Errorf("%s has no value: does anybody count it?", m.name)
		}
		if len(m.bounds) >= maxBuckets || !slices.IsSorted(m.bounds) {
			t.Errorf("%s: its bounds do not rise, or are too many", m.name)
		}
		if len(m.labels) > len(series{}.labels) {
			t.Errorf("%s has too many labels", m.name)
		}
	}
}

// What is handed over is what was counted, and it is added to what comes.
func TestCountersAreHandedOver(t *testing.T) {
	since := time.UnixMilli(1_700_000_000_123)
	before := everything()
	state := AppendCounters(nil, since, before)
	got, s, err := ParseCounters(state)
	if err != nil || !got.Equal(since) {
		t.Fatalf("since %v, %v", got, err)
	}
	for k, v := range before {
		switch k.metric.kind {
		case counterKind:
			if s[k].count != v.count {
				t.Errorf("%s %v: %d, was %d", k.metric.name, k.labels, s[k].count, v.count)
			}
		case histogramKind:
			if s[k].histogram == nil || *s[k].histogram != *v.histogram {
				t.Errorf("%s %v: %+v, was %+v", k.metric.name, k.labels, s[k].histogram, v.histogram)
			}
		case gaugeKind:
			if _, there := s[k]; there {
				t.Errorf("%s is handed over, but only holds for the moment", k.metric.name)
			}
		}
	}
	sum := everything()
	sum.Add(s)
	if n := sum[seriesOf(opened, []string{"ocpp1.6", noTLS})].count; n != 14 {
		t.Errorf("7 and 7 opened are %d", n)
	}
	if n := sum[seriesOf(handshakeTime, nil)].histogram.total(); n != 2 {
		t.Errorf("1 and 1 handshake are %d", n)
	}
	for i := range state {
		if _, _, err := ParseCounters(state[:i]); err == nil {
			t.Fatalf("the first %d of %d bytes are taken for all", i, len(state))
		}
	}
}

// Series of another release are passed over, and so are histograms with other
// buckets: they begin at zero.
func TestCountersOfAnotherRelease(t *testing.T) {
	other := &Metric{kind: counterKind, name: "holdfast_tomorrow_total", labels: []string{"a"}}
	rebucketed := *turn
	rebucketed.bounds = millis(1, 2)
	relabelled := *opened
	relabelled.labels = []string{"subprotocol"}
	s := Samples{}
	s.count(other, 5, "x")
	s.count(poison, 6)
	s.count(&relabelled, 7, "ocpp1.6")
	var h histogram
	h.Observe(&rebucketed, time.Millisecond)
	s.histogram(&rebucketed, &h)
	_, got, err := ParseCounters(AppendCounters(nil, time.Now(), s))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[seriesOf(poison, nil)].count != 6 {
		t.Errorf("taken over: %v", got)
	}
}

func FuzzParseCounters(f *testing.F) {
	f.Add(AppendCounters(nil, time.UnixMilli(1_700_000_000_123), everything()))
	f.Add(AppendCounters(nil, time.UnixMilli(1), Samples{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, s, err := ParseCounters(b)
		if err != nil {
			return
		}
		for k, v := range s {
			if k.metric.kind == histogramKind && v.histogram == nil {
				t.Fatal("a histogram without buckets")
			}
			_ = k.metric.metric(v, k.labels[:len(k.metric.labels)])
		}
	})
}

// Whatever names subprotocols have, what is said of connections stays bounded.
func TestKindsAreBounded(t *testing.T) {
	n := NewLoopCounters()
	for i := range 10 * maxKinds {
		n.of(connKind{strings.Repeat("x", i), noTLS}).Held++
	}
	if len(n.Kinds) > maxKinds {
		t.Errorf("%d kinds, at most %d", len(n.Kinds), maxKinds)
	}
	for i := range 10 * maxKinds {
		n.of(connKind{strings.Repeat("x", i), noTLS}).Held--
	}
	for k, v := range n.Kinds {
		if v.Held != 0 {
			t.Errorf("%v: %d are held", k, v.Held)
		}
	}
}

var metricName = regexp.MustCompile(`\bholdfast_[a-z_]+`)

// known tells of names in text that are no metrics.
func known(t *testing.T, where, text string) (found map[string]bool) {
	t.Helper()
	found = map[string]bool{}
	for _, name := range metricName.FindAllString(text, -1) {
		m := metricOf(name)
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, ok := strings.CutSuffix(name, suffix); ok && m == nil {
				if m = metricOf(base); m != nil && m.kind != histogramKind {
					m = nil
				}
			}
		}
		if m == nil {
			t.Errorf("%s names %s, which is no metric", where, name)
			continue
		}
		found[m.name] = true
	}
	return found
}

// Dashboard, alert rules and documentation name metrics that exist; the
// dashboard and the documentation name all of them.
func TestMetricsAreKnown(t *testing.T) {
	read := func(path string) string {
		b, err := os.ReadFile(filepath.Join("../../..", path))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	known(t, "alerts.yml", read("deploy/prometheus/alerts.yml"))
	dashboard := read("deploy/grafana/holdfast.json")
	if !json.Valid([]byte(dashboard)) {
		t.Error("the dashboard is not JSON")
	}
	shown := known(t, "the dashboard", dashboard)
	_, section, ok := strings.Cut(read("docs/operations.md"), "## Metrics\n")
	if !ok {
		t.Fatal("docs/operations.md has no section Metrics")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	documented := known(t, "docs/operations.md", section)
	for _, m := range metrics {
		if !shown[m.name] {
			t.Errorf("the dashboard does not show %s", m.name)
		}
		row := regexp.MustCompile("(?m)^\\| `" + m.name + "(\\{" + strings.Join(m.labels, ",") + "\\})?` \\|")
		if !documented[m.name] || !row.MatchString(section) {
			t.Errorf("docs/operations.md has no row for %s with the labels %v", m.name, m.labels)
		}
	}
}

func BenchmarkCountMessage(b *testing.B) {
	n := NewLoopCounters()
	for b.Loop() {
		n.MessagesIn++
		n.BytesIn += 200
		n.Delivered++
		n.Acknowledged.Observe(AckTime, 3*time.Millisecond)
	}
}

func BenchmarkEndTurn(b *testing.B) {
	n := NewLoopCounters()
	now := time.Now()
	for b.Loop() {
		now = now.Add(1)
		n.EndTurn(now)
	}
}

func BenchmarkExportCounters(b *testing.B) {
	s := everything()
	for b.Loop() {
		all := Samples{}
		all.Add(s)
		_ = AppendCounters(nil, time.Now(), all)
	}
}
