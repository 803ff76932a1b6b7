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

	mu    sync.Mutex
	loops map[int]*loop // that have a goroutine
	count int           // how many the gateway has
	leave context.CancelCauseFunc
}

func newRunner(c Config, socket string, h Handler) *runner {
	r := &runner{Config: c, handler: h, loops: make(map[int]*loop)}
	r.dial = func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{Timeout: helloTimeout}).DialContext(ctx, "unix", socket)
	}
	r.joined = func(*loop, *link) {}
	r.failed = func(error) {}
	r.dispatcher = newDispatcher(c.Concurrency, r.handle)
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

// handle does what a delivery asks for and acknowledges it. A worker calls it.
func (r *runner) handle(ch *Charger, d delivery) {
	var reply []byte
	switch d.kind {
	case unixipc.Opened:
		tell(r, r.Opened, ch, d)
	case unixipc.Closed:
		tell(r, r.Closed, ch, d)
	case unixipc.Message:
		var err error
		reply, err = r.handler(r.handlers, ch, Message{
			Payload:     d.payload,
			Binary:      d.flags&unixipc.Binary != 0,
			Redelivered: d.flags&unixipc.Redelivered != 0,
			Late:        d.flags&unixipc.Late != 0,
		})
		if err != nil {
			r.giveBack(ch, d, err)
			return
		}
	}
	var flags unixipc.Flags
	if len(reply) > 0 {
		flags = d.flags & unixipc.Binary
	}
	if limit := d.link.welcome.MaxMessage; limit > 0 && len(reply) > limit {
		// Sent, it would cost the link; given back, it would come again for ever.
		r.Logger.Error("reply dropped: over the gateway's limit", "charger", ch.identity, "delivery", d.ref, "bytes", len(reply), "limit", limit)
		reply, flags = nil, 0
	}
	d.link.put(unixipc.Ack, flags, d.ref, ch.identity, reply)
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
		}
		if body, err := json.Marshal(v); err == nil && l.put(unixipc.Verdict, 0, token, "", body) {
			l.flush()
		}
	}()
}

// giveBack sends the NACK of a delivery whose handler failed with err.
func (r *runner) giveBack(ch *Charger, d delivery, err error) {
	after := retryAfter(err)
	r.Logger.Warn("message given back", "charger", ch.identity, "delivery", d.ref, "retry_after", after, "err", err)
	ms := (after + time.Millisecond - 1) / time.Millisecond
	d.link.put(unixipc.Nack, 0, d.ref, ch.identity, fmt.Appendf(nil, `{"retry_after_ms":%d}`, ms))
}

// tell calls the callback for an OPENED or CLOSED with body B, if there is one.
func tell[B any](r *runner, callback func(context.Context, *Charger, B), ch *Charger, d delivery) {
	if callback == nil {
		return
	}
	var body B
	if err := json.Unmarshal(d.payload, &body); err != nil {
		r.Logger.Error("body does not parse", "frame", d.kind, "charger", ch.identity, "delivery", d.ref, "err", err)
	}
	callback(r.handlers, ch, body)
}
