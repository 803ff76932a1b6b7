package upgrade

import (
	"fmt"
	"time"

	"holdfast/cmd/holdfast/gate"
	"holdfast/cmd/holdfast/shard"
)

// A freeze stops accepting, and each loop behind a turn. While it holds, the
// shards belong to the goroutine that called begin.
type freeze struct {
	shards []*shard.Shard
	gate   *gate.Gate
	began  time.Time
	holds  bool
	thaw   chan struct{} // closed: the loops go on
}

// begin returns when all loops stand still. After an error all of them go on.
func (f *freeze) begin(limit time.Duration) error {
	f.gate.Close()
	thaw := make(chan struct{})
	f.thaw = thaw
	parked := make(chan struct{}, len(f.shards))
	for _, s := range f.shards {
		s.Loop.Post(func() {
			s.Loop.Between(func() {
				parked <- struct{}{}
				<-thaw
			})
		})
	}
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for range f.shards {
		select {
		case <-parked:
		case <-timeout.C:
			f.end()
			return fmt.Errorf("the loops did not stop within %v", limit)
		}
	}
	f.holds = true
	// What loops had posted to each other belongs to the state.
	for again := true; again; {
		again = false
		for _, s := range f.shards {
			again = s.Loop.RunPosted() || again
		}
	}
	return nil
}

// end lets the loops and the gate go on. A freeze that is never ended holds
// until the process exits: the state is another process's then.
func (f *freeze) end() {
	close(f.thaw)
	f.gate.Reopen()
}
