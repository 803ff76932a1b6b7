package logging

import (
	"fmt"
	"io"
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
	done    chan struct{}
}

// output is where lines go.
type output interface {
	// write writes a batch of whole lines.
	write(batch []byte)
	// lost appends the line that tells how many are missing.
	lost(dst []byte, lines int) []byte
}

func newWriter(to output) *writer {
	l := &writer{done: make(chan struct{})}
	l.more = sync.NewCond(&l.mu)
	go l.run(to)
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

func (l *writer) run(to output) {
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
			batch = to.lost(batch, dropped)
		}
		to.write(batch)
		if cap(batch) > 64<<10 {
			batch = nil
		}
	}
}

// stream is an output of lines of text or JSON.
type stream struct {
	io.Writer
	json    bool
	journal bool // whoever reads it is systemd's journal
}

// write implements output.
func (s *stream) write(batch []byte) { _, _ = s.Writer.Write(batch) } // there is nowhere to report it

const lostMessage = "log lines dropped: nobody read them in time"

// lost implements output.
func (s *stream) lost(dst []byte, lines int) []byte {
	if s.journal {
		dst = append(dst, "<4>"...)
	}
	if s.json {
		return fmt.Appendf(dst, "{\"level\":\"WARN\",\"msg\":%q,\"lines\":%d}\n", lostMessage, lines)
	}
	return fmt.Appendf(dst, "level=WARN msg=%q lines=%d\n", lostMessage, lines)
}

// close waits until everything is written.
func (l *writer) close() {
	l.mu.Lock()
	l.closed = true
	l.more.Signal()
	l.mu.Unlock()
	<-l.done
}
