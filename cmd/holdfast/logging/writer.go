package logging

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// maxLog is how many bytes of log may wait for whoever reads it. A loop must
// never wait for that; beyond it lines are dropped, and counted in the log.
const maxLog = 4 << 20

// writer writes on a goroutine of its own.
type writer struct {
	mu      sync.Mutex
	more    *sync.Cond
	waiting []byte
	dropped int
	closed  bool
	json    bool
	journal bool // whoever reads it is systemd's journal
	done    chan struct{}
}

func newWriter(w io.Writer, json bool) *writer {
	l := &writer{json: json, done: make(chan struct{})}
	if f, ok := w.(*os.File); ok {
		l.journal = toJournal(f, os.Getenv("JOURNAL_STREAM"))
	}
	l.more = sync.NewCond(&l.mu)
	go l.run(w)
	return l
}

// Write takes one line.
func (l *writer) Write(line []byte) (int, error) {
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

func (l *writer) run(w io.Writer) {
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
func (l *writer) lost() string {
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
func (l *writer) close() {
	l.mu.Lock()
	l.closed = true
	l.more.Signal()
	l.mu.Unlock()
	<-l.done
}
