package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"holdfast/unixipc"
)

// abortGrace is what handlers get to return, and to give their deliveries back,
// after their context was cancelled at the end of the drain.
const abortGrace = time.Second

// runner is one call of Run: the loops, and the dispatcher that they share.
type runner struct {
	Config
	dial       func(context.Context) (net.Conn, error)
	askOnly    bool
	joined     func(*loop, *link) // from the goroutine that reads the link next
	failed     func(error)        // to join
	handler    Handler
	dispatcher *dispatcher
	handlers   context.Context // of handlers; outlives the context of Run
	gone       context.Context // ends with Run: links close, drained or not
	links      sync.WaitGroup  // goroutines of loops
	instance   instance        // of the gateway

	mu    sync.Mutex
	loops map[int]*loop // that have a goroutine
	count int           // how many the gateway has
	leave context.CancelCauseFunc
}

func newRunner(c Config, socket string, h Handler) *runner {
	r := &runner{Config: c, handler: h, loops: make(map[int]*loop), instance: instance{links: make(map[int]*link)}}
	if r.Counters == nil {
		r.Counters = new(Counters)
	}
	r.dial = func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{Timeout: helloTimeout}).DialContext(ctx, "unix", socket)
	}
	r.joined = func(*loop, *link) {}
	r.failed = func(error) {}
	r.dispatcher = newDispatcher(c.Concurrency, r.handle)
	if c.Closed != nil || c.Moved != nil {
		r.dispatcher.held = make(map[string]*loop)
	}
	return r
}

func (r *runner) run(parent context.Context) error {
	ctx, leave := context.WithCancelCause(parent)
	defer leave(nil)
	r.leave = leave
	var abort context.CancelCauseFunc
	r.handlers, abort = context.WithCancelCause(context.WithoutCancel(parent))
	defer abort(nil)
	var vanish context.CancelFunc
	r.gone, vanish = context.WithCancel(context.Background())
	defer vanish()

	r.grow(ctx, 1)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		r.links.Wait()
		r.dispatcher.close()
		r.dispatcher.workers.Wait()
	}()

	<-ctx.Done()
	select {
	case <-finished:
		if refused, ok := errors.AsType[*RefusedError](context.Cause(ctx)); ok {
			return refused
		}
		return nil
	case <-time.After(r.DrainTimeout):
	}
	abort(ErrDrainTimeout)
	select {
	case <-finished:
	case <-time.After(abortGrace):
	}
	vanish()
	r.links.Wait()
	return ErrDrainTimeout
}

// grow starts a goroutine for each of the gateway's first n loops that has none.
func (r *runner) grow(ctx context.Context, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count = max(n, 1)
	for i := range r.count {
		if r.loops[i] != nil {
			continue
		}
		lp := &loop{r: r, index: i}
		r.loops[i] = lp
		r.links.Go(func() {
			if err := lp.run(ctx); err != nil {
				r.leave(err)
			}
		})
	}
}

// wants reports whether the gateway still has lp. If not, lp is forgotten.
func (r *runner) wants(lp *loop) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if lp.index < r.count {
		return true
	}
	delete(r.loops, lp.index)
	return false
}

// welcome is called with each new link, before anything of it is delivered.
func (r *runner) welcome(lp *loop, l *link) error {
	w := l.welcome
	for _, warning := range w.Warnings {
		r.Logger.Warn("the gateway warns", "loop", lp.index, "warning", warning)
	}
	err := r.instance.enter(lp.index, l, func() {
		r.Counters.Restarts.Add(1)
		n := r.dispatcher.closeHeld(lp, restarted)
		r.Logger.Warn("the gateway was restarted", "instance", w.Instance, "chargers_closed", n)
	})
	if err == nil && r.Joined != nil {
		r.Joined(w)
	}
	return err
}

// handle does what a delivery asks for and acknowledges it, or gives it back and
// returns why. A worker calls it.
func (r *runner) handle(ch *Charger, d delivery) error {
	var reply []byte
	var err error
	switch d.kind {
	case unixipc.Result:
		r.replyFailed(ch, d)
		return nil
	case unixipc.Opened:
		switch {
		case r.TryOpened != nil:
			err = r.TryOpened(r.handlers, ch, body[unixipc.OpenedBody](r, ch, d))
		case r.OpenedNote != nil:
			var note []byte
			note, err = r.OpenedNote(r.handlers, ch, body[unixipc.OpenedBody](r, ch, d))
			reply = r.noteBody(ch, d, note)
		case r.Opened != nil:
			r.Opened(r.handlers, ch, body[unixipc.OpenedBody](r, ch, d))
		}
	case unixipc.Closed:
		if r.Closed != nil {
			r.Closed(r.handlers, ch, body[unixipc.ClosedBody](r, ch, d))
		}
	case unixipc.Moved:
		if r.Moved != nil {
			r.Moved(r.handlers, ch, d.err)
		}
	case unixipc.Message:
		reply, err = r.handler(r.handlers, ch, Message{
			Payload:     d.payload,
			Binary:      d.flags&(unixipc.Binary|unixipc.Malformed) == unixipc.Binary,
			Malformed:   d.flags&unixipc.Malformed != 0,
			Redelivered: d.flags&unixipc.Redelivered != 0,
			Late:        d.flags&unixipc.Late != 0,
			Delivery:    d.ref,
			r:           r, ch: ch, d: d,
		})
		if err == errLater && ch.later.Load() != laterNot {
			return err
		}
	}
	switch {
	case err != nil:
		r.giveBack(ch, d, err)
	case d.link != nil:
		r.acknowledge(ch, d, reply)
	}
	return err
}

// acknowledge sends the ACK of a delivery, with the reply if there is one.
func (r *runner) acknowledge(ch *Charger, d delivery, reply []byte) {
	var flags unixipc.Flags
	if len(reply) > 0 && d.flags&unixipc.Malformed == 0 {
		flags = d.flags & unixipc.Binary
	}
	if limit := d.link.welcome.MaxMessage; limit > 0 && len(reply) > limit {
		// Sent, it would cost the link; given back, its message would come again
		// for ever.
		why := fmt.Sprintf("%d bytes are over the gateway's limit of %d", len(reply), limit)
		r.dispatcher.enqueue(ch.loop, []arrival{{[]byte(ch.identity), failedReply(d.ref, &RefusedError{What: unixipc.Ack.String(), Why: why})}})
		reply, flags = nil, 0
	}
	d.link.put(unixipc.Ack, flags, d.ref, ch.identity, reply)
}

// failedReply is the report that the reply to a delivery was not written. It
// takes its turn among the deliveries of the charger, and outlives its link.
func failedReply(ref uint64, err error) delivery {
	return delivery{kind: unixipc.Result, ref: ref, err: err}
}

func (r *runner) replyFailed(ch *Charger, d delivery) {
	r.Counters.RepliesFailed.Add(1)
	if r.ReplyFailed == nil {
		r.Logger.Warn("reply was not written", "charger", ch.identity, "delivery", d.ref, "err", d.err)
		return
	}
	r.ReplyFailed(r.handlers, ch, d.ref, d.err)
}

// authorize answers an AUTHORIZE. The gateway bounds how many there are at once,
// and sends DRAINED only when they are answered.
func (r *runner) authorize(l *link, token uint64, payload []byte) {
	if r.Authorize == nil {
		return // never asked for
	}
	go func() {
		var a unixipc.AuthorizeBody
		v := unixipc.VerdictBody{Status: 503, Reason: "AUTHORIZE does not parse"}
		if err := json.Unmarshal(payload, &a); err != nil {
			r.Logger.Error("AUTHORIZE does not parse", "err", err)
		} else {
			v = r.Authorize(r.handlers, a)
			if n := len(v.Note); n > unixipc.MaxNote {
				r.Logger.Error("note of a verdict is too long, it is left out", "charger", a.Identity, "bytes", n, "limit", unixipc.MaxNote)
				v.Note = nil
			}
		}
		if body, err := json.Marshal(v); err == nil && l.put(unixipc.Verdict, 0, token, "", body) {
			l.flush()
		}
	}()
}

// giveBack sends the NACK of a delivery that could not be handled because of err.
func (r *runner) giveBack(ch *Charger, d delivery, err error) {
	r.Counters.GivenBack.Add(1)
	after := retryAfter(err)
	if r.GaveBack != nil {
		r.GaveBack(ch, d.ref, after, err)
	} else {
		r.Logger.Warn("delivery given back", "frame", d.kind, "charger", ch.identity, "delivery", d.ref, "retry_after", after, "err", err)
	}
	ms := (after + time.Millisecond - 1) / time.Millisecond
	d.link.put(unixipc.Nack, 0, d.ref, ch.identity, fmt.Appendf(nil, `{"retry_after_ms":%d}`, ms))
}

// body is what an OPENED or CLOSED carries. One that does not parse is as good
// as it can be read: the charger has come, or gone, all the same.
func body[B any](r *runner, ch *Charger, d delivery) (b B) {
	if err := json.Unmarshal(d.payload, &b); err != nil {
		r.Logger.Error("body does not parse", "frame", d.kind, "charger", ch.identity, "delivery", d.ref, "err", err)
	}
	return b
}

// noteBody is the payload of the ACK of an OPENED that leaves a note; nil: none does.
func (r *runner) noteBody(ch *Charger, d delivery, note []byte) []byte {
	if note == nil || d.link == nil || d.link.welcome.MaxNote == 0 {
		return nil
	}
	if limit := d.link.welcome.MaxNote; len(note) > limit {
		why := fmt.Sprintf("a note of %d bytes is over the gateway's limit of %d", len(note), limit)
		r.dispatcher.enqueue(ch.loop, []arrival{{[]byte(ch.identity), failedReply(d.ref, &RefusedError{What: unixipc.Ack.String(), Why: why})}})
		return nil
	}
	body, _ := json.Marshal(unixipc.AckBody{Note: note}) // bytes: cannot fail
	return body
}
