package proctest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"holdfast/unixipc"
)

// ErrNotWritten reports that a processor's reply did not reach the charger: its
// connection had been closed, or FailReplies was called.
var ErrNotWritten = errors.New("proctest: reply was not written")

// Order is something a processor sent by itself, not as a reply.
type Order struct {
	Payload []byte     // of a SEND
	Binary  bool       // of a SEND
	Close   *CloseBody // of a CLOSE, else nil
}

// Delivery is an OPENED, MESSAGE or CLOSED on its way to a processor and back.
type Delivery struct {
	gw         *Gateway
	kind       unixipc.Type
	flags      unixipc.Flags
	payload    []byte // nil of an OPENED, which says how things are when it is sent
	connection int    // of its charger, counted
	reconnects int    // of an OPENED
	moved      bool

	ref      uint64 // of the last attempt
	inFlight bool
	attempts int

	acked      bool
	reply      []byte
	replyFlags unixipc.Flags
	err        error
}

// Reply waits for the acknowledgement and returns the reply that came with it,
// nil if none.
func (d *Delivery) Reply(ctx context.Context) ([]byte, error) {
	err := d.gw.wait(ctx, fmt.Sprintf("the ACK of %v %q", d.kind, d.payload), func() bool { return d.acked })
	if err != nil {
		return nil, err
	}
	return d.reply, d.err
}

// Attempts returns how often the delivery was sent to a processor so far.
func (d *Delivery) Attempts() int {
	d.gw.mu.Lock()
	defer d.gw.mu.Unlock()
	return d.attempts
}

// BinaryReply reports whether the reply was to be a binary message.
func (d *Delivery) BinaryReply() bool {
	d.gw.mu.Lock()
	defer d.gw.mu.Unlock()
	return d.replyFlags&unixipc.Binary != 0
}

// charger is the gateway's side of a charger: its line of deliveries. gw.mu
// guards it.
type charger struct {
	gw          *Gateway
	identity    string
	subprotocol string
	open        bool
	connections int
	opened      time.Time
	reconnects  int    // earlier connections that this one reports
	note        []byte // left with its connection
	verdictNote []byte // left by the last verdict, for the next connection

	line    []*Delivery // unacknowledged, in order
	lastRef uint64
	owner   *link
	held    *time.Timer // after a NACK: no deliveries until it fires

	orders  []Order
	answer  unixipc.Status // to orders; "" follows from open
	replies unixipc.Status // of replies; the same
	busy    sync.Mutex     // one CALL at a time; taken before gw.mu
}

func (gw *Gateway) charger(identity string) *charger {
	ch := gw.chargers[identity]
	if ch == nil {
		ch = &charger{gw: gw, identity: identity}
		gw.chargers[identity] = ch
	}
	return ch
}

func (gw *Gateway) connected(identity string) *charger {
	ch := gw.chargers[identity]
	if ch == nil || !ch.open {
		panic("proctest: charger " + identity + " is not connected")
	}
	return ch
}

// Open connects a charger. Opening one that is connected panics. A connection
// of it that has ended with no message, and that no processor has seen, is
// reported by this one: its deliveries are acknowledged.
func (gw *Gateway) Open(identity, subprotocol string) *Delivery {
	gw.mu.Lock()
	defer gw.mu.Unlock()
	ch := gw.charger(identity)
	if ch.open {
		panic("proctest: charger " + identity + " is connected already")
	}
	ch.open, ch.subprotocol, ch.opened = true, subprotocol, time.Now()
	ch.note, ch.verdictNote = ch.verdictNote, nil
	ch.connections++
	ch.fold()
	d := ch.add(unixipc.Opened, 0, nil)
	ch.seen(unixipc.SeenOpened, nil)
	return d
}

// Message lets a charger send a text message. Like BinaryMessage, Call and
// CloseCharger it panics if the charger is not connected.
func (gw *Gateway) Message(identity string, payload []byte) *Delivery {
	gw.mu.Lock()
	defer gw.mu.Unlock()
	return gw.connected(identity).add(unixipc.Message, 0, payload)
}

// BinaryMessage lets a charger send a binary message.
func (gw *Gateway) BinaryMessage(identity string, payload []byte) *Delivery {
	gw.mu.Lock()
	defer gw.mu.Unlock()
	return gw.connected(identity).add(unixipc.Message, unixipc.Binary, payload)
}

// MalformedMessage lets a charger send a text message that is not UTF-8, to a gateway
// with -lenient=text.
func (gw *Gateway) MalformedMessage(identity string, payload []byte) *Delivery {
	gw.mu.Lock()
	defer gw.mu.Unlock()
	return gw.connected(identity).add(unixipc.Message, unixipc.Binary|unixipc.Malformed, payload)
}

// Call sends a text message and waits for the reply, nil if there was none.
func (gw *Gateway) Call(ctx context.Context, identity string, payload []byte) ([]byte, error) {
	return gw.Message(identity, payload).Reply(ctx)
}

// CloseCharger ends the connection of a charger, from the charger's side.
func (gw *Gateway) CloseCharger(identity string, code int, reason string) *Delivery {
	gw.mu.Lock()
	defer gw.mu.Unlock()
	return gw.connected(identity).close(code, reason, "charger")
}

// Order waits for the next order to a charger that no call of Order has
// returned yet.
func (gw *Gateway) Order(ctx context.Context, identity string) (o Order, err error) {
	err = gw.wait(ctx, "an order to "+identity, func() bool {
		ch := gw.charger(identity)
		if len(ch.orders) == 0 {
			return false
		}
		o, ch.orders = ch.orders[0], ch.orders[1:]
		return true
	})
	return o, err
}

// Note returns what a processor has left with the charger's connection; nil: nothing.
func (gw *Gateway) Note(identity string) []byte {
	gw.mu.Lock()
	defer gw.mu.Unlock()
	return slices.Clone(gw.charger(identity).note)
}

// Answer makes all further orders to a charger fail with a status, or, with "",
// no longer. They are not recorded.
func (gw *Gateway) Answer(identity string, status Status) {
	gw.mu.Lock()
	defer gw.mu.Unlock()
	gw.charger(identity).answer = status
}

// FailReplies has no further reply to a charger written, as if with a status, or,
// with "", no longer.
func (gw *Gateway) FailReplies(identity string, status Status) {
	gw.mu.Lock()
	defer gw.mu.Unlock()
	gw.charger(identity).replies = status
}

// The rest is called with gw.mu held.

func (ch *charger) openedBody() unixipc.OpenedBody {
	return unixipc.OpenedBody{
		Subprotocol: ch.subprotocol, Path: "/ocpp/", Remote: "192.0.2.7:40112", Opened: ch.opened,
	}
}

// fold takes a connection that nobody has seen out of the line: its OPENED with
// nothing but CLOSED behind it.
func (ch *charger) fold() {
	unseen := len(ch.line) == 2 && ch.line[0].kind == unixipc.Opened && ch.line[1].kind == unixipc.Closed &&
		!ch.line[0].moved && ch.line[0].attempts == 0
	if !unseen {
		ch.reconnects = 0
		return
	}
	ch.line[0].acked, ch.line[1].acked = true, true
	ch.line = nil
	ch.reconnects++
	ch.gw.change()
}

// lose forgets the charger with all that is unacknowledged.
func (ch *charger) lose() {
	for _, d := range ch.line {
		d.acked, d.inFlight, d.err = true, false, ErrLost
	}
	if ch.held != nil {
		ch.held.Stop()
	}
	ch.open, ch.owner, ch.line, ch.held, ch.lastRef, ch.reconnects = false, nil, nil, nil, 0, 0
}

func (ch *charger) close(code int, reason, by string) *Delivery {
	ch.open = false
	body := unixipc.ClosedBody{Code: code, Reason: reason, By: by}
	ch.seen(unixipc.SeenClosed, &body)
	return ch.add(unixipc.Closed, 0, mustJSON(body))
}

func (ch *charger) add(kind unixipc.Type, flags unixipc.Flags, payload []byte) *Delivery {
	d := &Delivery{gw: ch.gw, kind: kind, flags: flags, payload: payload, connection: ch.connections, reconnects: ch.reconnects}
	ch.line = append(ch.line, d)
	ch.pump()
	return d
}

// pump delivers what may be delivered. A charger moves only when nothing of its
// is in flight; a new owner first gets an OPENED.
func (ch *charger) pump() {
	if ch.held != nil || len(ch.line) == 0 {
		return
	}
	if ch.owner == nil {
		if ch.owner = ch.gw.choose(ch); ch.owner == nil {
			return
		}
		if ch.line[0].kind != unixipc.Opened {
			moved := &Delivery{gw: ch.gw, kind: unixipc.Opened, moved: true, connection: ch.line[0].connection}
			ch.line = slices.Insert(ch.line, 0, moved)
		}
	}
	if ch.owner.draining {
		return
	}
	for _, d := range ch.line[:min(len(ch.line), ch.owner.window)] {
		if d.inFlight {
			continue
		}
		if d.attempts > 0 {
			d.flags |= unixipc.Redelivered
		}
		ch.lastRef++
		d.ref, d.inFlight = ch.lastRef, true
		d.attempts++
		payload := d.payload
		if d.kind == unixipc.Opened {
			body := ch.openedBody()
			body.Moved, body.Gone = d.moved, !ch.open || d.connection != ch.connections
			body.Reconnects = d.reconnects
			if d.connection == ch.connections {
				body.Note = ch.note
			}
			payload = mustJSON(body)
		}
		ch.owner.put(d.kind, d.flags, d.ref, ch.identity, payload)
	}
}

// find is the delivery that l has in flight under ref, or -1.
func (ch *charger) find(l *link, ref uint64) int {
	if ch.owner != l {
		return -1
	}
	return slices.IndexFunc(ch.line, func(d *Delivery) bool { return d.inFlight && d.ref == ref })
}

// ack takes the ACK of a delivery and returns what became of its reply.
func (ch *charger) ack(l *link, f unixipc.Frame) unixipc.Status {
	i := ch.find(l, f.Ref)
	if i < 0 {
		return unixipc.StatusRefused
	}
	d := ch.line[i]
	ch.line = slices.Delete(ch.line, i, i+1)
	d.acked, d.inFlight = true, false
	status := unixipc.StatusOK
	switch {
	case len(f.Payload) == 0:
	case d.kind == unixipc.Opened:
		status = ch.leaveNote(d, f.Payload)
	case d.kind != unixipc.Message:
		status = unixipc.StatusRefused
	case ch.replies != "":
		status, d.err = ch.replies, ErrNotWritten
	case !ch.open || d.connection != ch.connections:
		status, d.err = unixipc.StatusClosed, ErrNotWritten
	default:
		d.reply, d.replyFlags = slices.Clone(f.Payload), f.Flags
	}
	ch.settle(l)
	return status
}

// nack takes the NACK of a delivery: it is held, with all that follow.
func (ch *charger) nack(l *link, ref uint64, after time.Duration) {
	i := ch.find(l, ref)
	if i < 0 {
		return
	}
	ch.line[i].inFlight = false
	if ch.held != nil {
		ch.held.Stop()
	}
	gw := ch.gw
	var timer *time.Timer
	timer = time.AfterFunc(after, func() {
		gw.mu.Lock()
		defer gw.mu.Unlock()
		if ch.held == timer {
			ch.held = nil
			ch.pump()
		}
	})
	ch.held = timer
	ch.settle(l)
}

// settle goes on after a delivery has left l.
func (ch *charger) settle(l *link) {
	if l.draining && ch.inFlight() == 0 {
		ch.moveFrom(l)
	}
	ch.pump()
	l.checkDrained()
	ch.gw.change()
}

func (ch *charger) inFlight() (n int) {
	for _, d := range ch.line {
		if d.inFlight {
			n++
		}
	}
	return n
}

// disown takes the charger from its owner, with what is unacknowledged.
func (ch *charger) disown() {
	ch.owner = nil
	for _, d := range ch.line {
		d.inFlight = false
	}
	// An OPENED that only announced a move is made anew for the next owner.
	if len(ch.line) > 0 && ch.line[0].moved {
		ch.line = ch.line[1:]
	}
}

// moveFrom is disown that tells the owner.
func (ch *charger) moveFrom(l *link) {
	known := ch.open || len(ch.line) > 0
	ch.disown()
	if known {
		l.put(unixipc.Moved, 0, 0, ch.identity, nil)
	}
}

// leaveNote takes the payload of the ACK of an OPENED.
func (ch *charger) leaveNote(d *Delivery, payload []byte) unixipc.Status {
	var body unixipc.AckBody
	if json.Unmarshal(payload, &body) != nil || len(body.Note) > unixipc.MaxNote {
		return unixipc.StatusRefused
	}
	if body.Note != nil && d.connection == ch.connections {
		ch.note = body.Note
	}
	return unixipc.StatusOK
}

// order carries out a SEND or CLOSE.
func (ch *charger) order(o Order) unixipc.Status {
	switch {
	case ch.answer != "":
		return ch.answer
	case !ch.open:
		return unixipc.StatusOffline
	}
	ch.orders = append(ch.orders, o)
	ch.gw.change()
	return unixipc.StatusOK
}

func mustJSON(body any) []byte {
	b, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return b
}
