package sim

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency of answers, from the moment before the CALL was written.
type Latency struct {
	P50  time.Duration `json:"p50_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`
}

// waits collects how long chargers waited for answers.
type waits struct {
	mu      sync.Mutex
	answers *hdrhistogram.Histogram // µs
	longest time.Duration           // answered or not
	whose   int                     // charger
}

func newWaits() *waits {
	return &waits{answers: hdrhistogram.New(1, time.Hour.Microseconds(), 3), whose: -1}
}

func (w *waits) answered(charger int, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers.RecordValue(min(max(1, d.Microseconds()), time.Hour.Microseconds())) // in range, so no error
	w.extend(charger, d)
}

// silent says that a charger has waited for so long, and maybe still waits.
func (w *waits) silent(charger int, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.extend(charger, d)
}

func (w *waits) extend(charger int, d time.Duration) {
	if d > w.longest {
		w.longest, w.whose = d, charger
	}
}

func (w *waits) summary() (l Latency, longest time.Duration, whose int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := func(q float64) time.Duration {
		return time.Duration(w.answers.ValueAtQuantile(q)) * time.Microsecond
	}
	if w.answers.TotalCount() > 0 {
		l = Latency{P50: at(50), P99: at(99), P999: at(99.9), Max: time.Duration(w.answers.Max()) * time.Microsecond}
	}
	return l, w.longest, w.whose
}
