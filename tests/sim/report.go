package sim

import (
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a simulation saw. Durations are nanoseconds in JSON.
type Report struct {
	Run      string        `json:"run"`
	Elapsed  time.Duration `json:"elapsed_ns"`
	Chargers int           `json:"chargers"`

	Opened     int64          `json:"opened"`
	Refused    int64          `json:"refused"`
	RefusedWhy map[string]int `json:"refused_why,omitempty"`
	Dropped    int64          `json:"dropped"`
	DroppedWhy map[string]int `json:"dropped_why,omitempty"`

	Sent       int64   `json:"sent"`
	Rate       float64 `json:"rate_per_s"` // of Sent, after the ramp
	Answered   int64   `json:"answered"`
	Errors     int64   `json:"errors"` // CALLERRORs, part of Answered
	Lost       int64   `json:"lost"`
	Late       int64   `json:"late"` // part of Lost
	Duplicated int64   `json:"duplicated"`
	OutOfOrder int64   `json:"out_of_order"`
	Stray      int64   `json:"stray"`
	Malformed  int64   `json:"malformed"`
	Crowded    int64   `json:"crowded"` // CALLs toward a charger that was busy with one

	Skipped  int64 `json:"skipped_turns"`
	Behind   int64 `json:"behind_turns"` // the simulator's own fault
	Received int64 `json:"received_calls"`
	Pings    int64 `json:"pings"`
	Pongs    int64 `json:"pongs"`
	Unechoed int64 `json:"unechoed_closes"`

	Latency          Latency       `json:"latency"`
	LongestSilence   time.Duration `json:"longest_silence_ns"`
	LongestSilenceOf string        `json:"longest_silence_of,omitempty"`

	Faults []string `json:"faults,omitempty"` // the first ones, in words
}

func (s *Sim) summarize(elapsed time.Duration, rate float64) Report {
	n := &s.Counters
	r := Report{
		Run: s.run, Elapsed: elapsed, Rate: rate, Chargers: len(s.chargers),
		Opened: n.Opened.Load(), Refused: n.Refused.Load(), RefusedWhy: s.refused.copy(),
		Dropped: n.Dropped.Load(), DroppedWhy: s.dropped.copy(),
		Sent: n.Sent.Load(), Answered: n.Answered.Load(), Errors: n.Errors.Load(),
		Lost: n.Lost.Load(), Late: n.Late.Load(), Duplicated: n.Duplicated.Load(),
		OutOfOrder: n.OutOfOrder.Load(), Stray: n.Stray.Load(), Malformed: n.Malformed.Load(), Crowded: n.Crowded.Load(),
		Skipped: n.Skipped.Load(), Behind: n.Behind.Load(), Received: n.Received.Load(),
		Pings: n.Pings.Load(), Pongs: n.Pongs.Load(), Unechoed: n.Unechoed.Load(),
		Faults: s.faults.copy(),
	}
	var whose int
	r.Latency, r.LongestSilence, whose = s.waits.summary()
	if whose >= 0 {
		r.LongestSilenceOf = s.config.identity(whose)
	}
	return r
}

// fault is a number of the report that should be zero.
type fault struct {
	name  string
	count int64
}

func (r Report) faultCounts() []fault {
	return []fault{
		{"refused", r.Refused},
		{"dropped", r.Dropped},
		{"lost", r.Lost},
		{"duplicated", r.Duplicated},
		{"out-of-order", r.OutOfOrder},
		{"stray", r.Stray},
		{"malformed", r.Malformed},
		{"crowded", r.Crowded},
		{"errors", r.Errors},
		{"unechoed", r.Unechoed},
	}
}

// FaultNames are the names that Err knows.
func FaultNames() []string {
	var names []string
	for _, f := range (Report{}).faultCounts() {
		names = append(names, f.name)
	}
	return names
}

// Err is nil if nothing went wrong but what is allowed, by FaultNames.
func (r Report) Err(allowed ...string) error {
	var bad []string
	for _, f := range r.faultCounts() {
		if f.count > 0 && !slices.Contains(allowed, f.name) {
			bad = append(bad, fmt.Sprintf("%d %s", f.count, f.name))
		}
	}
	if bad == nil {
		return nil
	}
	return fmt.Errorf("%s", strings.Join(bad, ", "))
}

// WriteTable writes the report for people.
func (r Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name string, value any, note string) { fmt.Fprintf(t, "%s\t%v\t%s\n", name, value, note) }
	row("chargers", r.Chargers, fmt.Sprintf("run %s, %s", r.Run, r.Elapsed.Round(time.Millisecond)))
	row("opened", r.Opened, "")
	row("refused", r.Refused, list(r.RefusedWhy))
	row("dropped", r.Dropped, list(r.DroppedWhy))
	row("sent", r.Sent, fmt.Sprintf("%.0f/s after the ramp", r.Rate))
	row("answered", r.Answered, "")
	row("lost", r.Lost, fmt.Sprintf("%d answered late", r.Late))
	row("duplicated", r.Duplicated, "")
	row("out of order", r.OutOfOrder, "")
	row("stray, malformed", r.Stray+r.Malformed, "")
	row("errors", r.Errors, "CALLERROR")
	row("turns skipped", r.Skipped, "the answer before was missing")
	if r.Behind > 0 {
		row("turns given up", r.Behind, "the simulator was too slow: measure with less")
	}
	if r.Pings > 0 {
		row("pings", r.Pings, fmt.Sprintf("%d pongs", r.Pongs))
	}
	if r.Unechoed > 0 {
		row("closes unanswered", r.Unechoed, "")
	}
	row("latency", fmt.Sprintf("p50 %v  p99 %v  p99.9 %v  max %v", short(r.Latency.P50), short(r.Latency.P99), short(r.Latency.P999), short(r.Latency.Max)), "")
	row("longest silence", short(r.LongestSilence), r.LongestSilenceOf)
	for _, f := range r.Faults {
		row("fault", f, "")
	}
	return t.Flush()
}

func short(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

// list writes reasons, the most frequent first.
func list(why map[string]int) string {
	names := make([]string, 0, len(why))
	for name := range why {
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool {
		if why[names[i]] != why[names[j]] {
			return why[names[i]] > why[names[j]]
		}
		return names[i] < names[j]
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d × %s", why[name], name)
	}
	return strings.Join(names, "; ")
}
