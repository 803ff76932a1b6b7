package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"holdfast/tests/bench/load"
	"holdfast/tests/bench/sut"
)

// Report is everything that was measured.
type Report struct {
	Machine sut.Machine `json:"machine"`
	Systems []string    `json:"systems"`
	Runs    []Run       `json:"runs"`
}

// Run is one scenario with one system.
type Run struct {
	Round    int         `json:"round"`
	Scenario string      `json:"scenario"`
	System   string      `json:"system"`
	Result   load.Result `json:"result"`
}

// noise is the share of the systems' core, used by others, above which the
// report warns and gives no verdict. What others do on the load's core is not
// seen by it.
const noise = 0.05

// print writes the table for people.
func (r Report) print(w io.Writer, chosen []scenario) {
	fmt.Fprint(w, "\n", r.Machine, "\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "scenario\tfigure\t")
	for _, name := range r.Systems {
		fmt.Fprintf(t, "%s\t", name)
	}
	quotients := r.quotients()
	for _, q := range quotients {
		fmt.Fprintf(t, "%s/%s\t", q[0], q[1])
	}
	fmt.Fprintln(t, "aim\t")
	for _, sc := range chosen {
		title := sc.title
		for _, row := range sc.rows {
			fmt.Fprintf(t, "%s\t%s, %s\t", title, row.label, row.unit)
			for _, name := range r.Systems {
				fmt.Fprintf(t, "%s\t", figure(r.median(sc, name, row)))
			}
			for _, q := range quotients {
				if v, ok := r.quotient(sc, q[0], q[1], row); ok {
					fmt.Fprintf(t, "%.2f\t", v)
				} else {
					fmt.Fprint(t, "–\t")
				}
			}
			fmt.Fprintf(t, "%s\t\n", r.verdict(sc, row))
			title = ""
		}
	}
	t.Flush()
	fmt.Fprintln(w, "\nfigures and quotients are medians, each over the rounds; pings are off")
	r.printNoise(w)
}

// quotients are the columns that compare: the first system with each other.
func (r Report) quotients() (pairs [][2]string) {
	first := r.Systems[0]
	for _, name := range r.Systems[1:] {
		pairs = append(pairs, [2]string{first, name})
	}
	return pairs
}

func (r Report) results(scenario, system string) (all []load.Result) {
	for _, run := range r.Runs {
		if run.Scenario == scenario && run.System == system {
			all = append(all, run.Result)
		}
	}
	return all
}

func (r Report) median(sc scenario, system string, row row) float64 {
	var values []float64
	for _, result := range r.results(sc.name, system) {
		values = append(values, row.of(result))
	}
	return median(values)
}

// quotient is the median of the rounds' quotients: a machine that others use
// too is faster in one round than in the next, for both systems. ok is false
// if there is nothing to divide by.
func (r Report) quotient(sc scenario, a, b string, row row) (q float64, ok bool) {
	above, below := r.results(sc.name, a), r.results(sc.name, b)
	var values []float64
	for i := range above {
		if d := row.of(below[i]); d > 0 {
			values = append(values, row.of(above[i])/d)
		}
	}
	return median(values), len(values) > 0
}

func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	slices.Sort(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

func (r Report) verdict(sc scenario, row row) string {
	a := row.aim
	if a == nil {
		return ""
	}
	if !slices.Contains(r.Systems, "holdfast") || a.nginx && !slices.Contains(r.Systems, "nginx") {
		return a.text
	}
	value := r.median(sc, "holdfast", row)
	if a.nginx {
		if r.noisy(sc.name, "holdfast") || r.noisy(sc.name, "nginx") {
			return a.text + ": too noisy to say"
		}
		value, _ = r.quotient(sc, "holdfast", "nginx", row)
	}
	if value >= a.atLeast && (a.atMost == 0 || value <= a.atMost) {
		return a.text + ": met"
	}
	return a.text + ": MISSED"
}

// noisy reports whether others disturbed a run so much that it decides nothing.
func (r Report) noisy(scenario, system string) bool {
	return slices.ContainsFunc(r.results(scenario, system), func(r load.Result) bool {
		return r.OtherShare+r.StolenShare > noise
	})
}

// printNoise says how far others disturbed the run.
func (r Report) printNoise(w io.Writer) {
	var worst Run
	var sum float64
	for _, run := range r.Runs {
		share := run.Result.OtherShare + run.Result.StolenShare
		sum += share
		if share >= worst.Result.OtherShare+worst.Result.StolenShare {
			worst = run
		}
	}
	most := worst.Result.OtherShare + worst.Result.StolenShare
	fmt.Fprintf(w, "noise: others used %.1f %% of CPU %d on average, %.1f %% at most (round %d, %s, %s)\n",
		100*sum/float64(len(r.Runs)), systemCore, 100*most, worst.Round, worst.Scenario, worst.System)
	if most > noise {
		fmt.Fprintln(w, "noise: too much of it; run again when the machine is quiet")
	}
	for _, run := range r.Runs {
		if r := run.Result; r.Mode == load.Closed && r.Chargers > 1 && r.LoadCPU > r.SystemCPU {
			fmt.Fprintf(w, "note: the load was busier than the system in round %d, %s, %s: the system can do more\n",
				run.Round, run.Scenario, run.System)
		}
	}
}

// err is not nil if a system lost a connection or a message.
func (r Report) err() error {
	for _, run := range r.Runs {
		if run.Result.Errors > 0 {
			return fmt.Errorf("round %d, %s, %s: %d errors, the first: %s",
				run.Round, run.Scenario, run.System, run.Result.Errors, run.Result.FirstError)
		}
	}
	return nil
}

func figure(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
