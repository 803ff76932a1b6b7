package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/tests/bench/load"
	"holdfast/tests/bench/sut"
)

// scenario is one way of loading a system, and what its table shows.
type scenario struct {
	name     string
	title    string
	mode     load.Mode
	chargers int
	rate     int
	rows     []row
}

// row is one figure of a scenario.
type row struct {
	label string
	unit  string
	of    func(load.Result) float64
	aim   *aim
}

// aim is what Holdfast is to reach. Against nginx it bounds the quotient, else
// the figure itself.
type aim struct {
	text    string
	atLeast float64
	atMost  float64
	nginx   bool
}

var (
	aimRate = &aim{text: "≥ 1.8 × nginx", atLeast: 1.8, nginx: true}
	aimSame = &aim{text: "≤ nginx", atMost: 1, nginx: true}
	// A few timer wake-ups in a run are no use of the CPU.
	aimIdle = &aim{text: "0 (< 0.1 %)", atMost: 0.1}
)

var scenarios = []scenario{
	{"100", "100 chargers, closed loop", load.Closed, 100, 0, closedRows},
	{"1000", "1,000 chargers, closed loop", load.Closed, 1000, 0, closedRows},
	{"open", "100 chargers, 2,000 messages/s", load.Open, 100, 2000, []row{
		{"CPU per message", "µs", cpu, aimSame}, {"latency p50", "µs", p50, nil}, {"latency p99", "µs", p99, nil},
	}},
	{"ping", "1 charger, ping-pong", load.Closed, 1, 0, []row{
		{"latency p50", "µs", p50, aimSame}, {"latency p99", "µs", p99, nil}, {"CPU per message", "µs", cpu, nil},
	}},
	{"idle", "1,000 chargers, idle", load.Idle, 1000, 0, []row{
		{"CPU used", "% of a core", share, aimIdle},
	}},
}

var closedRows = []row{
	{"messages", "/s", func(r load.Result) float64 { return r.Rate }, aimRate},
	{"latency p50", "µs", p50, nil},
	{"latency p99", "µs", p99, nil},
	{"CPU per message", "µs", cpu, nil},
	{"CPU of the load", "% of its core", func(r load.Result) float64 { return 100 * r.LoadCPU / r.Seconds }, nil},
}

func p50(r load.Result) float64   { return r.P50 }
func p99(r load.Result) float64   { return r.P99 }
func cpu(r load.Result) float64   { return r.CPUPerMsg }
func share(r load.Result) float64 { return 100 * r.SystemCPU / r.Seconds }

func scenarioNames() []string {
	var names []string
	for _, sc := range scenarios {
		names = append(names, sc.name)
	}
	return names
}

// chooseScenarios returns those named, comma-separated; all for "".
func chooseScenarios(names string) ([]scenario, error) {
	if names == "" {
		return scenarios, nil
	}
	var chosen []scenario
	for name := range strings.SplitSeq(names, ",") {
		i := slices.Index(scenarioNames(), name)
		if i < 0 {
			return nil, fmt.Errorf("no scenario %q, only %q", name, scenarioNames())
		}
		chosen = append(chosen, scenarios[i])
	}
	return chosen, nil
}

// bench runs cmd/load.
type bench struct {
	loader   string
	duration time.Duration
	tls      bool
	answers  bool // of central systems
	runs     int
}

// run does one scenario with one system, with identities not used before.
func (b *bench) run(ctx context.Context, sc scenario, s *sut.System) (load.Result, error) {
	pids, err := s.PIDs()
	if err != nil {
		return load.Result{}, err
	}
	b.runs++
	var watch []string
	for _, pid := range pids {
		watch = append(watch, strconv.Itoa(pid))
	}
	out, err := exec.CommandContext(ctx, "taskset", "-c", strconv.Itoa(loadCore), b.loader, "-json",
		fmt.Sprintf("-tls=%v", b.tls), fmt.Sprintf("-answers=%v", b.answers), "-addr", s.Addr, "-prefix", fmt.Sprintf("B%d-", b.runs), "-mode", string(sc.mode),
		"-chargers", strconv.Itoa(sc.chargers), "-rate", strconv.Itoa(sc.rate),
		"-duration", b.duration.String(), "-warmup", "700ms",
		"-watch", strings.Join(watch, ","), "-core", strconv.Itoa(systemCore)).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return load.Result{}, errors.Join(err, s.Alive())
	}
	var result load.Result
	if err := json.Unmarshal(out, &result); err != nil {
		return load.Result{}, fmt.Errorf("read result of load: %w", err)
	}
	return result, nil
}
