package relay

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"holdfast/unixipc"
)

// A call is an OCPP CALL of a processor, on its way to a charger and back. A
// charger has only the first of its calls (OCPP-J section 4.1.1: one at a time).
// The others wait. The time limit of a call starts when the relay accepts it.
//
// The answer is matched by the message id. The relay does not replace the
// asker's id, because that is the one in the logs of all parties. An id is
// therefore refused while another call of the connection could be answered
// under it: one that is open, or one of the last that were given up.
type call struct {
	charger *Charger
	asker   Asker // Link 0: the asker is gone
	ref     uint64
	id      string
	began   time.Time
	limit   time.Time
	message []byte // nil once it was sent to the charger
	place   int    // index in Relay.deadlines
}

// sent reports whether the call was sent to the charger, which may be acting on
// it.
func (k *call) sent() bool { return k.message == nil }

// maxUnanswered is the number of ids kept of a connection's calls that were given
// up after they were sent. The answer to an older one is a message like any.
const maxUnanswered = 16

// acceptCall queues a CALL for its charger. Any result other than StatusOK ends
// the CALL.
func (r *Relay) acceptCall(from Asker, f unixipc.Frame) (result unixipc.ResultBody) {
	refused := func(why string) unixipc.ResultBody {
		return unixipc.ResultBody{Status: unixipc.StatusRefused, Detail: why}
	}
	limit, message, ok := unixipc.ParseCall(f.Payload)
	if !ok {
		return refused("the payload of CALL is a time limit of 4 bytes, and an OCPP CALL")
	}
	if f.Flags&unixipc.Binary != 0 {
		return refused("an OCPP CALL is text")
	}
	id, err := checkCall(message)
	if err != nil {
		return refused(err.Error())
	}
	c := r.chargers[string(f.Key)]
	if c == nil || !c.connected {
		return unixipc.ResultBody{Status: unixipc.StatusOffline}
	}
	if q := c.q; q != nil {
		switch {
		case slices.Contains(q.unanswered, id), slices.ContainsFunc(q.calls, func(k *call) bool { return k.id == id }):
			return refused("the message id is that of another CALL to this charger, whose answer may still come")
		case len(q.calls) >= r.cfg.CallQueue:
			return unixipc.ResultBody{Status: unixipc.StatusFull, Detail: fmt.Sprintf("%d CALLs to this charger are waiting", len(q.calls))}
		}
	}
	if r.memory.used[moving]+len(message) > r.limit(moving) {
		return unixipc.ResultBody{Status: unixipc.StatusFull, Detail: "the gateway's memory for messages is full"}
	}
	if limit == 0 {
		limit = r.cfg.CallTimeout
	}
	k := &call{
		charger: c, asker: from, ref: f.Ref, id: id,
		began: r.now, limit: r.now.Add(min(limit, r.cfg.MaxCallTimeout)), message: bytes.Clone(message),
	}
	q := r.queueOf(c)
	q.calls = append(q.calls, k)
	r.addCall(k)
	r.memory.used[moving] += len(message)
	r.sendNextCall(c)
	return unixipc.ResultBody{Status: unixipc.StatusOK}
}

// sendNextCall sends c's next call if the charger has none.
func (r *Relay) sendNextCall(c *Charger) {
	for c.q != nil && len(c.q.calls) > 0 && !c.q.calls[0].sent() {
		k := c.q.calls[0]
		_, status := r.toCharger(c, k.message, false)
		if status != unixipc.StatusOK {
			r.giveUp(k, unixipc.ResultBody{Status: status})
			continue
		}
		r.touch(c)
		n := len(k.message)
		k.message = nil
		r.releasedCall(n)
	}
}

// remove removes a call from its charger and from the deadlines.
func (r *Relay) remove(k *call) {
	c := k.charger
	r.touch(c)
	i := slices.Index(c.q.calls, k)
	c.q.calls = slices.Delete(c.q.calls, i, i+1)
	r.removeCall(k)
	if k.message != nil {
		r.releasedCall(len(k.message))
	}
}

// giveUp ends a call without an answer. The caller sends the next one.
func (r *Relay) giveUp(k *call, why unixipc.ResultBody) {
	r.remove(k)
	took := r.now.Sub(k.began)
	why.MS, why.Sent = took.Milliseconds(), k.sent()
	r.gateway.Called(k.charger.identity, why.Status, took)
	if k.asker.Link != 0 {
		r.sendResult(k.asker, 0, k.ref, k.charger.identity, why)
	}
}

// mayAnswer reports whether a message of c could be the answer to a call.
func (c *Charger) mayAnswer() bool {
	return c.q != nil && len(c.q.calls)+len(c.q.unanswered) > 0
}

// takeAnswer takes a CALLRESULT or CALLERROR with this message id if it answers
// the call that c has. If no link waits for that answer any more, it returns
// late instead. It may be called only if c.mayAnswer.
func (r *Relay) takeAnswer(c *Charger, id string, flags unixipc.Flags, message []byte) (taken, late bool) {
	q := c.q
	if i := slices.Index(q.unanswered, id); i >= 0 {
		r.touch(c)
		q.unanswered = slices.Delete(q.unanswered, i, i+1)
		return false, true // the caller enqueues it, so q is not released
	}
	if len(q.calls) == 0 || !q.calls[0].sent() || q.calls[0].id != id {
		return false, false
	}
	k := q.calls[0]
	r.remove(k)
	took := r.now.Sub(k.began)
	r.gateway.Called(c.identity, unixipc.StatusOK, took)
	if k.asker.Link == 0 {
		return false, true
	}
	r.routeResult(k.asker, unixipc.Frame{
		Type: unixipc.Result, Flags: unixipc.Answered | flags, Ref: k.ref, Key: []byte(c.identity),
		Payload: unixipc.AppendAnswer(nil, took, message),
	})
	return true, false
}

// lateAnswer queues an answer for the charger's owner. The asker's link had
// ended when the answer came to its loop.
func (r *Relay) lateAnswer(identity string, flags unixipc.Flags, message []byte) {
	if c := r.chargers[identity]; c != nil && c.connected {
		r.enqueue(c, entry{kind: unixipc.Message, flags: unixipc.Late | flags}, message)
	}
}

// endCalls ends all calls of a charger whose connection has ended.
func (r *Relay) endCalls(c *Charger, reason string) {
	q := c.q
	if q == nil {
		return
	}
	for len(q.calls) > 0 {
		k := q.calls[0]
		why := unixipc.ResultBody{Status: unixipc.StatusClosed, Detail: reason}
		if !k.sent() {
			why.Status = unixipc.StatusOffline // the charger never had it
		}
		r.giveUp(k, why)
	}
	q.unanswered = nil
}

// overdue gives up the calls whose time limit has passed.
func (r *Relay) overdue() {
	for len(r.deadlines) > 0 && !r.deadlines[0].limit.After(r.now) {
		k := r.deadlines[0]
		c := k.charger
		why := unixipc.ResultBody{Status: unixipc.StatusTimeout}
		if k.sent() {
			q := c.q
			if len(q.unanswered) == maxUnanswered {
				q.unanswered = slices.Delete(q.unanswered, 0, 1)
			}
			q.unanswered = append(q.unanswered, k.id)
		} else {
			why.Detail = "the charger was busy with another CALL all the time"
		}
		r.giveUp(k, why)
		r.sendNextCall(c)
		r.release(c)
	}
}

// forgetAsker ends the calls of a link that has ended, if they were not sent. A
// call that was sent stays, and keeps the charger busy until the answer or the
// time-out; its answer goes to the charger's owner.
func (r *Relay) forgetAsker(gone Asker) {
	for k := range r.asked[gone] {
		if k.sent() {
			r.touch(k.charger)
			k.asker = Asker{}
			continue
		}
		r.remove(k)
		r.release(k.charger)
	}
	delete(r.asked, gone)
}

// addCall enters a call among those that can end for another reason than the
// charger's: its time limit, and the end of its asker.
func (r *Relay) addCall(k *call) {
	r.deadlines.add(k)
	if k.asker.Link == 0 {
		return
	}
	if r.asked[k.asker] == nil {
		r.asked[k.asker] = make(map[*call]struct{})
	}
	r.asked[k.asker][k] = struct{}{}
}

// removeCall undoes addCall.
func (r *Relay) removeCall(k *call) {
	r.deadlines.remove(k)
	delete(r.asked[k.asker], k)
	if len(r.asked[k.asker]) == 0 {
		delete(r.asked, k.asker)
	}
}
