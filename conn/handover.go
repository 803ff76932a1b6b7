package conn

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A connection is handed over while its loop still runs (Export), and again if
// it has changed since (ExportChanged): a few times while the loop runs, and a
// last time at the freeze. A change is anything that makes its encoding another
// one; connections that merely exchange whole messages are not changed.

// Exported is a connection as it is handed over.
type Exported struct {
	Conn  *Conn
	ID    uint32
	FD    int  // the loop's own: good while the loop is stopped, or until the next turn
	Again bool // it was exported before, under the same ID
	State []byte
}

// handover is what a loop remembers while it is being handed over.
type handover struct {
	active    bool
	additions bool     // changed connections are exported as additions
	changed   []*Conn  // exported and changed since, or new
	gone      []uint32 // ids of those exported that are no more
	next      int32    // slot that Export looks at next
}

// BeginHandover starts to keep account of changes. With additions, what was
// exported before and has changed is encoded without what the other process
// holds already; every export must reach it then, in order, and it must know
// them.
func (l *Loop) BeginHandover(additions bool) {
	l.handover = handover{active: true, additions: additions}
}

// EndHandover forgets about a hand-over that was rolled back.
func (l *Loop) EndHandover() {
	l.handover = handover{}
	for slot := range l.table.used {
		c := l.table.at(slot)
		c.exported, c.changed = 0, false
	}
}

// maxSlice is how many bytes of state end a slice early: encoding them holds up
// the loop.
const maxSlice = 1 << 20

// Export appends up to n connections that were not exported yet to dst, with
// ids from ids; fewer, if they hold much. It returns false when there are no more.
func (l *Loop) Export(dst []Exported, n int, ids *atomic.Uint32) ([]Exported, bool) {
	size := 0
	for h := &l.handover; h.next < l.table.used; h.next++ {
		if n == 0 || size >= maxSlice {
			return dst, true
		}
		if c := l.table.at(h.next); c.loop != nil && c.phase != phaseGone && c.exported == 0 {
			c.exported = ids.Add(1)
			e := c.export(false)
			dst = append(dst, e)
			size += len(e.State)
			if c.dirty {
				c.touch() // what it has unwritten goes out in this very turn
			}
			n--
		}
	}
	return dst, false
}

// ExportChanged appends the connections that changed since they were last
// exported, and those that are new, and returns the ids of those that are gone.
// Changes are counted anew from here on.
func (l *Loop) ExportChanged(dst []Exported, ids *atomic.Uint32) (all []Exported, gone []uint32) {
	for _, c := range l.dirty {
		c.touch() // at the freeze, RunPosted may have had it write
	}
	changed := l.handover.changed
	gone = l.handover.gone
	l.handover.changed, l.handover.gone = nil, nil
	// A slot is listed twice if its connection changed and went, and another
	// one took its place.
	for _, c := range changed {
		c.changed = true
	}
	for _, c := range changed {
		once := c.changed
		c.changed = false
		if !once || c.loop == nil || c.phase == phaseGone {
			continue
		}
		again := c.exported != 0
		if !again {
			c.exported = ids.Add(1)
		}
		dst = append(dst, c.export(again))
	}
	// As in Export; behind the loop, which would take it for another change.
	for _, e := range dst {
		if e.Conn.dirty {
			e.Conn.touch()
		}
	}
	return dst, gone
}

func (c *Conn) export(again bool) Exported {
	var due tick
	if now := c.loop.tick(); c.due > now {
		due = c.due - now
	}
	additions := c.loop.handover.additions
	e := Exported{Conn: c, ID: c.exported, FD: int(c.fd), Again: again, State: c.encode(nil, due, again && additions)}
	if additions {
		c.markSent()
	}
	return e
}

// touch notes a change.
func (c *Conn) touch() {
	if c.exported != 0 && !c.changed && c.loop.handover.active {
		c.changed = true
		c.loop.handover.changed = append(c.loop.handover.changed, c)
	}
	c.save()
}

// Touch has the connection handed over again: what belongs to it elsewhere has
// changed.
func (c *Conn) Touch() { c.touch() }

// AppendState encodes the state that a handshake left, with the bytes that
// came early.
func AppendState(dst []byte, s State, early []byte) []byte {
	if len(early) > 0 {
		s.decoder.keep(early)
	}
	return s.append(dst, 0)
}

// ParseState decodes what AppendState has encoded. It refuses what Add cannot
// take: a connection that is not at its very beginning.
func ParseState(b []byte) (s State, early []byte, err error) {
	if s, _, err = parseState(b); err != nil {
		return State{}, nil, err
	}
	early = s.decoder.takeUnread()
	if s.phase != phaseOpen || s.pause != 0 || s.out != nil || s.decoder.part != nil {
		return State{}, nil, errors.New("connection state: not of a connection that has just been opened")
	}
	return s, early, nil
}

// Adopt stages a connection that another process has exported: it is in epoll,
// but nothing is read or written before Run. The loop owns fd from then on,
// unless there is an error.
func (l *Loop) Adopt(fd int, state []byte, user any) (*Conn, error) {
	return l.AdoptSaved(fd, state, nil, user)
}

// AdoptSaved is Adopt for what AppendSaved has encoded. begun is the beginning of a message
// that is half received, if that was written down apart.
func (l *Loop) AdoptSaved(fd int, state, begun []byte, user any) (*Conn, error) {
	s, due, err := parseAddition(state, &State{}, begun)
	if err != nil {
		return nil, err
	}
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return nil, fmt.Errorf("connection of %q: fd %d is not a stream socket", s.Identity, fd)
	}
	c := l.table.add()
	c.loop, c.fd, c.User = l, int32(fd), user
	c.restore(s, due)
	if err := l.poller.add(fd, c.slot, c.generation, uint32(c.interest)); err != nil {
		c.forget()
		return nil, err
	}
	return c, nil
}

// Readopt replaces the state of a staged connection, or adds to it. After an
// error the connection is as it was.
func (c *Conn) Readopt(state []byte) error {
	s, due, err := parseAddition(state, &c.State, nil)
	if err != nil {
		return err
	}
	if s.Identity != c.Identity {
		return fmt.Errorf("connection of %q became one of %q", c.Identity, s.Identity)
	}
	had := c.interest
	c.restore(s, due)
	if c.interest != had {
		return c.loop.poller.modify(int(c.fd), c.slot, c.generation, uint32(c.interest))
	}
	return nil
}

// restore sets the state and everything that follows from it, but for what the
// first turn does.
func (c *Conn) restore(s State, due tick) {
	l := c.loop
	l.memory -= int(c.held)
	l.wheel.disarm(c)
	c.State = s
	c.save()
	c.held = c.memory()
	l.memory += int(c.held)
	c.reported = s.phase == phaseLingering
	l.beginTurn() // the loop does not turn yet
	now := l.tick()
	c.life = now
	c.due = 0
	switch every := ticks(l.cfg.PingInterval); {
	case s.phase != phaseOpen:
		c.due = now + due
	case every > 0 && due > 0:
		c.due = now + min(due, every)
	case every > 0:
		c.due = now + 1 + rand.N(every)
	}
	c.stalled = 0
	if s.out != nil {
		c.stalled = now
	}
	c.interest = c.wanted()
	c.arm()
	if s.out != nil || s.phase == phaseLingering || c.leavesSilently() || s.TLS != nil && s.TLS.OwesUpdate() {
		c.markDirty() // written in the first turn
	}
	if p := s.decoder.part; p != nil && p.unread != nil && s.pause == 0 {
		c.readUnreadLater() // and read
	}
}

// Unstage undoes Adopt. The connection lives on in the other process.
func (c *Conn) Unstage() {
	_ = c.loop.poller.remove(int(c.fd))
	_ = unix.Close(int(c.fd))
	c.forget()
}

// forget undoes restore, and gives the slot back.
func (c *Conn) forget() {
	l := c.loop
	c.releaseBegun()
	l.wheel.disarm(c)
	l.memory -= int(c.held)
	l.table.remove(c)
}

// Draining reports whether the connection is in its lingering close: Handler.Closed
// has been called, and only the end is awaited.
func (c *Conn) Draining() bool { return c.phase == phaseLingering }
