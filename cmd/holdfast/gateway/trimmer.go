package gateway

import (
	"runtime/debug"
	"sync/atomic"
	"time"
)

// A trimmer gives memory back to the system when a storm of handshakes is over:
// what they needed for a moment would otherwise stay with the process, several
// times the size of the connections themselves.
type trimmer struct {
	timer *time.Timer
	since atomic.Int64 // handshakes since the last time
}

const (
	trimQuiet = 3 * time.Second // without handshakes, and the storm is over
	trimLeast = 256             // handshakes that are worth it; with many connections more
)

func newTrimmer() *trimmer {
	t := new(trimmer)
	t.timer = time.AfterFunc(time.Hour, func() {
		t.since.Store(0)
		debug.FreeOSMemory()
	})
	t.timer.Stop()
	return t
}

// handshake counts one that is done; held connections there are now.
func (t *trimmer) handshake(held int64) {
	if t.since.Add(1) >= max(trimLeast, held/16) {
		t.timer.Reset(trimQuiet)
	}
}

// soon trims after something else that needed much for a moment.
func (t *trimmer) soon() { t.timer.Reset(trimQuiet) }
