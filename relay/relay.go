package relay

import (
	"encoding/json"
	"time"
	"unique"

	"holdfast/unixipc"
)

// Theory of operation
//
// A relay is a state machine. Its inputs are the exported methods; its outputs
// are the calls of Gateway and the bytes of each Link. All inputs come from one
// goroutine, and each runs to its end before the next one. The relay reads no
// clock: time is what SetNow has set.
//
// There are two directions.
//
// From a charger: Opened, Message and Closed append an entry to the charger's
// queue (enqueue). offer puts the charger in the line of its owner, pump takes
// chargers from that line in turn, and deliver sends one entry. An entry is
//
//	waiting ---deliver---> in flight ---ACK---> acknowledged ---trim---> gone
//	   ^                       |
//	   +----NACK, takeBack-----+
//
// Entries may be acknowledged in any order, but leave the queue from the front.
// An entry at the front that has outlived MaxAttempts owners is given up
// (poison).
//
// Toward a charger: SEND, and the reply in an ACK, go to Gateway.Send at once
// and wait in queue.sends until Sent confirms that they are written. A CALL
// waits in queue.calls until the charger is free (sendNextCall), and ends with
// the charger's answer (takeAnswer), a time-out (overdue), or the end of the
// connection (endCalls). Every SEND, CALL and CLOSE ends in one RESULT, while
// its link is there. A reply in an ACK has a RESULT only if it failed.
//
// Who may change what:
//
//   - Charger.owner: own and disown, when assignOwner decides so. Only the end
//     of a link takes chargers from it without asking.
//   - Charger.moving: assignOwner and own. nack and acknowledged may set it
//     before they call assignOwner.
//   - Charger.announce: own sets it, deliver and disown clear it, and nack sets
//     it again if the announcement is given back.
//   - inFlight of a charger and of its link: deliver counts up; endFlight and
//     takeBack count down. Both counters change together.
//   - Charger.paused: review; a new connection, and the end of one, clear it.
//   - Charger.pool, memory.used, memory.line: memory.go.
//   - Link.ended: end, once.
//   - Everything at once: restore and unstage, for a hand-over.
//
// Whatever changes what AppendCharger encodes calls touch first, so that a
// hand-over that is under way sends that charger again.

// Config bounds a relay. Every field but Observer is required.
type Config struct {
	Version  string // of the gateway's program, for WELCOME
	Instance string // names the start of the gateway, for WELCOME; upgrades keep it
	Loop     int    // index of this loop, from 0
	Loops    int    // number of loops

	Subprotocols []string // that chargers may choose from

	MaxMessage    int           // longest message either way, bytes
	QueueMessages int           // deliveries queued for one charger before reading from it stops
	QueueBytes    int           // bytes of those deliveries before reading stops
	BufferBytes   int           // bytes queued for all chargers of the loop
	Window        int           // deliveries in flight on a link that names no window
	MaxWindow     int           // largest window of a link
	ChargerWindow int           // deliveries in flight of one charger
	AckTimeout    time.Duration // a link with a delivery in flight for longer is hung
	LinkBacklog   int           // bytes unwritten to a link from which on a RESULT for it ends it
	MaxAttempts   int           // a message that has outlived so many owners is given up

	CallTimeout    time.Duration // time limit of a CALL that names none
	MaxCallTimeout time.Duration // longest time limit of a CALL
	CallQueue      int           // CALLs to one charger, including the one that it has

	Observer Observer // counts deliveries; nil: nothing is counted
}

// Gateway is what a relay asks of the loop around it. conn is the handle that
// was passed to Opened.
type Gateway interface {
	// Send queues a message for the charger and returns the position of its
	// end for Relay.Sent, or a status other than StatusOK.
	Send(conn uint64, payload []byte, binary bool) (position uint64, status unixipc.Status)
	// Close begins the end of the connection on an order, whose code is 0 only if the
	// connection is to be dropped; by is "processor" or "operator".
	Close(conn uint64, order unixipc.CloseBody, by string)
	// Pause stops reading from the charger until Resume. Message may still be
	// called for what was read before.
	Pause(conn uint64)
	Resume(conn uint64)
	// Describe returns the body of OPENED for a connection.
	Describe(conn uint64) unixipc.OpenedBody
	// LinkReady reports that the link has bytes to write, or has ended. It is
	// not called again before Relay.Wrote.
	LinkReady(l *Link)
	// Forward carries an order, or its result, to the relay of another loop,
	// by calling f there.
	Forward(loop int, f func(*Relay))
	// Poison reports a delivery that was given up after so many attempts.
	Poison(identity string, payload []byte, attempts int)
	// GivenBackAgain reports a charger whose oldest delivery was given back 10, 100, 1000
	// times in a row, at last by the processor. It has waited for so long.
	GivenBackAgain(identity, processor string, times int, oldest time.Duration)
	// NotTaken reports messages that came when the charger's queue was full and its
	// connection ended: they were not queued.
	NotTaken(identity string, messages int)
	// Called reports the end of a CALL that was accepted. StatusOK: the charger
	// has answered it.
	Called(identity string, status unixipc.Status, took time.Duration)
}

// Relay is the delivery logic of one loop.
type Relay struct {
	// The loop and its configuration.
	cfg     Config
	gateway Gateway
	now     time.Time // see SetNow

	// Chargers.
	chargers map[string]*Charger // all that are known, by identity
	slots    slots               // their memory
	online   int                 // number of connected chargers
	notes    map[*Charger][]byte // of those that have one; see note.go
	delayed  delays              // held, until the delay is over
	ranking  uint32              // counts the changes of what rank depends on
	sweep    sweep               // has chargers follow them

	// Links.
	links    []*Link // joined and not ended
	ended    []*Link // ended, and not torn down yet; see ending.go
	busy     string  // see asserting
	lastLink uint32  // highest id ever used
	tapped   bool    // some link has taps
	watched  bool    // some link has watches

	// Memory for messages.
	memory memory
	spare  []*queue // empty, for reuse

	// Calls toward chargers.
	deadlines deadlines                    // of all calls
	asked     map[Asker]map[*call]struct{} // the same, by who waits for the answer

	// Questions to processors.
	questions []*question // AUTHORIZE without a VERDICT

	// Hand-over to another process, and from one.
	tracking bool       // a hand-over is under way
	changed  []*Charger // changed since, while tracking
	item     []byte     // for AppendCharger
	saving   bool       // what changes is written down
	unsaved  []*Charger // changed since TakeUnsaved
	staging  bool       // before Activate: nothing is read or written
	staged   []*Charger // adopted, with work to do in Activate
}

// Charger is one charger as the relay sees it. It is known while it is
// connected or has deliveries that are not acknowledged.
//
//	           Opened             Closed              last ACK
//	unknown ------------> connected ------------> offline ------------> forgotten
//	                          ^                      |                (is unknown)
//	                          +--------Opened--------+
//
// Closed always queues a CLOSED, so an offline charger has something to
// deliver. The other states combine with connected and offline:
//
//	no owner ----own----> owned ----assignOwner, NACK----> moving
//	    ^                 |   ^                               |
//	    |                 |   +----own, or no move needed-----+
//	    +-----disown------+
//
//	not held ----NACK----> held (until notBefore) ----deliver----> not held
//
//	reading ----review, at a limit----> paused ----review----> reading
//
// What they mean:
//
//   - owner: the link that gets all its deliveries. Without one, they wait.
//   - moving: nothing is delivered until nothing is in flight. Then it gets
//     another owner, or keeps this one if that is still the right one.
//   - held: a delivery was given back. It is made again alone, not before
//     notBefore, and before anything else of the charger.
//   - paused: the gateway does not read from it. Only a connected charger can
//     be paused.
type Charger struct {
	identity    string
	subprotocol unique.Handle[string]
	conn        uint64 // valid while connected
	q           *queue // nil: nothing waits

	owner *Link // nil: none

	number   uint64 // of the last delivery
	session  uint32 // number of its connections so far
	ranked   uint32 // Relay.ranking when its owner was assigned
	inFlight uint16 // deliveries not acknowledged
	attempts uint8  // owners that the first entry of the queue has outlived

	paused    pauseReason
	pool      pool // that its queue is charged to
	connected bool
	inLine    uint8 // bit p: it stands in memory.line[p]
	announce  bool  // the owner gets OPENED (moved) before anything else
	moving    bool
	ready     bool // in the owner's line, Link.ready
	flying    bool // in the owner's Link.flying
	changed   bool // in Relay.changed
	unsaved   bool // in Relay.unsaved
}

// New returns a relay without links or chargers.
func New(cfg Config, g Gateway) *Relay {
	if cfg.Observer == nil {
		cfg.Observer = unobserved{}
	}
	return &Relay{cfg: cfg, gateway: g, chargers: make(map[string]*Charger), asked: make(map[Asker]map[*call]struct{})}
}

// SetNow sets the time for all calls until the next SetNow.
func (r *Relay) SetNow(t time.Time) { r.now = t }

// Identity returns the charger's identity.
func (c *Charger) Identity() string { return c.identity }

// hashString has no seed, so that two processes compute the same hash.
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

// LoopOf returns the index of the loop that a charger belongs to.
func LoopOf(identity string, loops int) int { return int(hashString(identity) >> 1 % uint64(loops)) }

// Connected returns the handle of a charger's connection.
func (r *Relay) Connected(identity string) (conn uint64, ok bool) {
	if c := r.chargers[identity]; c != nil && c.connected {
		return c.conn, true
	}
	return 0, false
}

// OfflineCount returns how many chargers are known and not connected: they have left
// something that no processor has taken yet.
func (r *Relay) OfflineCount() int { return len(r.chargers) - r.online }

// Opened records that a charger has connected. Closed must have been called for
// an earlier connection of the same identity. note is what the VERDICT left; nil: none.
func (r *Relay) Opened(identity, subprotocol string, conn uint64, note []byte) *Charger {
	c := r.chargers[identity]
	if c == nil {
		c = r.newCharger()
		*c = Charger{identity: identity, subprotocol: unique.Make(subprotocol), pool: parked}
		r.chargers[identity] = c
	} else if c.connected {
		panic("relay: charger opened twice: " + identity)
	} else {
		r.visit(c)
	}
	c.conn, c.connected, c.paused = conn, true, reading
	c.session++
	r.online++
	opened := r.gateway.Describe(conn)
	opened.Reconnects = r.fold(c)
	r.setLast(c, nil)
	r.setNote(c, note)
	body, _ := json.Marshal(opened) // plain fields: cannot fail
	r.enqueue(c, entry{kind: unixipc.Opened, sub: subprotocol, reconnects: opened.Reconnects}, body)
	if c.owner == nil {
		r.assignOwner(c)
	}
	r.reportSeen(c, unixipc.SeenBody{Event: unixipc.SeenOpened, OpenedBody: &opened})
	return c
}

// Message takes a complete message of a charger. The answer to a CALL goes to
// the link that waits for it. Anything else is kept until a processor
// acknowledges it. The payload is copied. flags are Binary and Malformed. leaving: the
// connection ends, and the message was received while reading was paused.
func (r *Relay) Message(c *Charger, payload []byte, flags unixipc.Flags, leaving bool) {
	r.enter("Message")
	defer r.leave()
	r.visit(c)
	r.tap(c, flags, payload)
	taken, late := false, false
	if c.mayAnswer() {
		// The header is parsed here only, and only when a call is open:
		// otherwise nothing depends on it. Some firmware answers in binary.
		if kind, id, ok := scanMessage(payload); ok && (kind == ocppCallResult || kind == ocppCallError) {
			taken, late = r.takeAnswer(c, id, flags, payload)
		}
	}
	if late {
		flags |= unixipc.Late
	}
	switch {
	case taken:
	case leaving && r.overfull(c):
		c.q.notTaken++
	default:
		r.enqueue(c, entry{kind: unixipc.Message, flags: flags}, payload)
	}
	r.sendNextCall(c)
	r.release(c)
}

// toCharger sends a message to a connected charger; see Gateway.Send.
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

// Sent records that everything toward the charger up to position is written.
func (r *Relay) Sent(c *Charger, position uint64) {
	r.enter("Sent")
	defer r.leave()
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

// Closed records that the charger's connection has ended. The caller must not
// use c afterwards.
func (r *Relay) Closed(c *Charger, why unixipc.ClosedBody) {
	r.enter("Closed")
	defer r.leave()
	r.touch(c)
	c.connected, c.paused = false, reading
	r.online--
	if q := c.q; q != nil {
		for _, s := range q.sends {
			r.sendResult(s.asker, s.flags(), s.ref, c.identity, unixipc.ResultBody{Status: unixipc.StatusClosed, Detail: why.Reason})
		}
		q.sends = q.sends[:0]
	}
	r.endCalls(c, why.Reason)
	if c.q != nil && c.q.notTaken > 0 {
		why.NotTaken, c.q.notTaken = c.q.notTaken, 0
		r.gateway.NotTaken(c.identity, why.NotTaken)
	}
	last, _ := json.Marshal(r.gateway.Describe(c.conn))
	r.setLast(c, last)
	body, _ := json.Marshal(why)
	r.enqueue(c, entry{kind: unixipc.Closed}, body)
	r.reportSeen(c, unixipc.SeenBody{Event: unixipc.SeenClosed, ClosedBody: &why})
}

// flags returns the flags of a RESULT about s.
func (s *send) flags() unixipc.Flags {
	if s.reply {
		return unixipc.ForDelivery
	}
	return 0
}

// enqueue appends to a charger's deliveries. It stops reading from the charger
// at the limits of Config.
func (r *Relay) enqueue(c *Charger, e entry, payload []byte) {
	q := r.queueOf(c)
	e.session, e.came = c.session, r.now
	q.push(e, payload)
	r.charge(c, len(payload)+entryCost)
	r.offer(c)
	r.review(c)
}

// forget removes c if it is offline and has nothing queued.
func (r *Relay) forget(c *Charger) {
	if c.connected || c.q != nil {
		return
	}
	r.touch(c)
	r.disown(c)
	delete(r.chargers, c.identity)
	r.recycle(c)
}

// Chargers returns the number of known chargers, connected or not.
func (r *Relay) Chargers() int { return len(r.chargers) }

// Queued returns the bytes that all queues take.
func (r *Relay) Queued() int { return r.memory.used[moving] + r.memory.used[parked] }
