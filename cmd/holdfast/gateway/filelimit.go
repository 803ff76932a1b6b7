package gateway

// File descriptors
//
// Nearly all of them are sockets of chargers. A charger that waits to connect takes
// every one that becomes free, so without a reserve a processor could not come back,
// an operator could not look, and an upgrade could not start. The kernel always gives
// out the lowest number that is free. The number of a new descriptor therefore shows
// how much is left: at fileBudget.chargers or above, only the reserve is. A charger is
// then refused before it is connected, unless it is held already and takes its own
// place (handshaker.reserveFile).

import (
	"log/slog"
	"sync"
	"syscall"
	"time"

	"holdfast/cmd/holdfast/config"
)

// A fileBudget divides the file descriptors of the process.
type fileBudget struct {
	limit      int // RLIMIT_NOFILE, the hard one
	handshakes int // in progress at the same time
	links      int // of processors, beyond those that were there before the chargers
	slice      int // connections that an upgrade duplicates at once
	chargers   int // the sockets of chargers have lower numbers
}

const (
	// otherFiles are for operators' commands, scrapes, certificates and the like,
	// and for the start of the new process of an upgrade.
	otherFiles = 32
	// ownFiles are open from the start: loops, listeners, log.
	ownFiles = 32
	// mostSlice is the largest slice; see package upgrade.
	mostSlice = 128
)

// newFileBudget divides limit for c. What may come and go quickly gets a sixteenth
// each, at most what is configured.
func newFileBudget(limit int, c *config.Config) fileBudget {
	share := max(8, limit/16)
	b := fileBudget{
		limit:      limit,
		handshakes: min(c.Handshakes, share),
		links:      min(c.MaxLinks, share),
		slice:      min(mostSlice, share),
	}
	b.chargers = max(1, limit-b.reserve())
	return b
}

// reserve is what chargers do not get. A handshake has a second descriptor, which
// stays, until its loop has taken the connection over.
func (b fileBudget) reserve() int { return 2*b.handshakes + b.links + b.slice + otherFiles }

// hardFileLimit raises the soft limit of open files to the hard one, and returns it.
// Go does so, too, but takes it back in processes that it starts.
func hardFileLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	limit.Cur = limit.Max
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	return int(min(limit.Max, 1<<30))
}

// warn warns if the limit is lower than what the configuration may need.
func (b fileBudget) warn(c *config.Config, log *slog.Logger) {
	full := newFileBudget(1<<30, c)
	if need := c.MaxConnections + full.reserve() + ownFiles; b.limit < need {
		log.Warn("file limit is too low for max-connections", "limit", b.limit, "needed", need, "chargers", max(0, b.chargers-ownFiles),
			"remedy", "LimitNOFILE= of the unit, or a lower max-connections")
	}
}

// A reminder is true at first, and then once an interval. Any goroutine may ask.
type reminder struct {
	interval time.Duration
	mu       sync.Mutex
	last     time.Time
}

func (r *reminder) due(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.last.IsZero() && now.Sub(r.last) < r.interval {
		return false
	}
	r.last = now
	return true
}
