package relay

import (
	"encoding/json"
	"time"
	"unique"
	"unsafe"

	"holdfast/unixipc"
)

// Config bounds a relay. Every field is needed.
type Config struct {
	Version string // of the gateway's program, for WELCOME
	Loop    int    // this loop
	Loops   int    // of so many

	MaxMessage    int           // longest message either way, bytes
	QueueMessages int           // deliveries queued for one charger before reading from it stops
	QueueBytes    int           // and their bytes
	BufferBytes   int           // bytes queued for all chargers of the loop
	Window        int           // deliveries in flight on a link that names no window
	MaxWindow     int           // and the most that one may have
	ChargerWindow int           // deliveries in flight of one charger
	AckTimeout    time.Duration // a link with a delivery in flight for longer is hung
	MaxAttempts   int           // a message that outlived so many owners is poison

	CallTimeout    time.Duration // of a CALL that names no limit
	MaxCallTimeout time.Duration // and the longest that one may have
	CallQueue      int           // CALLs of one charger, with the one it is busy with

	Observer Observer // who counts what happens; nil: nobody
}

// Gateway is what a relay asks of the loop around it. conn is the handle that
// came with Opened.
type Gateway interface {
	// Send queues a message for the charger and returns the position of its
	// end for Relay.Sent, or a status other than StatusOK.
	Send(conn uint64, payload []byte, binary bool) (position uint64, status unixipc.Status)
	// Close begins the close handshake on an order; by is "processor" or
	// "operator".
	Close(conn uint64, code int, reason, by string)
	// Pause stops reading from the charger until Resume. A message that is
	// here already may still come.
	Pause(conn uint64)
	Resume(conn uint64)
	// Describe is what OPENED says of a connection.
	Describe(conn uint64) unixipc.OpenedBody
	// LinkReady says that the link has bytes to write, or has ended. It is
	// called once until the bytes are taken.
	LinkReady(l *Link)
	// Forward carries an order, or its result, to the relay of another loop,
	// by calling f there.
	Forward(loop int, f func(*Relay))
	// Poison reports a delivery that is given up.
	Poison(identity string, payload []byte, attempts int)
	// Called reports the end of a CALL that was taken: StatusOK if the charger
	// has answered it.
	Called(identity string, status unixipc.Status, took time.Duration)
}

// Relay is the delivery logic of one loop.
type Relay struct {
	cfg            Config
	gateway        Gateway
	now            time.Time
	chargers       map[string]*Charger
	links          []*Link
	lastLink       uint32
	online         int // chargers that are connected
	bytes          int // queued for all chargers
	delayed        []*Charger
	pausedOnMemory []*Charger // paused because of bytes
	spare          []*queue
	slab           []Charger // not used yet
	slabs          [][]Charger
	staged         []*Charger // adopted, and with something to do at Activate
	tracking       bool       // a hand-over is under way
	changed        []*Charger // while tracking
	unused         []*Charger // forgotten

	deadlines deadlines // of all calls
	questions []*question
	tapped    bool // some link has taps
	watched   bool // some link has watches
}

// Charger is one charger as the relay sees it: known while it is connected, or
// has deliveries unacknowledged.
type Charger struct {
	identity    string
	subprotocol unique.Handle[string]
	conn        uint64 // valid while connected
	q           *queue // nil: nothing waits

	owner *Link

	number   uint64 // of the last delivery
	session  uint32 // counts its connections
	inFlight uint16
	attempts uint8 // owners that the first entry of the queue has outlived

	connected bool
	paused    bool
	announce  bool // the owner is to be told OPENED (moved) before anything else
	moving    bool // nothing more is delivered until nothing is in flight; then it moves
	ready     bool // in the owner's ready list
	changed   bool // in Relay.changed
}

// New makes a relay without links or chargers.
func New(cfg Config, g Gateway) *Relay {
	if cfg.Observer == nil {
		cfg.Observer = unobserved{}
	}
	return &Relay{cfg: cfg, gateway: g, chargers: make(map[string]*Charger)}
}

// SetNow tells the time; it holds for all calls until the next SetNow.
func (r *Relay) SetNow(t time.Time) { r.now = t }

// Identity of the charger.
func (c *Charger) Identity() string { return c.identity }

// hashString has no seed: two processes agree about it.
func hashString(s string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a, then mixed: its high bits are weak
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

// mix is the finalizer of SplitMix64.
func mix(h uint64) uint64 {
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	return h ^ h>>31
}

// LoopOf is the loop that a charger belongs to.
func LoopOf(identity string, loops int) int { return int(hashString(identity) >> 1 % uint64(loops)) }

// Connected returns the handle of a charger's connection.
func (r *Relay) Connected(identity string) (conn uint64, ok bool) {
	if c := r.chargers[identity]; c != nil && c.connected {
		return c.conn, true
	}
	return 0, false
}

// Opened tells that a charger has connected. An earlier connection of the same
// identity must have been told Closed.
func (r *Relay) Opened(identity, subprotocol string, conn uint64) *Charger {
	c := r.chargers[identity]
	if c == nil {
		c = r.newCharger()
		*c = Charger{identity: identity, subprotocol: unique.Make(subprotocol)}
		r.chargers[identity] = c
	} else if c.connected {
		panic("relay: charger opened twice: " + identity)
	}
	c.conn, c.connected, c.paused = conn, true, false
	c.session++
	r.online++
	opened := r.gateway.Describe(conn)
	body, _ := json.Marshal(opened) // plain fields: cannot fail
	r.enqueue(c, entry{kind: unixipc.Opened, sub: subprotocol}, body)
	if c.owner == nil {
		r.assignOwner(c)
	}
	r.reportSeen(c, unixipc.SeenBody{Event: unixipc.SeenOpened, OpenedBody: &opened})
	return c
}

// Message takes a complete message of a charger. The answer to a CALL goes to
// whoever waits for it; anything else stays the relay's until a processor
// acknowledges it.
func (r *Relay) Message(c *Charger, payload []byte, binary bool) {
	var flags unixipc.Flags
	if binary {
		flags = unixipc.Binary
	}
	r.tap(c, flags, payload)
	taken, late := false, false
	if !binary && c.mayAnswer() {
		// The only place that parses the header of a message on its way:
		// without a call to answer, nothing depends on it.
		if kind, id, ok := scanMessage(payload); ok && (kind == ocppCallResult || kind == ocppCallError) {
			taken, late = r.takeAnswer(c, id, payload)
		}
	}
	if late {
		flags |= unixipc.Late
	}
	if !taken {
		r.enqueue(c, entry{kind: unixipc.Message, flags: flags}, payload)
	}
	r.sendNextCall(c)
	r.release(c)
}

// toCharger sends a message to a charger; see Gateway.Send.
func (r *Relay) toCharger(c *Charger, payload []byte, binary bool) (position uint64, status unixipc.Status) {
	position, status = r.gateway.Send(c.conn, payload, binary)
	if status == unixipc.StatusOK {
		flags := unixipc.ToCharger
		if binary {
			flags |= unixipc.Binary
		}
		r.tap(c, flags, payload)
	}
	return position, status
}

// Sent tells that everything toward the charger up to position is written.
func (r *Relay) Sent(c *Charger, position uint64) {
	q := c.q
	if q == nil {
		return
	}
	r.touch(c)
	n := 0
	for ; n < len(q.sends) && q.sends[n].position <= position; n++ {
		if s := &q.sends[n]; !s.reply {
			r.sendResult(s.asker, 0, s.ref, c.identity, unixipc.ResultBody{Status: unixipc.StatusOK})
		}
	}
	q.sends = q.sends[:copy(q.sends, q.sends[n:])]
	r.release(c)
}

// Closed tells that the charger's connection has ended. c is the relay's own
// from here on.
func (r *Relay) Closed(c *Charger, why unixipc.ClosedBody) {
	r.touch(c)
	c.connected, c.paused = false, false
	r.online--
	if q := c.q; q != nil {
		for _, s := range q.sends {
			r.sendResult(s.asker, s.flags(), s.ref, c.identity, unixipc.ResultBody{Status: unixipc.StatusClosed, Detail: why.Reason})
		}
		q.sends = q.sends[:0]
	}
	r.endCalls(c, why.Reason)
	body, _ := json.Marshal(why)
	r.enqueue(c, entry{kind: unixipc.Closed}, body)
	r.reportSeen(c, unixipc.SeenBody{Event: unixipc.SeenClosed, ClosedBody: &why})
}

func (s *send) flags() unixipc.Flags {
	if s.reply {
		return unixipc.ForDelivery
	}
	return 0
}

// enqueue appends to a charger's deliveries, and stops reading from it at the
// bounds.
func (r *Relay) enqueue(c *Charger, e entry, payload []byte) {
	q := r.queueOf(c)
	e.session, e.came = c.session, r.now
	q.push(e, payload)
	r.bytes += len(payload)
	r.offer(c)
	if c.connected && !c.paused && c.q != nil && r.mustPause(c) {
		c.paused = true
		r.gateway.Pause(c.conn)
	}
}

// mustPause tells whether reading from c must stop.
func (r *Relay) mustPause(c *Charger) bool {
	if len(c.q.entries) >= r.cfg.QueueMessages || len(c.q.buf) >= r.cfg.QueueBytes {
		return true
	}
	if r.bytes >= r.cfg.BufferBytes {
		r.pausedOnMemory = append(r.pausedOnMemory, c)
		return true
	}
	return false
}

// tryResume resumes reading from c if its queue, and all queues, allow.
func (r *Relay) tryResume(c *Charger) {
	if !c.paused || r.bytes >= r.cfg.BufferBytes {
		return
	}
	if q := c.q; q != nil && (len(q.entries) > r.cfg.QueueMessages/2 || len(q.buf) > r.cfg.QueueBytes/2) {
		return
	}
	r.touch(c)
	c.paused = false
	r.gateway.Resume(c.conn)
}

// released is called when n bytes have left the queues.
func (r *Relay) released(c *Charger, n int) {
	r.bytes -= n
	r.tryResume(c)
	if len(r.pausedOnMemory) == 0 || r.bytes > r.cfg.BufferBytes/8*7 {
		return
	}
	crowded := r.pausedOnMemory
	r.pausedOnMemory = nil
	for _, c := range crowded {
		r.tryResume(c)
	}
}

// forget lets go of a charger of which nothing is left.
func (r *Relay) forget(c *Charger) {
	if c.connected || c.q != nil {
		return
	}
	r.disown(c)
	delete(r.chargers, c.identity)
	r.unused = append(r.unused, c)
}

// newCharger takes memory for a charger from a slab: they are many, small, and
// stay.
func (r *Relay) newCharger() *Charger {
	if n := len(r.unused); n > 0 {
		c := r.unused[n-1]
		r.unused = r.unused[:n-1]
		return c
	}
	if len(r.slab) == 0 {
		r.slab = make([]Charger, 32<<10/unsafe.Sizeof(Charger{})) // the allocator's largest size class
		r.slabs = append(r.slabs, r.slab)
	}
	c := &r.slab[0]
	r.slab = r.slab[1:]
	return c
}

// Chargers is the number of chargers known, connected or not.
func (r *Relay) Chargers() int { return len(r.chargers) }

// Queued is the bytes queued for all chargers.
func (r *Relay) Queued() int { return r.bytes }
