package relay

import "holdfast/unixipc"

// Theory of operation
//
// What is queued for processors is bounded twice: for each charger by
// QueueMessages and QueueBytes, and for all of them by BufferBytes. At a bound the
// gateway stops reading from a charger; TCP pushes back, and nothing is lost.
//
// The memory of all is in two pools. parked holds what nobody takes: the queues of
// chargers without an owner, and those whose deliveries are delayed by a NACK.
// moving holds the queues of all others, and the CALLs that wait for a charger.
// parked may fill three quarters of BufferBytes, and moving what parked leaves, so
// that chargers whom nobody serves never take the last room of those who are
// served.
//
// A full pool still lets each charger have one message: a charger with an empty
// queue is always read. So memory is bounded by BufferBytes and one message of
// each charger, and whoever is paused waits for something that comes:
//
//	pausedByQueue    its own queue is down to half of its bound
//	pausedByMoving   its own queue is empty, or its pool has room
//	pausedByParked   the same; or a link joins, or the delay is over, and it
//	                 belongs to the other pool
//
// review is called after anything that these depend on has changed for a charger.
// Those that wait for room stand in the line of their pool, once (memory.line), and
// wakeLine reviews the first of them whenever there is room. A charger that has
// changed pools may still stand in the other line; there it is passed over.

// pool is a share of the memory for messages.
type pool uint8

const (
	moving pool = iota
	parked
	pools
)

// pauseReason is why a charger is not read from.
type pauseReason uint8

const (
	reading pauseReason = iota // it is
	pausedByQueue
	pausedByMoving // in line for room in this pool
	pausedByParked
)

// String returns the reason as operators see it.
func (p pauseReason) String() string {
	return [...]string{"", "its own queue is full", "all queues are full", "the queues that nobody takes are full"}[p]
}

// reason returns the reason that stands for a full pool.
func (p pool) reason() pauseReason { return pausedByMoving + pauseReason(p) }

const (
	// entryCost is what an entry of a queue takes besides its payload, bytes.
	entryCost = 160
	// lineSlice is how many chargers are reviewed at once when there is room.
	lineSlice = 64
)

// memory is what the queues of all chargers take.
type memory struct {
	used [pools]int        // bytes
	line [pools][]*Charger // in the order in which they were paused; see Charger.inLine
}

// limit returns how many bytes a pool may hold.
func (r *Relay) limit(p pool) int {
	most := r.cfg.BufferBytes / 4 * 3
	if p == moving {
		return r.cfg.BufferBytes - min(r.memory.used[parked], most)
	}
	return most
}

// hasRoom reports whether those in line for p can be read again. It begins below
// the limit, so that they are not paused at once.
func (r *Relay) hasRoom(p pool) bool { return r.memory.used[p] <= r.limit(p)/8*7 }

// charge records that c's queue has grown by n bytes.
func (r *Relay) charge(c *Charger, n int) {
	c.q.cost += n
	r.memory.used[c.pool] += n
}

// released records that c's queue has shrunk by n bytes.
func (r *Relay) released(c *Charger, n int) {
	c.q.cost -= n
	r.memory.used[c.pool] -= n
	r.review(c)
	r.wakeLine()
}

// setLast keeps body, which counts as memory of c's queue.
func (r *Relay) setLast(c *Charger, body []byte) {
	if c.q == nil && body == nil {
		return
	}
	q := r.queueOf(c)
	n := len(body) - len(q.last)
	q.last = body
	switch {
	case n > 0:
		r.charge(c, n)
	case n < 0:
		r.released(c, -n)
	}
}

// overfull reports whether a message is not taken that c had sent before its
// connection ended: what is queued already is twice the bound, or a quarter beyond
// the bound of all. A charger that flaps would otherwise fill the memory with what
// it sends along with each handshake.
func (r *Relay) overfull(c *Charger) bool {
	q := c.q
	return q != nil && (len(q.entries) >= 2*r.cfg.QueueMessages || len(q.buf) >= 2*r.cfg.QueueBytes ||
		len(q.entries) > 0 && r.Queued() >= r.cfg.BufferBytes/4*5)
}

// fold removes c's last connection from its queue, if no processor has seen anything
// of it and it brought no message. It returns how many connections the OPENED of the
// next one stands for, besides its own.
func (r *Relay) fold(c *Charger) (reconnects int) {
	q := c.q
	if q == nil || len(q.entries) < 2 {
		return 0
	}
	i := len(q.entries) - 2
	opened, closed := &q.entries[i], &q.entries[i+1]
	if opened.kind != unixipc.Opened || opened.moved || !opened.unseen() || closed.kind != unixipc.Closed || !closed.unseen() {
		return 0
	}
	reconnects = opened.reconnects + 1
	cost := opened.size + closed.size + 2*entryCost
	q.buf = q.buf[:opened.off-q.base]
	clear(q.entries[i:])
	q.entries = q.entries[:i]
	r.touch(c)
	r.released(c, cost)
	return reconnects
}

// releasedCall records that a CALL of n bytes waits no longer.
func (r *Relay) releasedCall(n int) {
	r.memory.used[moving] -= n
	r.wakeLine()
}

// poolNow returns the pool that c's queue belongs to.
func (c *Charger) poolNow() pool {
	if c.owner == nil || c.q != nil && c.q.held {
		return parked
	}
	return moving
}

// repool charges c's queue to the pool that it belongs to now.
func (r *Relay) repool(c *Charger) {
	to := c.poolNow()
	if to == c.pool {
		return
	}
	if c.q != nil {
		r.memory.used[c.pool] -= c.q.cost
		r.memory.used[to] += c.q.cost
	}
	c.pool = to
	r.review(c)
	r.wakeLine()
}

// fullFor returns why c must not be read from. One that is paused already goes on
// only when there is more room than it was paused for.
func (r *Relay) fullFor(c *Charger) pauseReason {
	q := c.q
	if q == nil || len(q.entries) == 0 {
		return reading
	}
	messages, bytes := r.cfg.QueueMessages, r.cfg.QueueBytes
	if c.paused != reading {
		messages, bytes = messages/2+1, bytes/2+1
	}
	switch {
	case len(q.entries) >= messages || len(q.buf) >= bytes:
		return pausedByQueue
	case r.memory.used[c.pool] >= r.limit(c.pool), c.paused == c.pool.reason() && !r.hasRoom(c.pool):
		return c.pool.reason()
	}
	return reading
}

// review pauses or resumes c, or notes that it waits for something else.
func (r *Relay) review(c *Charger) {
	if !c.connected || r.staging {
		return
	}
	was, is := c.paused, r.fullFor(c)
	if is != was {
		r.touch(c)
		c.paused = is
	}
	if is > pausedByQueue {
		r.lineUp(c, pool(is-pausedByMoving))
	}
	switch {
	case was == reading && is != reading:
		r.gateway.Pause(c.conn)
	case was != reading && is == reading:
		r.gateway.Resume(c.conn)
	}
}

// lineUp puts c in line for room in p, if it does not stand there already.
func (r *Relay) lineUp(c *Charger, p pool) {
	if c.inLine&(1<<p) == 0 {
		c.inLine |= 1 << p
		r.memory.line[p] = append(r.memory.line[p], c)
	}
}

// wakeLine reviews those who wait for room, while there is room.
func (r *Relay) wakeLine() {
	for p := range pools {
		for n := 0; n < lineSlice && len(r.memory.line[p]) > 0 && r.hasRoom(p); n++ {
			c := r.memory.line[p][0]
			r.memory.line[p] = r.memory.line[p][1:]
			c.inLine &^= 1 << p
			if c.identity == "" {
				r.recycle(c)
				continue
			}
			r.review(c)
		}
	}
}

// canWake reports whether wakeLine has more to do.
func (r *Relay) canWake() bool {
	for p := range pools {
		if len(r.memory.line[p]) > 0 && r.hasRoom(p) {
			return true
		}
	}
	return false
}
