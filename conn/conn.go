package conn

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"syscall"
	"time"
	"unicode/utf8"

	"holdfast/unixipc/journal"
)

// A Conn is a held connection, owned by its loop. It is a struct in a table:
// idle, it has no goroutine and no buffer.
type Conn struct {
	State

	// User is the loop's user's own.
	User any

	loop       *Loop // nil: the slot is free
	fd         int32
	slot       int32
	generation uint32
	held       int32  // bytes of Loop.memory on this connection's account
	exported   uint32 // its id in the hand-over; 0: not exported

	timer   timer
	life    tick // when the last byte came
	due     tick // the next ping; from phaseClosing on, the end of the close handshake
	stalled tick // since when nothing could be written; 0: not stalled
	starved tick // since when pauseMemory holds; 0: it does not

	dirty     bool  // in Loop.dirty
	queued    bool  // in Loop.resumed
	leaving   bool  // see Leaving
	interest  uint8 // what epoll watches for: readable, writable
	unwatched bool  // not in epoll: the connection is over, but its end is not read yet
	reported  bool  // Handler.Closed was called
	changed   bool  // since it was exported
	unsaved   bool  // in saving.changed
	kept      bool  // see saving

	saved journal.Slot // where it is written down; 0: nowhere
	begun *begun       // what is written down apart; nil: nothing
}

// Why a message cannot be sent.
var (
	ErrClosing = errors.New("the connection is being closed")
	ErrFull    = errors.New("the charger does not read; its buffer is full")
)

// Add takes over the connected, non-blocking socket fd with the state that its
// handshake, or another process, left. early are bytes that were received with
// the handshake. The loop owns fd from then on, unless there is an error.
func (l *Loop) Add(fd int, s State, user any, early []byte) (*Conn, error) {
	c := l.table.add()
	c.State, c.User, c.loop, c.fd = s, user, l, int32(fd)
	c.interest = readable
	if err := l.poller.add(fd, c.slot, c.generation, uint32(c.interest)); err != nil {
		l.table.remove(c)
		return nil, err
	}
	now := l.tick()
	c.life = now
	if every := ticks(l.cfg.PingInterval); every > 0 {
		c.due = now + 1 + rand.N(every)
	}
	c.arm()
	if l.handover.active {
		l.handover.changed = append(l.handover.changed, c)
	}
	if j := l.saving.journal; j != nil {
		c.saved = j.Add()
		c.save()
	}
	if len(early) > 0 {
		c.decoder.keep(bytes.Clone(early))
		c.readUnreadLater()
	}
	return c, nil
}

// Handle names the connection with a number that is never used again in this
// process: Loop.Lookup finds no other under it.
func (c *Conn) Handle() uint64 { return uint64(c.generation)<<32 | uint64(uint32(c.slot)) }

// Lookup finds a connection by its handle; nil once it is gone.
func (l *Loop) Lookup(handle uint64) *Conn {
	return l.table.lookup(int32(uint32(handle)), uint32(handle>>32))
}

// Leaving reports whether the connection ends, and Message is called for what was
// received while reading was paused.
func (c *Conn) Leaving() bool { return c.leaving }

// Gone reports whether reading is paused, and the charger's end of the connection is
// closed or broken: what it sent before that is still to be read.
func (c *Conn) Gone() bool { return c.unwatched }

// All calls f for each connection that has not been reported closed.
func (l *Loop) All(f func(*Conn)) {
	for slot := range l.table.used {
		if c := l.table.at(slot); c.loop != nil && !c.reported {
			f(c)
		}
	}
}

// ready handles what epoll reported.
func (c *Conn) ready(events uint32) {
	switch {
	case events&writable == 0:
	case c.kept:
		c.markDirty() // written behind the commit
	default:
		c.flush()
	}
	switch {
	case c.phase == phaseGone:
	case c.pause != 0 && events&hungUp != 0:
		// Paused, and the connection is over. What the charger sent before
		// waits in the kernel until reading resumes; epoll would report the
		// hang-up again and again.
		if !c.unwatched {
			_ = c.loop.poller.remove(int(c.fd))
			c.unwatched = true
		}
	case c.pause != 0 || c.queued:
		// Paused in this very turn, or resumed: older bytes are still unread.
	case events&(readable|hungUp) != 0:
		c.read()
	}
}

// read reads once; n bytes.
func (c *Conn) read() (n int) {
	if c.queued {
		return 0 // what was read before comes first; epoll will report this again
	}
	l := c.loop
	b, errno := l.readFor(c.saved, c.kept, int(c.fd))
	switch {
	case len(b) > 0:
		c.life = l.tick()
		c.receive(b)
	case errno == syscall.EAGAIN:
	case errno != 0:
		c.closeNow(reasonReadFailed.Close(errno))
	default:
		c.closeNow(reasonEndOfStream.Close())
	}
	return len(b)
}

// receive takes what was read.
func (c *Conn) receive(b []byte) {
	if c.TLS == nil {
		c.ingest(b, false)
	} else {
		c.decrypt(b)
	}
}

// ingest decodes b and handles what it holds. Unless b is the connection's own,
// what must wait is copied.
func (c *Conn) ingest(b []byte, own bool) {
	if c.decoder.part != nil {
		c.touch()
	}
	lim := c.bounds()
	for len(b) > 0 && c.phase <= phaseClosing {
		if c.pause != 0 {
			if !own {
				b = bytes.Clone(b)
			}
			c.decoder.keep(b)
			break
		}
		ev, rest, ok, fault := c.decoder.next(b, lim)
		if fault != nil {
			c.Drop(*fault)
			return
		}
		if ok {
			c.handle(ev)
		}
		b = rest
	}
	if c.decoder.part != nil {
		c.touch()
	}
	c.account()
}

func (c *Conn) bounds() bounds {
	cfg := &c.loop.cfg
	return bounds{cfg.MaxMessage, c.DeflateBits != 0, cfg.Lenient.Has(TolerateText)}
}

func (c *Conn) handle(ev event) {
	switch ev.op {
	case opText, opBinary:
		payload := ev.payload
		if ev.compressed {
			var fault *Close
			lim, text := c.bounds(), ev.op == opText
			if payload, fault = c.loop.deflate.inflate(payload, lim.maxMessage, text && !lim.anyText); fault != nil {
				c.Drop(*fault)
				return
			}
			ev.malformed = text && lim.anyText && !utf8.Valid(payload)
		}
		c.loop.handler.Message(c, payload, ev.kind())
	case opPing:
		if c.phase == phaseOpen { // nothing follows our Close frame
			c.write(func(b []byte) []byte {
				return append(appendHeader(b, opPong, false, len(ev.payload)), ev.payload...)
			})
		}
	case opClose:
		c.peerClosed(ev.payload)
	}
}

// memory is what of incomplete input is held, in bytes.
func (c *Conn) memory() int32 {
	n := c.decoder.memory()
	if c.TLS != nil {
		n += c.TLS.Memory()
	}
	return int32(n)
}

// account charges the loop's memory for what this connection holds, and stops
// reading from it when that is more than there is.
func (c *Conn) account() {
	l := c.loop
	holds := c.memory()
	grown := holds - c.held
	l.memory += int(grown)
	c.held = holds
	if grown > 0 && l.memory > l.cfg.MemoryLimit && c.phase <= phaseClosing {
		if c.starved == 0 {
			c.starved = l.tick()
			l.starved = append(l.starved, c)
		}
		c.setPause(c.pause | pauseMemory)
		c.arm()
	}
}

// Pause stops reading from the charger: no Message comes but what the current
// one is. Its TCP window closes in time.
func (c *Conn) Pause() { c.setPause(c.pause | pauseQueue) }

// Resume undoes Pause. What was read before the pause is handled later in this
// turn.
func (c *Conn) Resume() { c.resume(pauseQueue) }

func (c *Conn) resume(why pause) {
	if c.pause&why == 0 {
		return
	}
	if why == pauseMemory {
		c.starved = 0
	}
	c.setPause(c.pause &^ why)
	if c.pause == 0 {
		c.life = c.loop.tick() // silence was ours
		c.arm()
		c.readUnreadLater()
	}
}

func (c *Conn) setPause(p pause) {
	c.pause = p
	c.touch()
	c.updateInterest()
}

// readUnreadLater queues the connection for readUnread at the end of the turn.
func (c *Conn) readUnreadLater() {
	if !c.queued {
		c.queued = true
		c.loop.resumed = append(c.loop.resumed, c)
	}
}

// readUnread handles what was left unread by a pause.
func (c *Conn) readUnread() {
	sent := c.decoder.part != nil && c.decoder.part.unreadSent
	if b := c.decoder.takeUnread(); len(b) > 0 {
		c.touch()
		c.ingest(b, true)
		if p := c.decoder.part; p != nil && p.unread != nil {
			p.unreadSent = sent // it is the end of b
		}
	}
	if c.unwatched && c.pause == 0 && c.phase <= phaseClosing {
		c.unwatched = false
		if err := c.loop.poller.add(int(c.fd), c.slot, c.generation, uint32(c.interest)); err != nil {
			c.closeNow(reasonWatchFailed.Close(err))
		}
	}
}

// wanted is what epoll is to watch for.
func (c *Conn) wanted() (events uint8) {
	if c.pause == 0 || c.phase == phaseLingering {
		events |= readable
	}
	if c.out != nil && c.stalled != 0 {
		events |= writable
	}
	return events
}

// updateInterest registers with epoll what this connection waits for.
func (c *Conn) updateInterest() {
	want := c.wanted()
	if want == c.interest || c.phase == phaseGone {
		return
	}
	c.interest = want
	if c.unwatched {
		return
	}
	if err := c.loop.poller.modify(int(c.fd), c.slot, c.generation, uint32(want)); err != nil {
		// Later: the caller may be in the middle of something, and so may the
		// handler that it was called from.
		l, handle := c.loop, c.Handle()
		l.Post(func() {
			if c := l.Lookup(handle); c != nil {
				c.closeNow(reasonWatchFailed.Close(err))
			}
		})
	}
}

// arm sets the timer to the next moment at which expire has something to do.
func (c *Conn) arm() {
	l := c.loop
	next := ^tick(0)
	if c.due != 0 {
		next = min(next, c.due)
	}
	if c.phase == phaseOpen && l.cfg.IdleTimeout > 0 && c.pause == 0 {
		next = min(next, c.life+ticks(l.cfg.IdleTimeout))
	}
	if c.stalled != 0 {
		next = min(next, c.stalled+ticks(l.cfg.WriteTimeout))
	}
	if c.starved != 0 {
		next = min(next, c.starved+ticks(l.cfg.WriteTimeout))
	}
	if next != ^tick(0) {
		l.wheel.arm(c, next)
	}
}

// expire does what is due, and arms the timer anew. A timer that fires early,
// because there was life meanwhile, costs only that.
func (c *Conn) expire() {
	l := c.loop
	now := l.wheel.now
	due := func(since tick, limit time.Duration) bool { return since != 0 && now >= since+ticks(limit) }
	switch {
	case c.phase == phaseGone:
		return
	case due(c.stalled, l.cfg.WriteTimeout):
		c.closeNow(reasonNotReading.Close(l.cfg.WriteTimeout))
		return
	case c.phase != phaseOpen:
		if now >= c.due {
			c.closeNow(reasonCloseTimeout.Close(l.cfg.CloseTimeout))
			return
		}
	case due(c.starved, l.cfg.WriteTimeout) && l.memory >= l.cfg.MemoryLimit:
		c.Drop(reasonNoMemory.Close())
		return
	case l.cfg.IdleTimeout > 0 && c.pause == 0 && due(c.life, l.cfg.IdleTimeout):
		c.closeNow(reasonIdle.Close(l.cfg.IdleTimeout))
		return
	case c.due != 0 && now >= c.due:
		if c.out == nil { // an unwritten one is waiting to be answered otherwise
			c.write(func(b []byte) []byte { return appendHeader(b, opPing, false, 0) })
		}
		every := ticks(l.cfg.PingInterval)
		c.due = now + max(1, every-every/10+rand.N(every/5+1))
	}
	c.arm()
}
