package relay

import (
	"time"

	"holdfast/unixipc"
)

// A queue is what a charger has waiting: its deliveries in order, from the
// oldest unacknowledged one, and the messages toward it whose writing is not
// confirmed. It exists only while there is something, and is then reused.
type queue struct {
	entries []entry
	buf     []byte // payloads of the entries, one after the other
	cost    int    // bytes that the entries are charged with; see memory.go
	base    uint64 // offset of buf[0]: offsets never change

	last     []byte // of a charger that is not connected: body of its last OPENED
	notTaken int    // messages since the queue is overfull; see Relay.overfull

	sends []send

	calls      []*call  // toward the charger; see call
	unanswered []string // ids of those that were given up, the oldest first

	// After a NACK: nothing is delivered before notBefore, and not to avoid
	// if another link will do.
	held      bool
	notBefore time.Time
	place     int    // in Relay.delayed, counted from 1; 0: the delay is over
	avoid     uint32 // id of a link; 0: none
	nacks     int    // of the oldest entry, since one was acknowledged
}

// entry is one delivery to be made, or made and not acknowledged.
type entry struct {
	kind    unixipc.Type // Opened, Message or Closed
	flags   unixipc.Flags
	moved   bool   // Opened: announces the charger to a new owner
	acked   bool   // acknowledged, behind one that is not
	number  uint64 // of the delivery while it is in flight; else 0
	session uint32 // of the charger's connections, the one it came from
	off     uint64 // of the payload
	size    int
	at      time.Time // when it was delivered
	came    time.Time // when it was queued
	sub     string    // Opened: the subprotocol from here on

	reconnects int // Opened: connections before this one that were folded into it
}

// empty reports whether the queue has no entries, sends or calls.
func (q *queue) empty() bool {
	return len(q.entries) == 0 && len(q.sends) == 0 && len(q.calls) == 0 && len(q.unanswered) == 0
}

// waiting reports whether e is still to be delivered.
func (e *entry) waiting() bool { return e.number == 0 && !e.acked }

// unseen reports whether no processor has ever had e.
func (e *entry) unseen() bool { return e.waiting() && e.flags&unixipc.Redelivered == 0 }

// send is a message toward the charger that is not known to be written.
type send struct {
	position uint64 // in the connection's bytes, see Gateway.Send
	asker    Asker
	ref      uint64
	reply    bool // ref is a delivery; there is a RESULT only on failure
}

// payload returns the payload of e, which is valid until the queue changes.
func (q *queue) payload(e *entry) []byte {
	start := int(e.off - q.base)
	return q.buf[start : start+e.size : start+e.size]
}

// push appends an entry, and copies its payload.
func (q *queue) push(e entry, payload []byte) {
	e.off = q.base + uint64(len(q.buf))
	e.size = len(payload)
	q.buf = append(q.buf, payload...)
	q.entries = append(q.entries, e)
}

// pushFront puts an entry without payload before all others.
func (q *queue) pushFront(e entry) {
	e.off = q.base
	if len(q.entries) > 0 {
		e.off = q.entries[0].off
	}
	q.entries = append(q.entries, entry{})
	copy(q.entries[1:], q.entries)
	q.entries[0] = e
}

// trim removes acknowledged entries from the front, and returns how many
// bytes they were charged with.
func (q *queue) trim() (bytes int) {
	n := 0
	for n < len(q.entries) && q.entries[n].acked {
		bytes += q.entries[n].size + entryCost
		n++
	}
	if n > 0 {
		q.cut(n)
	}
	return bytes
}

// presentAgain makes OPENED and CLOSED wait again that a former owner has
// acknowledged ahead of older deliveries: the new owner has not seen them.
func (q *queue) presentAgain() {
	for i := range q.entries {
		if e := &q.entries[i]; e.acked && e.kind != unixipc.Message {
			e.acked = false
			e.flags |= unixipc.Redelivered
		}
	}
}

// cut removes the first n entries.
func (q *queue) cut(n int) {
	rest := len(q.entries) - n
	if rest > maxMoved { // append moves them when it must, and seldom
		clear(q.entries[:n])
		q.entries = q.entries[n:]
	} else {
		copy(q.entries, q.entries[n:])
		clear(q.entries[rest:])
		q.entries = q.entries[:rest]
	}
	if rest == 0 {
		q.base += uint64(len(q.buf))
		q.buf = q.buf[:0]
		return
	}
	if dead := int(q.entries[0].off - q.base); dead >= compactAt && dead > len(q.buf)/2 {
		q.base += uint64(dead)
		q.buf = q.buf[:copy(q.buf, q.buf[dead:])]
	}
}

// maxMoved is how many entries cut moves to the front, to use the memory before them
// again.
const maxMoved = 32

// find returns the entry in flight under a delivery number.
func (q *queue) find(number uint64) *entry {
	for i := range q.entries {
		if e := &q.entries[i]; e.number == number {
			return e
		} else if e.waiting() && !q.held {
			return nil // nothing in flight is behind a waiting one, but after a NACK
		}
	}
	return nil
}

// next returns the first waiting entry; nil when there is none within reach:
// a window is counted from the oldest unacknowledged delivery.
func (q *queue) next(window int) *entry {
	for i := range q.entries[:min(len(q.entries), window)] {
		if e := &q.entries[i]; e.waiting() {
			return e
		}
	}
	return nil
}

const (
	compactAt  = 4 << 10 // bytes given up from which on the rest is moved to the front
	maxSpare   = 64      // queues kept for the next charger
	spareBytes = 4 << 10
	spareLen   = 32
)

// queueOf returns c's queue, a new one if it has none.
func (r *Relay) queueOf(c *Charger) *queue {
	r.touch(c)
	if c.q == nil {
		if n := len(r.spare); n > 0 {
			c.q = r.spare[n-1]
			r.spare = r.spare[:n-1]
		} else {
			c.q = new(queue)
		}
	}
	return c.q
}

// release gives c's queue back once it is empty.
func (r *Relay) release(c *Charger) {
	q := c.q
	if q == nil || !q.empty() || q.held && c.announce {
		return
	}
	r.setLast(c, nil)
	r.delayed.remove(q) // before c.q is gone, which the heap orders by
	c.q = nil
	if len(r.spare) < maxSpare && cap(q.buf) <= spareBytes && cap(q.entries) <= spareLen && cap(q.sends) <= spareLen {
		*q = queue{entries: q.entries, buf: q.buf[:0], sends: q.sends[:0], calls: q.calls}
		r.spare = append(r.spare, q)
	}
}
