package conn

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Theory of operation.
//
// A loop works in turns. One turn reads what epoll reports, runs posted
// functions, fires timers, resumes readers, and then writes, at most once to
// each socket that has something new. Nothing in a turn blocks. Only the loop's
// goroutine touches a connection, so a connection needs no lock.
//
// A connection is in one of four phases (state.go). It only moves forward:
//
//	open       Close or Drop, or the charger's Close frame, ends this phase
//	closing    Conn.Close: our Close frame is queued, the charger's is awaited
//	lingering  Conn.linger: called by Drop, peerClosed and endTLS
//	gone       Conn.closeNow: the end of stream, an error, or a time-out
//
// Handler.Closed is called exactly once, on entering lingering or, if that is
// skipped, gone. A connection that is gone keeps its slot until the end of the
// turn: the rest of the turn may still refer to it. Its generation then makes
// late events and old handles miss it (table.go).
//
// Reading stops while Conn.pause has a reason in it. Each reason has one owner:
//
//	pauseQueue   set by Pause, cleared by Resume; both belong to the Handler
//	pauseOut     set by write, cleared by flush and stall: the charger does not read
//	pauseMemory  set by account, cleared by resumeStarved: the loop is out of memory
//
// Bytes that were read before a pause wait in decoder.unread. While they do, or
// while the connection is in Loop.resumed, the socket is not read: order is
// kept. A connection that is over while it is paused leaves epoll (unwatched),
// because epoll would report the hang-up in every turn.
//
// Writing is deferred: write appends to Conn.out and lists the connection in
// Loop.dirty, flush writes at the end of the turn. If the socket takes only a
// part, the connection is stalled: epoll watches for writability, and the timer
// for WriteTimeout.
//
// Each connection has one timer. arm sets it to the earliest moment at which
// expire could have something to do, and expire decides what that is.
//
// Hand-over: everything that changes the encoding of a State calls touch, so
// that a connection that was exported already is exported again (handover.go).

// Config bounds the connections of a loop.
type Config struct {
	MaxMessage   int           // longest message of a charger, bytes
	WriteBuffer  int           // unwritten bytes per connection from which on nothing more is taken
	MemoryLimit  int           // bytes of partial messages over all connections
	PingInterval time.Duration // 0: no pings
	IdleTimeout  time.Duration // 0: none
	WriteTimeout time.Duration // for a charger that does not read, or a loop out of memory
	CloseTimeout time.Duration // for the charger's half of the close handshake
	RecordSize   int           // most data in a TLS record, bytes; 0: record.MaxPlaintext
	Lenient      Tolerances
}

// Handler is whoever uses a loop. All its methods run on the loop's goroutine,
// and may call the methods of Loop, Conn and Source.
type Handler interface {
	// BeginTurn is called before anything else of a turn, and whenever time has
	// passed for a loop that does not turn: during a freeze, and while connections
	// are staged. now holds until the next call.
	BeginTurn(now time.Time)
	// Message is a complete message. payload is good during the call only.
	Message(c *Conn, payload []byte, kind Kind)
	// Sent reports that everything up to position is in the socket; see Conn.Send.
	Sent(c *Conn, position uint64)
	// Closed reports the end of c, exactly once. After it no message arrives and
	// nothing can be sent.
	Closed(c *Conn, why Close)
	// Alarm answers SetAlarm.
	Alarm(now time.Time)
	// EndTurn is called when all that had come was handled and what that left
	// for the chargers is written: the moment to write to sources.
	EndTurn()
}

// A Loop is one goroutine around one epoll instance. It owns its connections
// and its sources: only that goroutine touches them, and everybody else posts
// functions to it. That is why there is no lock on the way of a message.
type Loop struct {
	cfg     Config
	handler Handler
	poller  *poller
	table   table
	wheel   *wheel
	sources sources
	deflate deflater

	began     time.Time
	now       time.Time // of this turn
	alarm     time.Time // zero: none
	deadline  time.Time // the poller's
	failed    error
	stopped   bool
	afterTurn func()
	handover  handover
	saving    saving

	buf     []byte // every read of the loop goes here first
	memory  int    // bytes of partial messages held
	dirty   []*Conn
	resumed []*Conn
	starved []*Conn // paused by pauseMemory
	gone    []*Conn // closed in this turn; slots are reused after it
	spare   []*outbound
	sealing sealing

	wake  int // eventfd
	mu    sync.Mutex
	inbox []func() // guarded by mu
	taken []func()
}

const (
	readBuffer = 64 << 10
	wakeSlot   = none // slot of the eventfd; sources count down from -2
)

// NewLoop makes a loop that does nothing before Run.
func NewLoop(cfg Config, h Handler) (*Loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		_ = p.close()
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	l := &Loop{cfg: cfg, handler: h, poller: p, wake: wake, buf: make([]byte, readBuffer)}
	l.wheel = newWheel(&l.table)
	l.began = time.Now()
	l.now = l.began
	if err := p.add(wake, wakeSlot, 0, readable); err != nil {
		_ = p.close()
		_ = unix.Close(wake)
		return nil, err
	}
	return l, nil
}

// Post has f run on the loop, after the current turn's events. It may be called
// from any goroutine. Functions posted after Stop are not run.
func (l *Loop) Post(f func()) {
	l.mu.Lock()
	l.inbox = append(l.inbox, f)
	first := len(l.inbox) == 1
	l.mu.Unlock()
	if first {
		one := binary.NativeEndian.AppendUint64(nil, 1)
		_, _ = unix.Write(l.wake, one) // EAGAIN: it is awake already
	}
}

// Run turns until Stop. It returns an error only when epoll itself fails.
func (l *Loop) Run() error {
	step := l.step
	if err := l.limitWait(); err != nil {
		return err
	}
	for {
		if err := l.poller.turns(step); err != nil {
			return err
		}
		if l.stopped || l.failed != nil {
			return l.failed
		}
		l.beginTurn()
		l.turn(nil) // for the timers
		if l.stopped {
			return nil
		}
		if err := l.limitWait(); err != nil {
			return err
		}
	}
}

// step is what the poller calls: turns until there is nothing left to do.
func (l *Loop) step(uintptr) (stop bool) {
	for {
		events, err := l.poller.collect()
		if err != nil {
			l.failed = err
			return true
		}
		if len(events) == 0 && len(l.resumed) == 0 {
			return false
		}
		l.beginTurn()
		l.turn(events)
		if l.failed = l.limitWait(); l.failed != nil || l.stopped {
			return true
		}
	}
}

// Between has f called behind this turn, when everything is written that can
// be. While f does not return, the loop stands still, and its state is the
// caller's of whoever f lets know: that is a freeze.
func (l *Loop) Between(f func()) { l.afterTurn = f }

// RunPosted runs what was posted, on behalf of a loop that stands still. It
// reports whether there was anything.
func (l *Loop) RunPosted() bool {
	l.beginTurn()
	l.runPosted()
	return len(l.taken) > 0
}

// Stop ends Run after this turn. The connections stay as they are.
func (l *Loop) Stop() { l.stopped = true }

// beginTurn reads the clock, which nothing else of a turn does.
func (l *Loop) beginTurn() {
	l.now = time.Now()
	l.handler.BeginTurn(l.now)
}

// Now is the time of this turn.
func (l *Loop) Now() time.Time { return l.now }

// Len is the number of connections, those in their close handshake included.
func (l *Loop) Len() int { return l.table.count }

// SetAlarm has Handler.Alarm called at t, once; the zero time cancels.
func (l *Loop) SetAlarm(t time.Time) { l.alarm = t }

// limitWait sets the moment until which the poller may wait.
func (l *Loop) limitWait() error {
	deadline := l.alarm
	if at, ok := l.wheel.next(); ok {
		if t := l.timeOf(at); deadline.IsZero() || t.Before(deadline) {
			deadline = t
		}
	}
	// A deadline that stands and is sooner stays: waking once for nothing is
	// cheaper than moving the runtime's timer in every turn.
	if stands := l.deadline.After(l.now); !stands && !l.deadline.Equal(deadline) || stands && !deadline.IsZero() && deadline.Before(l.deadline) {
		l.deadline = deadline
		if err := l.poller.setDeadline(deadline); err != nil {
			return fmt.Errorf("epoll fd: %w", err)
		}
	}
	return nil
}

// Read reads once from a source's fd; the bytes are good until the next read.
// See the function Read.
func (l *Loop) Read(fd int) ([]byte, syscall.Errno) {
	n, errno := Read(fd, l.buf)
	return l.buf[:n], errno
}

// turn handles everything that has come: events, posted functions, timers,
// connections that may be read again; then it writes, once to each fd.
func (l *Loop) turn(events []unix.EpollEvent) {
	for _, ev := range events {
		switch {
		case ev.Fd == wakeSlot:
			var b [8]byte
			_, _ = unix.Read(l.wake, b[:])
		case ev.Fd < wakeSlot:
			l.sources.ready(ev)
		default:
			if c := l.table.lookup(ev.Fd, uint32(ev.Pad)); c != nil {
				l.work(c.saved)
				c.ready(ev.Events)
			}
		}
	}
	l.work(0)
	l.runPosted()
	l.wheel.advance(l.tick(), (*Conn).expire)
	if !l.alarm.IsZero() && !l.alarm.After(l.now) {
		l.alarm = time.Time{}
		l.handler.Alarm(l.now)
	}
	l.resumeStarved()
	l.readResumed()
	for again := true; again; again = l.unfinished() {
		if l.saving.commit != nil {
			l.saving.again = false
			l.sealDirty()
			l.saving.commit()
			l.saving.first = false
		}
		l.flushDirty()
		l.handler.EndTurn()
	}
	for _, c := range l.gone {
		l.table.remove(c)
	}
	l.gone = l.gone[:0]
	if f := l.afterTurn; f != nil {
		l.afterTurn = nil
		f()
	}
}

// unfinished reports whether the writing has left something to write, or to write down.
func (l *Loop) unfinished() bool {
	s := &l.saving
	return len(l.dirty) > 0 || s.again || len(s.changed) > 0 || len(s.gone) > 0
}

// flushDirty writes to each connection that has something new, once. With a journal, what
// the writing leaves waits for the next commit.
func (l *Loop) flushDirty() {
	n := len(l.dirty)
	for i := 0; i < n || i < len(l.dirty) && l.saving.journal == nil; i++ {
		c := l.dirty[i]
		c.dirty = false
		c.flush()
	}
	if l.saving.journal == nil {
		n = len(l.dirty)
	}
	rest := copy(l.dirty, l.dirty[n:])
	clear(l.dirty[rest:])
	l.dirty = l.dirty[:rest]
}

func (l *Loop) runPosted() {
	l.mu.Lock()
	l.inbox, l.taken = l.taken[:0], l.inbox
	l.mu.Unlock()
	for i, f := range l.taken {
		f()
		l.taken[i] = nil
	}
}

// readResumed goes on with the connections whose reading was resumed, each
// once: a turn stays bounded.
func (l *Loop) readResumed() {
	todo := len(l.resumed)
	for _, c := range l.resumed[:todo] {
		c.queued = false
		if c.phase <= phaseClosing && c.pause == 0 {
			if l.work(c.saved); l.saving.first && l.saving.journal != nil {
				l.saving.journal.WorkAgain(c.saved)
			}
			c.readUnread()
		}
	}
	l.work(0)
	l.resumed = l.resumed[:copy(l.resumed, l.resumed[todo:])]
}

// resumeStarved lets connections read again that waited for memory, as many as
// there is memory for, the longest waiting first.
func (l *Loop) resumeStarved() {
	if len(l.starved) == 0 || l.memory >= l.cfg.MemoryLimit {
		return
	}
	fed := 0
	for room := l.cfg.MemoryLimit - l.memory; fed < len(l.starved) && room > 0; fed++ {
		if c := l.starved[fed]; c.phase != phaseGone && c.pause&pauseMemory != 0 {
			c.resume(pauseMemory)
			room -= readBuffer
		}
	}
	l.starved = slices.Delete(l.starved, 0, fed)
}

// Close closes the loop's own fds after Run has returned; not its connections.
func (l *Loop) Close() error {
	_ = syscall.Close(l.wake)
	return l.poller.close()
}
