package sim

import (
	"context"
	"fmt"
	"time"
)

// liveEvery is how often a progress line on a terminal is written anew.
const liveEvery = 250 * time.Millisecond

// progress writes how the simulation stands, until ctx ends.
func (s *Sim) progress(ctx context.Context) {
	every, before, after := s.config.ProgressEvery, "", "\n"
	if s.config.ProgressLive {
		every, before, after = liveEvery, "\r\x1b[K", ""
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	sent, at := int64(0), s.started
	for {
		select {
		case <-ctx.Done():
			if s.config.ProgressLive {
				fmt.Fprint(s.config.Progress, "\n")
			}
			return
		case now := <-ticker.C:
			total := s.Counters.Sent.Load()
			rate := float64(total-sent) / now.Sub(at).Seconds()
			sent, at = total, now
			fmt.Fprint(s.config.Progress, before, s.line(now, rate), after)
		}
	}
}

func (s *Sim) line(now time.Time, rate float64) string {
	n := &s.Counters
	latency, longest, _ := s.waits.summary()
	return fmt.Sprintf("%5.1fs  held %d  dropped %d  %.0f msg/s  answered %d  waiting %d  lost %d  dup %d  disorder %d  p99 %v  silence %v",
		now.Sub(s.started).Seconds(), n.Held.Load(), n.Dropped.Load()+n.Refused.Load(), rate, n.Answered.Load(),
		max(0, n.Outstanding()), n.Lost.Load(), n.Duplicated.Load(), n.OutOfOrder.Load(), short(latency.P99), short(longest))
}
