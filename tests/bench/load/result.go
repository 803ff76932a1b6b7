package load

import (
	"fmt"
	"strings"
	"time"

	"holdfast/tests/bench/procfs"
)

// Result of a run, measured within its window. Errors counts the whole run.
type Result struct {
	Mode       Mode    `json:"mode"`
	Chargers   int     `json:"chargers"`
	Seconds    float64 `json:"seconds"`
	Messages   int     `json:"messages"`
	Rate       float64 `json:"messages_per_second"`
	P50        float64 `json:"p50_us"`
	P99        float64 `json:"p99_us"`
	Max        float64 `json:"max_us"`
	Pings      int64   `json:"pings"`
	Errors     int     `json:"errors"`
	FirstError string  `json:"first_error,omitempty"`

	SystemCPU   float64 `json:"system_cpu_s"`          // of the processes watched
	LoadCPU     float64 `json:"load_cpu_s"`            // of this process
	CPUPerMsg   float64 `json:"system_cpu_us_per_msg"` // 0 without messages
	LoadPerMsg  float64 `json:"load_cpu_us_per_msg"`   // 0 without messages
	OtherShare  float64 `json:"other_share"`           // of the core's time, used by none of the above
	StolenShare float64 `json:"stolen_share"`          // of the core's time, kept by the hypervisor
}

func (r *run) result(elapsed time.Duration, used procfs.Usage) Result {
	res := Result{
		Mode: r.Mode, Chargers: len(r.chargers), Seconds: elapsed.Seconds(),
		Messages: r.messages, Rate: float64(r.messages) / elapsed.Seconds(),
		P50: micros(r.latency.Quantile(0.5)), P99: micros(r.latency.Quantile(0.99)), Max: micros(r.latency.Max()),
		SystemCPU: used.Watched.Seconds(), LoadCPU: used.Self.Seconds(),
	}
	if r.messages > 0 {
		res.CPUPerMsg = micros(used.Watched) / float64(r.messages)
		res.LoadPerMsg = micros(used.Self) / float64(r.messages)
	}
	if len(r.Watch) > 0 {
		res.OtherShare = max(0, (used.Core-used.Watched).Seconds()/elapsed.Seconds())
		res.StolenShare = used.Stolen.Seconds() / elapsed.Seconds()
	}
	return res
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// String is the result for people.
func (r Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d chargers, %.1f s\n", r.Mode, r.Chargers, r.Seconds)
	fmt.Fprintf(&b, "  messages      %d (%.0f/s)\n", r.Messages, r.Rate)
	fmt.Fprintf(&b, "  latency       p50 %.0f µs, p99 %.0f µs, max %.0f µs\n", r.P50, r.P99, r.Max)
	fmt.Fprintf(&b, "  pings         %d\n", r.Pings)
	fmt.Fprintf(&b, "  errors        %d %s\n", r.Errors, r.FirstError)
	fmt.Fprintf(&b, "  CPU of load   %.2f s (%.1f µs per message)\n", r.LoadCPU, r.LoadPerMsg)
	fmt.Fprintf(&b, "  CPU watched   %.2f s (%.1f µs per message); others used %.1f %% of that core\n",
		r.SystemCPU, r.CPUPerMsg, 100*r.OtherShare)
	return b.String()
}
