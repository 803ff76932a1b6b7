package main

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

// A watch tells the service manager what this process holds, and that its loops
// turn: a loop that is stuck holds chargers whom nobody answers, and the
// manager, which hears nothing any more, starts the gateway anew.
type watch struct {
	notifier
	worlds []*world
	log    *slog.Logger
	// trouble is why the last upgrade was rolled back, until one succeeds.
	trouble atomic.Pointer[string]
	// announced is closed when the manager has been told that this process is
	// ready; what is told before it by a process that replaces another may not
	// be heard.
	announced chan struct{}
	// over says that another process serves now.
	over atomic.Bool
}

// statusInterval is how often the manager hears of changed counts if it asked
// for no watchdog.
const statusInterval = 5 * time.Second

// barrierTime is how long the manager may take to listen.
const barrierTime = 5 * time.Second

func newWatch(worlds []*world, log *slog.Logger) *watch {
	return &watch{notifier: newNotifier(), worlds: worlds, log: log, announced: make(chan struct{})}
}

// status is the line that `systemctl status` shows.
func (w *watch) status() string {
	s := fmt.Sprintf("STATUS=version %s, %d chargers, %d links of processors", version, w.worlds[0].held.Load(), w.worlds[0].joined.Load())
	if why := w.trouble.Load(); why != nil {
		s += "; " + *why
	}
	return s
}

// announce tells that this process is ready, when it can be heard: the manager
// listens to the main process, and that is the former one until it has said
// otherwise and gone. Then it goes on telling.
func (w *watch) announce(waitForParent func(context.Context) error) {
	_ = waitForParent(context.Background())
	_ = w.send("READY=1", w.status())
	close(w.announced)
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

// run feeds the watchdog, at a quarter of its time, whenever all loops have
// turned since the last time.
func (w *watch) run() {
	if w.socket == "" {
		return
	}
	every, feed := statusInterval, false
	if limit := watchdogInterval(); limit > 0 {
		every, feed = min(every, limit/4), true
	}
	var asked atomic.Int32 // loops that have not turned since
	told, missed := "", 0
	for range time.Tick(every) {
		if w.over.Load() {
			return
		}
		var lines []string
		if s := w.status(); s != told {
			lines, told = append(lines, s), s
		}
		switch {
		case asked.Load() > 0:
			if missed++; missed == missedTurns {
				w.log.Error("a loop stands still", "for", (missedTurns * every).String(), "stacks", stacks())
			}
		default:
			missed = 0
			if feed {
				lines = append(lines, "WATCHDOG=1")
			}
			asked.Store(int32(len(w.worlds)))
			for _, world := range w.worlds {
				world.loop.Post(func() { asked.Add(-1) })
			}
		}
		if len(lines) > 0 {
			_ = w.send(lines...) // it shows: the manager acts on silence
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

// reloading tells that an upgrade begins.
func (w *watch) reloading() { _ = w.send("RELOADING=1", monotonic(), "STATUS=upgrading") }

// rolledBack tells that this process goes on after all, and why.
func (w *watch) rolledBack(why error) {
	text := "upgrade rolled back at " + time.Now().Format(time.TimeOnly) + ": " + why.Error()
	w.trouble.Store(&text)
	_ = w.send("READY=1", w.status())
}

// handedOver tells which process the gateway is from now on.
func (w *watch) handedOver(pid int) error {
	w.over.Store(true)
	return w.send(fmt.Sprintf("MAINPID=%d", pid))
}

// stopping tells that the gateway ends, and how long it may take.
func (w *watch) stopping(grace time.Duration) {
	_ = w.send("STOPPING=1", fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (grace+stopMargin).Microseconds()),
		fmt.Sprintf("STATUS=closing %d chargers", w.worlds[0].held.Load()))
}

// stopMargin is for what comes after the grace period.
const stopMargin = 10 * time.Second
