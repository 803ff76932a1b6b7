package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gobwas/ws"
)

// charger is one simulated charger. Its connection: not yet open, open, closing
// (by the simulator), ended.
type charger struct {
	sim    *Sim
	number int

	mu       sync.Mutex // guards all below
	conn     net.Conn   // nil unless open or closing
	closing  bool
	story    story
	seq      uint32              // of the last CALL sent
	answered uint32              // the highest that was answered
	pending  []call              // outstanding CALLs, oldest first
	missing  map[uint32]struct{} // CALLs given up as lost; nil for most chargers
	calling  bool                // a CALL of the other side waits for its answer
}

// call is a CALL that waits for its answer.
type call struct {
	seq  uint32
	sent time.Time
}

// run opens the connection and reads from it until it ends.
func (c *charger) run(ctx context.Context, dialed func()) {
	subprotocol := c.sim.config.Subprotocols[c.number%len(c.sim.config.Subprotocols)]
	conn, br, err := c.sim.dial(ctx, c.number, subprotocol)
	if err != nil {
		if ctx.Err() == nil { // else it was the simulation that ended
			c.sim.Counters.Refused.Add(1)
			c.sim.refused.add(why(err))
			c.sim.faults.add("%s could not connect: %v", c.identity(), err)
		}
		dialed()
		return
	}
	life, _ := lifeFor(subprotocol) // Config.check knows that there is one
	c.mu.Lock()
	c.conn = conn
	c.story = story{life: life, charger: c.number}
	c.mu.Unlock()
	c.sim.Counters.Opened.Add(1)
	c.sim.Counters.Held.Add(1)
	dialed()

	r := frameReader{br: br, state: ws.StateClientSide}
	for err == nil {
		err = c.receive(&r)
	}
	conn.Close()
	c.ended(err)
}

// receive reads a message or a control frame and acts on it.
func (c *charger) receive(r *frameReader) error {
	op, payload, err := r.next()
	if err != nil {
		return err
	}
	switch op {
	case ws.OpPing:
		return c.write(ws.OpPong, payload)
	case ws.OpPong:
		c.sim.Counters.Pongs.Add(1)
		return nil
	case ws.OpClose:
		c.write(ws.OpClose, payload) // the echo; the connection ends either way
		return closedError(payload)
	}
	m, ok := parseMessage(payload)
	switch {
	case !ok:
		c.sim.Counters.Malformed.Add(1)
		c.sim.faults.add("%s got a malformed message: %.100q", c.identity(), payload)
	case m.kind == typeCall:
		c.called(string(m.id))
	default:
		c.settle(m, time.Now())
	}
	return nil
}

// called answers a CALL. The answer says who gives it, and to what.
func (c *charger) called(id string) {
	c.sim.Counters.Received.Add(1)
	answer := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.calling = false
		if c.conn == nil {
			return
		}
		writeFrame(c.conn, ws.OpText, func(dst []byte) []byte {
			return fmt.Appendf(dst, `[3,"%s",{"status":"Accepted","data":"%s %s"}]`, id, c.identity(), id)
		})
	}
	c.mu.Lock()
	busy := c.calling
	c.calling = true
	c.mu.Unlock()
	if busy {
		c.sim.Counters.Crowded.Add(1)
		c.sim.faults.add("%s was sent CALL %s while it was busy with another", c.identity(), id)
	}
	if c.sim.config.CallDelay == 0 {
		answer()
		return
	}
	time.AfterFunc(c.sim.config.CallDelay, answer)
}

// turn sends the next CALL, unless answers are missing.
func (c *charger) turn(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil || c.closing {
		return
	}
	if len(c.pending) >= c.sim.config.Outstanding {
		c.sim.Counters.Skipped.Add(1)
		return
	}
	c.seq++
	c.pending = append(c.pending, call{seq: c.seq, sent: time.Now()})
	c.sim.Counters.Sent.Add(1)
	id := MessageID{Run: c.sim.run, Charger: c.number, Seq: c.seq}
	// A write that fails shows in the reader, which ends the connection.
	writeFrame(c.conn, ws.OpText, func(dst []byte) []byte { return c.story.tell(dst, id, now) })
}

// settle takes an answer.
func (c *charger) settle(m message, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := &c.sim.Counters
	id, ok := ParseMessageID(string(m.id))
	if !ok || id.Run != c.sim.run || id.Charger != c.number || id.Seq == 0 || id.Seq > c.seq {
		n.Stray.Add(1)
		c.sim.faults.add("%s got an answer to %.50q, which it never sent", c.identity(), m.id)
		return
	}
	at := -1
	for i := range c.pending {
		if c.pending[i].seq == id.Seq {
			at = i
		}
	}
	_, given := c.missing[id.Seq]
	switch {
	case at >= 0:
		c.sim.waits.answered(c.number, now.Sub(c.pending[at].sent))
		c.pending = append(c.pending[:at], c.pending[at+1:]...)
		n.Answered.Add(1)
		if m.kind == typeCallError {
			n.Errors.Add(1)
			c.sim.faults.add("%s got a CALLERROR: %.100s", c.identity(), m.rest)
		}
		if c.story.awaiting {
			if number, ok := m.transactionID(); ok {
				c.story.transaction, c.story.awaiting = number, false
			}
		}
	case given:
		n.Late.Add(1)
		delete(c.missing, id.Seq)
	default:
		n.Duplicated.Add(1)
		c.sim.faults.add("%s got a second answer to %s", c.identity(), id)
		return
	}
	if id.Seq < c.answered {
		n.OutOfOrder.Add(1)
		c.sim.faults.add("%s got the answer to %s after that to number %d", c.identity(), id, c.answered)
	}
	c.answered = max(c.answered, id.Seq)
}

// sweep gives up what is past the deadline.
func (c *charger) sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.pending) > 0 {
		age := now.Sub(c.pending[0].sent)
		c.sim.waits.silent(c.number, age)
		if age < c.sim.config.Deadline {
			return
		}
		c.lose("no answer before the deadline")
	}
}

// lose gives up the oldest outstanding CALL. mu is held.
func (c *charger) lose(reason string) {
	seq := c.pending[0].seq
	c.pending = c.pending[1:]
	if c.missing == nil {
		c.missing = map[uint32]struct{}{}
	}
	c.missing[seq] = struct{}{}
	c.sim.Counters.Lost.Add(1)
	c.sim.faults.add("%s lost %s: %s", c.identity(), MessageID{c.sim.run, c.number, seq}, reason)
}

// ping sends a WebSocket ping.
func (c *charger) ping(time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil || c.closing {
		return
	}
	c.sim.Counters.Pings.Add(1)
	writeFrame(c.conn, ws.OpPing, func(dst []byte) []byte { return append(dst, "sim"...) })
}

// close begins the closing handshake; the reader ends it.
func (c *charger) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil || c.closing {
		return
	}
	c.closing = true
	writeFrame(c.conn, ws.OpClose, func(dst []byte) []byte { return append(dst, 0x03, 0xe8) }) // 1000
}

// abandon ends a connection whose close frame nobody answers.
func (c *charger) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		c.sim.Counters.Unechoed.Add(1)
		c.conn.SetDeadline(time.Unix(1, 0)) // wakes the reader
	}
}

// ended settles the accounts of a connection that is no more.
func (c *charger) ended(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = nil
	c.sim.Counters.Held.Add(-1)
	for len(c.pending) > 0 {
		c.sim.waits.silent(c.number, time.Since(c.pending[0].sent))
		c.lose("the connection ended")
	}
	if c.closing {
		return
	}
	reason := why(err)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		reason = "ended without a close frame"
	case errors.Is(err, syscall.ECONNRESET):
		reason = "reset"
	}
	c.sim.Counters.Dropped.Add(1)
	c.sim.dropped.add(reason)
	c.sim.faults.add("%s was dropped: %s", c.identity(), reason)
}

func (c *charger) write(op ws.OpCode, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return writeFrame(c.conn, op, func(dst []byte) []byte { return append(dst, payload...) })
}

func (c *charger) identity() string { return c.sim.config.identity(c.number) }

// closedError is the other side's close frame.
func closedError(payload []byte) error {
	if len(payload) == 0 {
		return errors.New("close frame without a code")
	}
	code, reason := ws.ParseCloseFrameData(payload)
	// 1012 to 1014 are younger than RFC 6455, and in IANA's registry.
	if err := ws.CheckCloseFrameData(code, reason); err != nil && (code < 1012 || code > 1014) {
		return fmt.Errorf("protocol violation in a close frame: %w", err)
	}
	return errors.New(strings.TrimSpace(fmt.Sprintf("close frame %d %s", code, reason)))
}
