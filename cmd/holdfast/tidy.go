package main

import (
	"runtime/debug"
	"sync/atomic"
	"time"
)

// A tidy gives memory back to the system when a storm of handshakes is over:
// what they needed for a moment would otherwise stay with the process, several
// times the size of the connections themselves.
type tidy struct {
	timer *time.Timer
	since atomic.Int64 // handshakes since the last time
}

const (
	tidyQuiet = 3 * time.Second // without handshakes, and the storm is over
	tidyLeast = 256             // handshakes that are worth it; with many connections more
)

func newTidy() *tidy {
	t := new(tidy)
	t.timer = time.AfterFunc(time.Hour, func() {
		t.since.Store(0)
		debug.FreeOSMemory()
	})
	t.timer.Stop()
	return t
}

// handshake counts one that is done; held connections there are now.
func (t *tidy) handshake(held int64) {
	if t.since.Add(1) >= max(tidyLeast, held/16) {
		t.timer.Reset(tidyQuiet)
	}
}

// soon tidies up after something else that needed much for a moment.
func (t *tidy) soon() { t.timer.Reset(tidyQuiet) }
