package gateway

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"holdfast/cmd/holdfast/config"
)

func newLogger(c *config.Config, w *logWriter) *slog.Logger {
	w.json = c.LogFormat == "json"
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // one of the choices
	opts := &slog.HandlerOptions{Level: level}
	newHandler := func(to io.Writer) slog.Handler {
		if w.json {
			return slog.NewJSONHandler(to, opts)
		}
		return slog.NewTextHandler(to, opts)
	}
	handler := newHandler(w)
	if w.journal {
		handler = withSeverities(w, newHandler)
	}
	if c.LogBurst > 0 {
		s := summarize(handler, c.LogBurst)
		w.last, handler = s.flush, s
	}
	return slog.New(handler)
}

// maxLog is how many bytes of log may wait for whoever reads it. A loop must
// never wait for that; beyond it lines are dropped, and counted in the log.
const maxLog = 4 << 20

// logWriter writes on a goroutine of its own.
type logWriter struct {
	mu      sync.Mutex
	more    *sync.Cond
	waiting []byte
	dropped int
	closed  bool
	json    bool   // not changed once anything is written
	journal bool   // whoever reads it is systemd's journal
	last    func() // called before the log is closed
	done    chan struct{}
}

func newLogWriter(w io.Writer) *logWriter {
	l := &logWriter{done: make(chan struct{})}
	if f, ok := w.(*os.File); ok {
		l.journal = toJournal(f, os.Getenv("JOURNAL_STREAM"))
	}
	l.more = sync.NewCond(&l.mu)
	go l.run(w)
	return l
}

// Write takes one line.
func (l *logWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting)+len(line) > maxLog {
		l.dropped++
		return len(line), nil
	}
	l.waiting = append(l.waiting, line...)
	l.more.Signal()
	return len(line), nil
}

func (l *logWriter) run(w io.Writer) {
	defer close(l.done)
	var batch []byte
	for {
		l.mu.Lock()
		for len(l.waiting) == 0 && !l.closed {
			l.more.Wait()
		}
		if len(l.waiting) == 0 {
			l.mu.Unlock()
			return
		}
		batch, l.waiting = l.waiting, batch[:0]
		dropped := l.dropped
		l.dropped = 0
		l.mu.Unlock()
		if dropped > 0 {
			batch = fmt.Appendf(batch, l.lost(), dropped)
		}
		_, _ = w.Write(batch) // there is nowhere to report it
		if cap(batch) > 64<<10 {
			batch = nil
		}
	}
}

// lost is the line that tells how many are missing.
func (l *logWriter) lost() string {
	prefix := ""
	if l.journal {
		prefix = "<4>"
	}
	if l.json {
		return prefix + "{\"level\":\"WARN\",\"msg\":\"log lines dropped: nobody read them in time\",\"lines\":%d}\n"
	}
	return prefix + "level=WARN msg=\"log lines dropped: nobody read them in time\" lines=%d\n"
}

// close waits until everything is written.
func (l *logWriter) close() {
	if l.last != nil {
		l.last()
	}
	l.mu.Lock()
	l.closed = true
	l.more.Signal()
	l.mu.Unlock()
	<-l.done
}
