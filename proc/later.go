package proc

import (
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"holdfast/unixipc"
)

// errLater is what a Handler returns whose reply comes later.
var errLater = errors.New("proc: a Handler returned the error of Message.Later without having called it for that message")

// Later lets the reply to m come after the Handler has returned, with no goroutine that
// waits for it. The Handler returns the error later; answer is called once, by any
// goroutine and at any time before the gateway's -ack-timeout, with what the Handler
// would have returned: the reply, or the error that gives the message back. Until then
// the charger's next delivery waits, as for a Handler that runs.
//
// What the same goroutine orders after answer has returned, such as CallLater, comes after
// the reply. If the link is lost before the gateway has the answer, m comes again,
// redelivered.
func (m Message) Later() (answer func(reply []byte, err error), later error) {
	var answered atomic.Bool
	m.ch.later.Store(laterAsked)
	return func(reply []byte, err error) {
		if !answered.CompareAndSwap(false, true) {
			panic("proc: two answers to one message")
		}
		m.r.answerLater(m.ch, m.d, reply, err)
	}, errLater
}

// States of Charger.later. The Handler returns and the answer comes in any order; the
// second of the two goes on with the charger.
const (
	laterNot   = iota
	laterAsked // Later was called
	laterOne   // the Handler has returned, or the answer has come
)

// secondOf reports whether the other of the two has happened already.
func (ch *Charger) secondOf() bool { return !ch.later.CompareAndSwap(laterAsked, laterOne) }

// answerLater acknowledges d, or gives it back, and goes on with its charger.
func (r *runner) answerLater(ch *Charger, d delivery, reply []byte, err error) {
	if err != nil {
		r.giveBack(ch, d, err)
	} else {
		r.acknowledge(ch, d, reply)
	}
	d.link.flushSoon()
	if ch.secondOf() {
		r.dispatcher.resume(ch)
	}
}

// flushSoon flushes once what is ready to run now has run, so that its acknowledgements
// are written with these: one write for many is what both sides are quick by.
func (l *link) flushSoon() {
	if l.flushing.CompareAndSwap(false, true) {
		go func() {
			runtime.Gosched()
			l.flushing.Store(false)
			l.flush()
		}()
	}
}

// leave keeps a charger, whose Handler has returned, from the workers until its answer
// comes. d.mu is held.
func (d *dispatcher) leave(ch *Charger) {
	d.workers.Add(1)
	if ch.secondOf() { // the answer was quicker
		d.goOn(ch)
	}
}

// resume takes a charger back that was left.
func (d *dispatcher) resume(ch *Charger) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.goOn(ch)
}

func (d *dispatcher) goOn(ch *Charger) {
	ch.later.Store(laterNot)
	d.done(ch, nil)
	d.call()
	d.workers.Done()
}

// CallLater sends the charger an OCPP CALL, as it is, and returns at once. limit is its
// time limit; 0: the gateway's. done is called once, with the charger's answer as it
// came, or with an error as of Call. It is called by the goroutine that reads the link,
// so it must not wait for anything; nothing else comes by that link meanwhile.
func (ch *Charger) CallLater(message []byte, limit time.Duration, done func(answer []byte, err error)) {
	ch.orderLater(unixipc.Call, 0, unixipc.AppendCall(nil, limit, message), done)
}

// SendLater is Send that returns at once. done is called as that of CallLater.
func (ch *Charger) SendLater(payload []byte, binary bool, done func(err error)) {
	var flags unixipc.Flags
	if binary {
		flags = unixipc.Binary
	}
	ch.orderLater(unixipc.Send, flags, payload, func(_ []byte, err error) { done(err) })
}

func (ch *Charger) orderLater(what unixipc.Type, flags unixipc.Flags, payload []byte, done func([]byte, error)) {
	l := ch.loop.link.Load()
	if l == nil {
		done(nil, ErrNoLink)
		return
	}
	if _, err := l.begin(what, flags, ch.identity, payload, func(o outcome, err error) {
		if err == nil {
			err = outcomeError(what, o.ResultBody)
		}
		done(o.answer, err)
	}); err != nil {
		done(nil, err)
	}
}
