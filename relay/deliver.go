package relay

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
	"unique"

	"holdfast/unixipc"
)

// offer puts c in its owner's line if it has something to deliver.
func (r *Relay) offer(c *Charger) {
	l := c.owner
	if l == nil || c.ready {
		return
	}
	if _, ok := r.deliverable(c); ok {
		c.ready = true
		l.ready = append(l.ready, c)
		r.pump(l)
	}
}

// deliverable returns the delivery of c that can be made now, if its link has
// room for one. A nil entry stands for the announcement to a new owner.
func (r *Relay) deliverable(c *Charger) (e *entry, ok bool) {
	q := c.q
	switch {
	case c.moving || int(c.inFlight) >= r.cfg.ChargerWindow:
		return nil, false
	case q != nil && q.held && (c.inFlight > 0 || r.now.Before(q.notBefore)):
		return nil, false
	case c.announce:
		return nil, true
	case q == nil:
		return nil, false
	}
	e = q.next(r.cfg.ChargerWindow)
	return e, e != nil
}

// pump delivers to l, one from each charger in turn, until its window is full.
func (r *Relay) pump(l *Link) {
	if l.pumping || l.ended != "" {
		return
	}
	l.pumping = true
	for l.head < len(l.ready) && l.inFlight < l.window && !l.Congested() {
		c := l.ready[l.head]
		l.head++
		if c.owner != l || !c.ready {
			continue // it moved away since
		}
		c.ready = false
		if e, ok := r.deliverable(c); ok && r.deliver(c, e) {
			r.offer(c) // to the end of the line, for its next turn
		}
	}
	if l.head == len(l.ready) || l.head > len(l.ready)/2 && l.head > 1024 {
		l.ready = slices.Delete(l.ready, 0, l.head)
		l.head = 0
	}
	l.pumping = false
}

// deliver sends e, which deliverable has returned, to c's owner. It returns
// false when c must move instead.
func (r *Relay) deliver(c *Charger, e *entry) bool {
	l := c.owner
	q := r.queueOf(c)
	if e == nil {
		c.announce = false
		q.pushFront(entry{kind: unixipc.Opened, moved: true, session: c.session, came: r.now})
		e = &q.entries[0]
	}
	if e.sub != "" && e.sub != c.subprotocol.Value() {
		// From here on the charger speaks another subprotocol, which its
		// owner may not take: a change of owner like any other.
		c.subprotocol = unique.Make(e.sub)
		if r.assignOwner(c); c.owner != l || c.moving {
			return false
		}
	}
	q.held = false
	c.number++
	c.inFlight++
	if l.inFlight++; l.inFlight == 1 {
		l.checkAt = r.now.Add(r.cfg.AckTimeout)
	}
	e.number, e.at = c.number, r.now
	r.cfg.Observer.Delivered(e.flags&unixipc.Redelivered != 0)
	payload := q.payload(e)
	if e.moved {
		payload = r.describe(c)
	}
	l.out = unixipc.AppendHeader(l.out, e.kind, e.flags, e.number, c.identity, len(payload))
	l.out = append(l.out, payload...)
	r.wake(l)
	return true
}

// describe is the OPENED of a charger that moved.
func (r *Relay) describe(c *Charger) []byte {
	body := unixipc.OpenedBody{Subprotocol: c.subprotocol.Value()}
	if c.connected {
		body = r.gateway.Describe(c.conn)
	}
	body.Moved = true
	b, _ := json.Marshal(body)
	return b
}

// ack ends a delivery, and writes the reply that came with it.
func (r *Relay) ack(l *Link, f unixipc.Frame) {
	c, e := r.inFlight(l, f)
	if e == nil {
		if len(f.Payload) > 0 {
			r.sendResult(Asker{r.cfg.Loop, l.id}, unixipc.ForDelivery, f.Ref, string(f.Key), unixipc.ResultBody{
				Status: unixipc.StatusRefused,
				Detail: "the delivery is not yours: it was acknowledged, or handed to another processor",
			})
		}
		return
	}
	if len(f.Payload) > 0 {
		r.reply(l, c, e, f)
	}
	r.cfg.Observer.Acknowledged(r.now.Sub(e.at))
	r.endFlight(c, e)
	e.acked = true
	r.acknowledged(c)
}

// endFlight takes e out of flight.
func (r *Relay) endFlight(c *Charger, e *entry) {
	r.touch(c)
	e.number = 0
	c.inFlight--
	c.owner.inFlight--
}

// acknowledged is called when an entry of c was acknowledged.
func (r *Relay) acknowledged(c *Charger) {
	q := c.q
	if q.entries[0].acked {
		c.attempts = 0
		r.released(c, q.trim())
		if q.avoid != 0 {
			q.avoid = 0
			c.moving = true // back to where it belongs
		}
	}
	if c.inFlight == 0 && c.moving {
		r.assignOwner(c)
	}
	if len(q.entries) > 0 {
		r.offer(c)
		return
	}
	r.release(c)
	r.forget(c)
}

// reply writes the reply to a message to the connection it came from, or tells
// why not.
func (r *Relay) reply(l *Link, c *Charger, e *entry, f unixipc.Frame) {
	status, detail := unixipc.StatusClosed, "the connection that the message came from has ended"
	var position uint64
	switch {
	case e.kind != unixipc.Message:
		status, detail = unixipc.StatusRefused, fmt.Sprintf("%v takes no reply", e.kind)
	case f.Flags&unixipc.Binary == 0 && !utf8.Valid(f.Payload):
		status, detail = unixipc.StatusRefused, "text is not UTF-8"
	case c.connected && e.session == c.session:
		detail = ""
		position, status = r.toCharger(c, f.Payload, f.Flags&unixipc.Binary != 0)
	}
	asker := Asker{r.cfg.Loop, l.id}
	if status != unixipc.StatusOK {
		r.sendResult(asker, unixipc.ForDelivery, f.Ref, c.identity, unixipc.ResultBody{Status: status, Detail: detail})
		return
	}
	c.q.sends = append(c.q.sends, send{position: position, asker: asker, ref: f.Ref, reply: true})
}

// nack gives a delivery back. Until it has been made again, nothing else of
// the charger is delivered.
func (r *Relay) nack(l *Link, f unixipc.Frame, body unixipc.NackBody) {
	c, e := r.inFlight(l, f)
	if e == nil {
		return
	}
	r.cfg.Observer.GivenBack()
	r.endFlight(c, e)
	q := c.q
	if e.moved { // of no use to another owner, who gets one of his own
		e.acked = true
		r.released(c, q.trim())
		if !c.connected && len(q.entries) == 0 { // it was the last there is to tell
			q.held = false
			r.release(c)
			r.forget(c)
			return
		}
		c.announce = true
	} else {
		e.flags |= unixipc.Redelivered
	}
	wait := time.Duration(max(0, min(body.RetryAfterMS, maxRetryMS))) * time.Millisecond
	if until := r.now.Add(wait); !q.held || until.After(q.notBefore) {
		q.notBefore = until
	}
	q.held, q.avoid = true, l.id
	c.moving = true // elsewhere, if there is an elsewhere
	r.delayed = append(r.delayed, c)
	if c.inFlight == 0 {
		r.assignOwner(c)
	}
}

const maxRetryMS = 3_600_000 // an hour

// inFlight finds the delivery that an ACK or NACK of l names; nil if it is not l's.
func (r *Relay) inFlight(l *Link, f unixipc.Frame) (*Charger, *entry) {
	c := r.chargers[string(f.Key)]
	if c == nil || c.owner != l || c.q == nil || f.Ref == 0 {
		return nil, nil
	}
	return c, c.q.find(f.Ref)
}

// takeBack makes everything of c in flight wait again, because its owner is
// gone. Only the first in line is blamed: processors work in order, so the
// others were most likely not looked at.
func (r *Relay) takeBack(c *Charger) {
	q := c.q
	if q == nil || c.inFlight == 0 {
		return
	}
	blame := false
	kept := q.entries[:0]
	for i, e := range q.entries {
		if e.number != 0 {
			c.owner.inFlight--
			c.inFlight--
			e.number = 0
			e.flags |= unixipc.Redelivered
			blame = blame || i == 0
		}
		if e.moved {
			blame = false // an announcement harms nobody
			continue
		}
		kept = append(kept, e)
	}
	clear(q.entries[len(kept):])
	q.entries = kept
	r.released(c, q.trim())
	if blame {
		if c.attempts++; int(c.attempts) >= r.cfg.MaxAttempts {
			r.poison(c)
		}
	}
}

// poison gives up the first delivery of c. Its sender is told, if it is a CALL.
func (r *Relay) poison(c *Charger) {
	q := c.q
	e := &q.entries[0]
	payload := q.payload(e)
	r.gateway.Poison(c.identity, payload, int(c.attempts))
	if e.kind == unixipc.Message {
		if kind, id, ok := scanMessage(payload); ok && kind == ocppCall && c.connected && e.session == c.session {
			answer, _ := json.Marshal([]any{4, id, "InternalError", "the message could not be processed", struct{}{}})
			_, _ = r.toCharger(c, answer, false) // nobody is left to be told
		}
	}
	c.attempts = 0
	e.acked = true
	r.released(c, q.trim())
}

// Deadline is when Tick has something to do; the zero time: never.
func (r *Relay) Deadline() (t time.Time) {
	earlier := func(at time.Time) {
		if t.IsZero() || at.Before(t) {
			t = at
		}
	}
	for _, l := range r.links {
		if l.inFlight > 0 {
			earlier(l.checkAt)
		}
	}
	for _, c := range r.delayed {
		if c.q != nil && c.q.held {
			earlier(c.q.notBefore)
		}
	}
	for _, q := range r.questions {
		earlier(q.deadline)
	}
	if len(r.deadlines) > 0 {
		earlier(r.deadlines[0].limit)
	}
	if r.watched && r.listing() {
		earlier(r.now)
	}
	return t
}

// Tick ends links that are hung and calls whose time is over, makes deliveries
// whose delay is over, and goes on with lists.
func (r *Relay) Tick() {
	r.overdue()
	r.endQuestions()
	if r.watched {
		r.list()
	}
	for _, l := range slices.Clone(r.links) {
		if l.inFlight > 0 && !l.checkAt.After(r.now) {
			r.checkHung(l)
		}
	}
	delayed := r.delayed
	r.delayed = nil
	for _, c := range delayed {
		if c.q == nil || !c.q.held {
			continue
		}
		if r.now.Before(c.q.notBefore) {
			r.delayed = append(r.delayed, c)
		} else {
			r.offer(c)
		}
	}
}

// checkHung ends l if a delivery is over its time, else finds out when the
// oldest will be. Deliveries being acknowledged all the time, that is about
// once in AckTimeout.
func (r *Relay) checkHung(l *Link) {
	oldest := r.now
	r.owned(l, func(c *Charger) {
		if c.inFlight == 0 {
			return
		}
		for i := range c.q.entries {
			if e := &c.q.entries[i]; e.number != 0 && e.at.Before(oldest) {
				oldest = e.at
			}
		}
	})
	if l.checkAt = oldest.Add(r.cfg.AckTimeout); !l.checkAt.After(r.now) {
		r.Refuse(l, fmt.Sprintf("hung: a delivery was not acknowledged for %v", r.cfg.AckTimeout))
	}
}
