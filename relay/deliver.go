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
	if l == nil || c.ready || l.ended != "" {
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
	case c.moving || c.owner.draining || int(c.inFlight) >= r.chargerWindow(c.owner):
		return nil, false
	case q != nil && q.held && (c.inFlight > 0 || r.now.Before(q.notBefore)):
		return nil, false
	case c.announce:
		return nil, true
	case q == nil:
		return nil, false
	}
	e = q.next(r.chargerWindow(c.owner))
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
			continue // it got another owner since
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
		r.charge(c, entryCost)
		e = &q.entries[0]
	}
	if e.sub != "" && e.sub != c.subprotocol.Value() {
		// From this connection on the charger speaks another subprotocol.
		// Its owner may not take it, so the owner is assigned anew.
		c.subprotocol = unique.Make(e.sub)
		if r.assignOwner(c); c.owner != l || c.moving {
			return false
		}
	}
	if q.held {
		q.held = false
		r.delayed.remove(q)
		r.repool(c)
	}
	c.number++
	c.inFlight++
	r.noteFlying(c)
	if l.inFlight++; l.inFlight == 1 {
		l.checkAt = r.now.Add(r.cfg.AckTimeout)
	}
	e.number, e.at = c.number, r.now
	r.cfg.Observer.Delivered(e.flags&unixipc.Redelivered != 0)
	payload := q.payload(e)
	switch {
	case e.moved:
		payload = r.describe(c)
	case e.kind == unixipc.Opened:
		payload = r.noted(c, e, payload)
	}
	l.out = unixipc.AppendHeader(l.out, e.kind, e.flags, e.number, c.identity, len(payload))
	l.out = append(l.out, payload...)
	r.wake(l)
	return true
}

// describe returns the body of the OPENED that announces c to a new owner.
func (r *Relay) describe(c *Charger) []byte {
	body := unixipc.OpenedBody{Subprotocol: c.subprotocol.Value()}
	switch {
	case c.connected:
		body = r.gateway.Describe(c.conn)
	case c.q.last != nil:
		_ = json.Unmarshal(c.q.last, &body) // another process may have written it
	}
	body.Moved, body.Gone, body.Note = true, !c.connected, r.notes[c]
	b, _ := json.Marshal(body)
	return b
}

// ack ends a delivery, and sends the reply that came with it.
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
	switch {
	case len(f.Payload) == 0:
	case e.kind == unixipc.Opened:
		r.leaveNote(l, c, e, f.Payload)
	default:
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

// acknowledged removes what is acknowledged from the front of c's queue, and does
// what had to wait for that. The entry has already left flight.
func (r *Relay) acknowledged(c *Charger) {
	q := c.q
	if q.entries[0].acked {
		c.attempts, q.nacks = 0, 0
		r.released(c, q.trim())
		if q.avoid != 0 {
			q.avoid = 0
			c.moving = true // back to the link that ranks first
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

// reply sends the reply to a message on the connection that the message came
// from. If that is not possible, it sends a RESULT with the reason.
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

// nack takes a delivery back from l. Nothing else of the charger is delivered
// until this delivery has been made again.
func (r *Relay) nack(l *Link, f unixipc.Frame, body unixipc.NackBody) {
	c, e := r.inFlight(l, f)
	if e == nil {
		return
	}
	r.cfg.Observer.GivenBack()
	r.endFlight(c, e)
	q := c.q
	oldest := e == &q.entries[0]
	if e.moved { // the next owner gets an announcement of its own
		e.acked = true
		r.released(c, q.trim())
		if !c.connected && len(q.entries) == 0 { // nothing else is left to deliver
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
	if oldest {
		q.nacks++
	}
	if oldest && q.nacks >= ManyNacks && powerOf10(q.nacks) {
		r.gateway.GivenBackAgain(c.identity, l.name, q.nacks, max(0, r.now.Sub(q.entries[0].came)))
	}
	r.repool(c)
	c.moving = true // to another link, if there is one
	r.delayed.add(c)
	if c.inFlight == 0 {
		r.assignOwner(c)
	}
}

// ManyNacks is how often in a row the oldest delivery of a charger may be given back
// before operators should know. Those behind it do not count: they come back with it.
const ManyNacks = 10

func powerOf10(n int) bool {
	for n%10 == 0 {
		n /= 10
	}
	return n == 1
}

// maxRetryMS is the longest delay that a NACK may ask for: an hour.
const maxRetryMS = 3_600_000

// inFlight returns the delivery that an ACK or NACK of l names, and its charger.
// The entry is nil if l has no such delivery.
func (r *Relay) inFlight(l *Link, f unixipc.Frame) (*Charger, *entry) {
	c := r.chargers[string(f.Key)]
	if c == nil || c.owner != l || c.q == nil || f.Ref == 0 {
		return nil, nil
	}
	return c, c.q.find(f.Ref)
}

// takeBack makes everything of c in flight wait again, because its owner has
// ended. Only the first entry counts an attempt: processors work in order, so
// the owner most likely ended before it came to the others.
func (r *Relay) takeBack(c *Charger) {
	q := c.q
	if q == nil || c.inFlight == 0 {
		return
	}
	blame, dropped := false, 0
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
			blame = false // an announcement counts no attempt
			dropped += entryCost
			continue
		}
		kept = append(kept, e)
	}
	clear(q.entries[len(kept):])
	q.entries = kept
	r.released(c, dropped+q.trim())
	if blame {
		if c.attempts++; int(c.attempts) >= r.cfg.MaxAttempts {
			r.poison(c)
		}
	}
}

// poison gives up the first delivery of c. If it is a CALL, the charger gets a
// CALLERROR.
func (r *Relay) poison(c *Charger) {
	q := c.q
	e := &q.entries[0]
	payload := q.payload(e)
	r.gateway.Poison(c.identity, payload, int(c.attempts))
	if e.kind == unixipc.Message {
		if kind, id, ok := scanMessage(payload); ok && kind == ocppCall && c.connected && e.session == c.session {
			answer, _ := json.Marshal([]any{4, id, "InternalError", "the message could not be processed", struct{}{}})
			_, _ = r.toCharger(c, answer, false) // nobody waits for the status
		}
	}
	c.attempts = 0
	e.acked = true
	r.released(c, q.trim())
}

// Deadline returns when Tick has something to do; the zero time means never.
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
	if len(r.delayed) > 0 {
		earlier(r.delayed[0].q.notBefore)
	}
	for _, q := range r.questions {
		earlier(q.deadline)
	}
	if len(r.deadlines) > 0 {
		earlier(r.deadlines[0].limit)
	}
	if r.watched && r.listing() || r.canWake() || r.sweep.left > 0 {
		earlier(r.now)
	}
	return t
}

// Tick does what has become due: it ends hung links, overdue calls and overdue
// questions, makes held deliveries, and continues the lists of watches.
func (r *Relay) Tick() {
	r.enter("Tick")
	defer r.leave()
	r.overdue()
	r.endQuestions()
	r.wakeLine()
	r.sweepOn(sweepSlice)
	if r.watched {
		r.list()
	}
	for _, l := range slices.Clone(r.links) {
		if l.inFlight > 0 && !l.checkAt.After(r.now) {
			r.checkHung(l)
		}
	}
	for n := 0; n < delaySlice && len(r.delayed) > 0 && !r.now.Before(r.delayed[0].q.notBefore); n++ {
		c := r.delayed[0]
		r.delayed.remove(c.q)
		r.offer(c)
	}
}

// delaySlice is how many held deliveries are made in one turn.
const delaySlice = 512

// noteFlying enters c among those of its owner that have something in flight.
func (r *Relay) noteFlying(c *Charger) {
	l := c.owner
	if c.inFlight == 0 || c.flying {
		return
	}
	if len(l.flying) > 2*l.inFlight+64 {
		l.trimFlying()
	}
	c.flying = true
	l.flying = append(l.flying, c)
}

// trimFlying removes from l.flying those that have nothing in flight, and those that
// stand there twice since they have gone and come back.
func (l *Link) trimFlying() {
	kept := l.flying[:0]
	for _, c := range l.flying {
		if c.owner == l && c.flying {
			c.flying = false
			if c.inFlight > 0 {
				kept = append(kept, c)
			}
		}
	}
	clear(l.flying[len(kept):])
	l.flying = kept
	for _, c := range kept {
		c.flying = true
	}
}

// checkHung ends l if a delivery was not acknowledged in AckTimeout. Otherwise it
// computes when the oldest delivery will be overdue. On a link that acknowledges
// steadily, it runs about once in AckTimeout.
func (r *Relay) checkHung(l *Link) {
	oldest := r.now
	var who *Charger
	var what *entry
	l.trimFlying()
	for _, c := range l.flying {
		for i := range c.q.entries {
			if e := &c.q.entries[i]; e.number != 0 && e.at.Before(oldest) {
				oldest, who, what = e.at, c, e
			}
		}
	}
	if l.checkAt = oldest.Add(r.cfg.AckTimeout); who != nil && !l.checkAt.After(r.now) {
		name := what.kind.String()
		if action := scanAction(who.q.payload(what)); what.kind == unixipc.Message && action != "" {
			name += " " + action
		}
		r.Refuse(l, fmt.Sprintf("hung: a delivery was not acknowledged for %v: %d of charger %s, %s", r.cfg.AckTimeout, what.number, who.identity, name))
	}
}
