package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
)

// Process is what the service manager hears about.
type Process struct {
	Version  string
	Chargers func() int64
	Links    func() int64
	Loops    []func(func()) // each runs a function on its loop
}

// A Reporter tells the service manager what this process holds, and that its loops
// turn: a loop that is stuck holds chargers whom nobody answers, and the
// manager, which hears nothing any more, starts the gateway anew.
type Reporter struct {
	notifier
	about Process
	log   *slog.Logger
	// trouble is why the last upgrade was rolled back, until one succeeds.
	trouble atomic.Pointer[string]
	// announced is closed when the manager has been told that this process is
	// ready; what is told before it by a process that replaces another may not
	// be heard.
	Announced chan struct{}
	// over says that another process serves now.
	over atomic.Bool
}

// statusInterval is how often the manager hears of changed counts if it asked
// for no watchdog.
const statusInterval = 5 * time.Second

func NewReporter(about Process, log *slog.Logger) *Reporter {
	return &Reporter{notifier: newNotifier(), about: about, log: log, Announced: make(chan struct{})}
}

// status is the line that `systemctl status` shows.
func (r *Reporter) status() string {
	s := fmt.Sprintf("STATUS=version %s, %d chargers, %d links of processors", r.about.Version, r.about.Chargers(), r.about.Links())
	if why := r.trouble.Load(); why != nil {
		s += "; " + *why
	}
	return s
}

// Announce tells that this process is ready, when it can be heard: the manager
// listens to the main process, and that is the former one until it has said
// otherwise and gone. Then it goes on telling.
func (r *Reporter) Announce(waitForParent func(context.Context) error) {
	_ = waitForParent(context.Background())
	_ = r.send("READY=1", r.status())
	close(r.Announced)
}

// watchdogInterval is how often the manager wants to hear of this process; zero
// if it does not. WATCHDOG_PID is not looked at: it names the first process of
// the service, which others have replaced.
func watchdogInterval() time.Duration {
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 || os.Getenv("NOTIFY_SOCKET") == "" {
		return 0
	}
	return time.Duration(usec) * time.Microsecond
}

// Run feeds the watchdog, at a quarter of its time, whenever all loops have
// turned since the last time.
func (r *Reporter) Run() {
	if r.socket == "" {
		return
	}
	every, feed := statusInterval, false
	if limit := watchdogInterval(); limit > 0 {
		every, feed = min(every, limit/4), true
	}
	var asked atomic.Int32 // loops that have not turned since
	told, missed := "", 0
	for range time.Tick(every) {
		if r.over.Load() {
			return
		}
		var lines []string
		if s := r.status(); s != told {
			lines, told = append(lines, s), s
		}
		switch {
		case asked.Load() > 0:
			if missed++; missed == missedTurns {
				r.log.Error("a loop stands still", "for", (missedTurns * every).String(), "stacks", stacks())
			}
		default:
			missed = 0
			if feed {
				lines = append(lines, "WATCHDOG=1")
			}
			asked.Store(int32(len(r.about.Loops)))
			for _, post := range r.about.Loops {
				post(func() { asked.Add(-1) })
			}
		}
		if len(lines) > 0 {
			_ = r.send(lines...) // it shows: the manager acts on silence
		}
	}
}

// missedTurns is how often a loop may miss being asked before the log says where
// it stands: the manager may kill this process without a word.
const missedTurns = 3

// stacks are those of all goroutines, as far as there is room.
func stacks() string {
	buf := make([]byte, 64<<10)
	return string(buf[:runtime.Stack(buf, true)])
}

// Reloading tells that an upgrade begins.
func (r *Reporter) Reloading() { _ = r.send("RELOADING=1", monotonic(), "STATUS=upgrading") }

// RolledBack tells that this process goes on after all, and why.
func (r *Reporter) RolledBack(why error) {
	text := "upgrade rolled back at " + time.Now().Format(time.TimeOnly) + ": " + why.Error()
	r.trouble.Store(&text)
	_ = r.send("READY=1", r.status())
}

// HandedOver tells which process the gateway is from now on.
func (r *Reporter) HandedOver(pid int) error {
	r.over.Store(true)
	return r.send(fmt.Sprintf("MAINPID=%d", pid))
}

// barrierTime is how long the manager may take to listen.
const barrierTime = 5 * time.Second

// Barrier returns when the manager has received everything that was sent.
func (r *Reporter) Barrier() error { return r.barrier(barrierTime) }

// Stopping tells that the gateway ends, and how long it may take.
func (r *Reporter) Stopping(grace time.Duration) {
	_ = r.send("STOPPING=1", fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (grace+stopMargin).Microseconds()),
		fmt.Sprintf("STATUS=closing %d chargers", r.about.Chargers()))
}

// stopMargin is for what comes after the grace period.
const stopMargin = 10 * time.Second
