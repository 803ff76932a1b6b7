package proc

import "sync/atomic"

// Counters count what an operator of a processor wants to know, from the
// beginning of Run, over all links. They may be read at any time.
type Counters struct {
	// GivenBack: deliveries whose handler, or TryOpened, returned an error.
	GivenBack atomic.Uint64
	// RepliesFailed: replies that were not written to the charger; see
	// Config.ReplyFailed.
	RepliesFailed atomic.Uint64
	// Restarts: another instance of the gateway was joined than before.
	Restarts atomic.Uint64
}
