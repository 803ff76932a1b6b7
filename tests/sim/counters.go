package sim

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// Counters of a running simulation. Anyone may read them at any time.
type Counters struct {
	Opened  atomic.Int64 // connections opened
	Refused atomic.Int64 // connections that could not be opened
	Held    atomic.Int64 // connections open now
	Dropped atomic.Int64 // connections ended, and not by the simulator

	Sent       atomic.Int64 // CALLs
	Answered   atomic.Int64 // in time, by CALLRESULT or CALLERROR
	Errors     atomic.Int64 // of these, by CALLERROR
	Lost       atomic.Int64 // not answered before the deadline or the connection's end
	Late       atomic.Int64 // lost ones that were answered after all
	Duplicated atomic.Int64 // second answers
	OutOfOrder atomic.Int64 // answers after the answer to a later message
	Stray      atomic.Int64 // answers to what was never sent
	Malformed  atomic.Int64 // what is no OCPP message

	Skipped  atomic.Int64 // turns without a message, because the answer was missing
	Behind   atomic.Int64 // turns that the simulator itself was too slow for
	Received atomic.Int64 // CALLs from the other side
	Crowded  atomic.Int64 // CALLs from the other side while one was not answered: OCPP-J section 4.1.1
	Pings    atomic.Int64
	Pongs    atomic.Int64
	Unechoed atomic.Int64 // close frames at the end that were not answered in time
}

// Outstanding is how many CALLs wait for an answer.
func (c *Counters) Outstanding() int64 {
	// Sent last: what settles between the loads must not make this negative.
	settled := c.Answered.Load() + c.Lost.Load()
	return c.Sent.Load() - settled
}

// reasons counts why something happened.
type reasons struct {
	mu    sync.Mutex
	count map[string]int
}

func (r *reasons) add(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count == nil {
		r.count = map[string]int{}
	}
	r.count[why]++
}

func (r *reasons) copy() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := make(map[string]int, len(r.count))
	for k, v := range r.count {
		c[k] = v
	}
	return c
}

// maxFaults is how many faults a report tells in words; the rest only count.
const maxFaults = 20

// faults are the first things that went wrong, for whoever must find out why.
type faults struct {
	mu    sync.Mutex
	first []string
}

func (f *faults) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.first) < maxFaults {
		f.first = append(f.first, fmt.Sprintf(format, args...))
	}
}

func (f *faults) copy() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.first...)
}
