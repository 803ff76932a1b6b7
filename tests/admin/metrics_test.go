package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/tests/harness"
)

// metricsAddr is where the gateway serves /metrics.
func metricsAddr(t *testing.T, w *harness.World) string {
	t.Helper()
	return w.Logged(w.Process, `"msg":"metrics"`).String("addr")
}

// get asks the gateway over HTTP.
func get(t *testing.T, url string) (int, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Deadline)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b
}

// scraped is what a scrape says: the value of each series, and of which of them
// only grow.
func scraped(t *testing.T, addr string) (values map[string]float64, grows map[string]bool) {
	t.Helper()
	code, b := get(t, "http://"+addr+"/metrics")
	if code != http.StatusOK {
		t.Fatalf("/metrics: %d\n%s", code, b)
	}
	values, grows = map[string]float64{}, map[string]bool{}
	kind := ""
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		line := lines.Text()
		if fields := strings.Fields(line); strings.HasPrefix(line, "# TYPE ") {
			kind = fields[3]
			continue
		}
		if !strings.HasPrefix(line, "holdfast_") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			t.Fatal(err)
		}
		values[line[:i]] = v
		grows[line[:i]] = kind != "gauge"
	}
	return values, grows
}

// Counters count what happens, and go on from where they were behind an upgrade.
func TestCountersSurviveUpgrades(t *testing.T) {
	w := harness.New(t, "-loops", "2", "-admin", "127.0.0.1:0")
	addr := metricsAddr(t, w)
	if code, b := get(t, "http://"+addr+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(string(b), "no processor") {
		t.Errorf("ready without a processor: %d %s", code, b)
	}
	w.Checkproc("a")
	for _, path := range []string{"/healthz", "/readyz"} {
		harness.Until(t, path+" to be 200", func() bool {
			code, _ := get(t, "http://"+addr+path)
			return code == http.StatusOK
		})
	}
	l := w.Load(30, 300)
	before, _ := scraped(t, addr)
	for range 3 {
		l.More(50)
		upgraded(t, w)
		after, grows := scraped(t, addr)
		for name, v := range before {
			if now, there := after[name]; grows[name] && (!there || now < v) {
				t.Errorf("%s was %v, and is %v (there: %v) behind an upgrade", name, v, now, there)
			}
		}
		before = after
	}
	connected := 0.0
	for name, v := range before {
		if strings.HasPrefix(name, "holdfast_connections{") {
			connected += v
		}
	}
	if connected != 30 {
		t.Errorf("%v connections are told of", connected)
	}
	r := l.Finish()
	w.CheckLedger(r)
	harness.Until(t, "the ends to be counted", func() bool {
		after, _ := scraped(t, addr)
		return after[`holdfast_closed_total{by="charger",code="normal"}`] == 30 && after["holdfast_queue_messages"] == 0
	})
	after, _ := scraped(t, addr)
	for name, want := range map[string]float64{
		`holdfast_messages_total{direction="in"}`:                  float64(r.Sent),
		`holdfast_messages_total{direction="out"}`:                 float64(r.Answered),
		`holdfast_handshakes_total{outcome="opened",status="101"}`: 30,
		`holdfast_handshake_seconds_count`:                         30,
		`holdfast_upgrades_total{outcome="done"}`:                  3,
		`holdfast_upgrade_pause_seconds_count`:                     3,
		`holdfast_upgrade_phase_seconds_count{phase="precopy"}`:    3,
		`holdfast_deliveries_total{redelivered="false"}`:           float64(r.Sent) + 60,
		`holdfast_acknowledge_seconds_count`:                       float64(r.Sent) + 60,
		`holdfast_links{kind="processor"}`:                         2,
	} {
		if after[name] != want {
			t.Errorf("%s is %v, want %v", name, after[name], want)
		}
	}
	if after["holdfast_loop_turn_seconds_count"] == 0 || after[`holdfast_message_bytes_total{direction="in"}`] == 0 {
		t.Error("neither turns nor bytes are counted")
	}
}

// What waits is told, with its age, also behind an upgrade.
func TestWaitingIsTold(t *testing.T) {
	w := harness.New(t, "-admin", "127.0.0.1:0", "-queue-messages", "4")
	addr := metricsAddr(t, w)
	c := connect(t, w, "CP-1")
	for n := range 8 {
		c.send(fmt.Sprintf(`[2,"n%d","Heartbeat",{}]`, n))
	}
	harness.Until(t, "the charger to be paused", func() bool {
		v, _ := scraped(t, addr)
		return v["holdfast_paused_chargers"] == 1 && v["holdfast_queue_messages"] >= 4
	})
	before, _ := scraped(t, addr)
	upgraded(t, w)
	after, _ := scraped(t, addr)
	const age = "holdfast_oldest_unacknowledged_seconds"
	if before[age] <= 0 || after[age] < before[age] {
		t.Errorf("the oldest waits for %v seconds, and for %v behind an upgrade", before[age], after[age])
	}
	w.Processor("p")
	for range 8 {
		<-c.answered
	}
	harness.Until(t, "an empty queue", func() bool {
		v, _ := scraped(t, addr)
		return v[age] == 0 && v["holdfast_queue_messages"] == 0 && v["holdfast_paused_chargers"] == 0 && v["holdfast_pauses_total"] > 0
	})
}

// needsPrometheus skips the test where Prometheus is not installed.
func needsPrometheus(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"prometheus", "promtool"} {
		harness.Need(t, tool)
	}
}

// promtool must accept what it is given.
func promtool(t *testing.T, stdin []byte, args ...string) {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %q: %v\n%s", args, err, out)
	}
}

// A real Prometheus scrapes a gateway that is upgraded meanwhile: no scrape
// fails, no counter is seen to begin anew, and every alert rule can be evaluated.
func TestPrometheus(t *testing.T) {
	needsPrometheus(t)
	w := harness.New(t, "-admin", "127.0.0.1:0")
	addr := metricsAddr(t, w)
	w.Checkproc("a")
	l := w.Load(20, 200)
	l.More(100)
	_, text := get(t, "http://"+addr+"/metrics")
	promtool(t, text, "check", "metrics")
	rules := filepath.Join(harness.TestsDir(t), "../deploy/prometheus/alerts.yml")
	promtool(t, nil, "check", "rules", rules)
	promtool(t, nil, "test", "rules", strings.TrimSuffix(rules, ".yml")+"_test.yml")

	query, lastError := startPrometheus(t, w, addr, rules)
	harness.Until(t, "the first scrapes", func() bool { return query(`count_over_time(up{job="holdfast"}[10m])`) >= 3 })
	for range 3 {
		l.More(100)
		upgraded(t, w)
	}
	l.More(100)
	scrapes := query(`count_over_time(up{job="holdfast"}[10m])`)
	harness.Until(t, "more scrapes", func() bool { return query(`count_over_time(up{job="holdfast"}[10m])`) >= scrapes+3 })
	t.Logf("a scrape took %.0f ms at most", 1000*query(`max_over_time(scrape_duration_seconds[10m])`))
	for expr, want := range map[string]float64{
		`min_over_time(up{job="holdfast"}[10m])`:                                   1,
		`resets(holdfast_messages_total{direction="in"}[10m])`:                     0,
		`resets(holdfast_loop_turn_seconds_count[10m])`:                            0,
		`sum(holdfast_connections)`:                                                20,
		`holdfast_upgrades_total{outcome="done"}`:                                  3,
		`count(ALERTS{alertname="HoldfastDown",alertstate="firing"}) or vector(0)`: 0,
	} {
		if got := query(expr); got != want {
			t.Errorf("%s is %v, want %v; the last scrape failed with %q", expr, got, want, lastError())
		}
	}
	w.CheckLedger(l.Finish())
}

// startPrometheus starts one that scrapes addr, and returns how to ask it for the
// value of an expression; -1 if there is none.
func startPrometheus(t *testing.T, w *harness.World, addr, rules string) (query func(expr string) float64, lastError func() string) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
global: {scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: holdfast
    static_configs: [{targets: [%q]}]
`, rules, addr), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // for a port that nobody else has
	if err != nil {
		t.Fatal(err)
	}
	own := listener.Addr().String()
	_ = listener.Close()
	w.Run("prometheus", "prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+own)
	client := http.Client{Timeout: 5 * time.Second}
	ask := func(path string, answer any) bool {
		resp, err := client.Get("http://" + own + path)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return json.NewDecoder(resp.Body).Decode(answer) == nil
	}
	harness.Until(t, "Prometheus to have evaluated all rules", func() bool {
		var all struct {
			Data struct {
				Groups []struct {
					Rules []struct{ Name, Health, LastError string }
				}
			}
		}
		if !ask("/api/v1/rules", &all) || len(all.Data.Groups) == 0 {
			return false
		}
		for _, g := range all.Data.Groups {
			for _, r := range g.Rules {
				if r.Health == "err" {
					t.Fatalf("rule %s: %s", r.Name, r.LastError)
				}
				if r.Health != "ok" {
					return false
				}
			}
		}
		return true
	})
	lastError = func() string {
		var all struct {
			Data struct{ ActiveTargets []struct{ LastError string } }
		}
		if !ask("/api/v1/targets", &all) || len(all.Data.ActiveTargets) == 0 {
			return "Prometheus does not say"
		}
		return all.Data.ActiveTargets[0].LastError
	}
	query = func(expr string) float64 {
		var answer struct {
			Data struct{ Result []struct{ Value [2]any } }
		}
		if !ask("/api/v1/query?query="+url.QueryEscape(expr), &answer) || len(answer.Data.Result) == 0 {
			return -1
		}
		text, _ := answer.Data.Result[0].Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return -1
		}
		return v
	}
	return query, lastError
}
