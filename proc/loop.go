package proc

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"holdfast/unixipc"
)

// Pause between two attempts to join, before jitter: doubled each time.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
)

// loop keeps one link to one loop of the gateway. Its goroutine owns the link
// and is its reader.
type loop struct {
	r     *runner
	index int
	link  atomic.Pointer[link] // nil while there is none; where orders go
}

// run joins again and again until ctx ends, and leaves in good order then. It
// returns an error only if the gateway refuses this processor for good.
//
// Loop 0 speaks for the gateway: its WELCOME has the number of loops, and its
// refusal is final. A refusal elsewhere may be the loop's that the gateway
// came back without; the next WELCOME of loop 0 settles it.
func (lp *loop) run(ctx context.Context) error {
	log := lp.r.Logger.With("loop", lp.index)
	pause, silent := firstPause, false
	for ctx.Err() == nil && lp.r.wants(lp) {
		begun := time.Now()
		joined, err := lp.serve(ctx)
		if ctx.Err() != nil {
			if joined && err != errDrained {
				log.Warn("link lost while draining", "err", err)
			}
			return nil
		}
		if _, refused := errors.AsType[*RefusedError](err); refused && !joined && lp.index == 0 {
			return err
		}
		switch {
		case joined:
			log.Warn("link lost, joining again", "err", err)
		case !silent:
			log.Warn("cannot join the gateway, trying on", "err", err)
		}
		if silent = !joined; silent {
			lp.r.failed(err)
		}
		if time.Since(begun) > maxPause {
			pause = firstPause // it was a good link
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		pause = min(2*pause, maxPause)
	}
	return nil
}

// serve runs one link from dial to end. joined reports whether the gateway sent
// WELCOME; err is why the link ended.
func (lp *loop) serve(ctx context.Context) (joined bool, err error) {
	conn, err := lp.r.dial(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	stop := context.AfterFunc(lp.r.gone, func() { conn.Close() })
	defer stop()

	conn.SetDeadline(time.Now().Add(helloTimeout))
	hurry := context.AfterFunc(ctx, func() { conn.Close() }) // nothing is ours yet
	l, err := join(conn, unixipc.HelloBody{
		Name: lp.r.Name, Loop: lp.index, Subprotocols: lp.r.Subprotocols, Window: lp.r.Window,
		ChargerWindow: lp.r.ChargerWindow, AskOnly: lp.r.askOnly, Authorize: lp.r.Authorize != nil,
	})
	if !hurry() || err != nil {
		return false, err
	}
	conn.SetDeadline(time.Time{})
	lp.r.Logger.Info("joined", "loop", lp.index, "gateway", l.welcome.Gateway, "window", l.welcome.Window)

	if err := lp.r.welcome(lp, l); err != nil {
		return false, err
	}
	lp.link.Store(l)
	if lp.index == 0 {
		lp.r.grow(ctx, l.welcome.Loops)
	}
	lp.r.joined(lp, l)
	drain := context.AfterFunc(ctx, func() {
		l.put(unixipc.Drain, 0, 0, "", nil)
		l.flush()
	})
	defer drain()
	err = l.read(func(batch []arrival) { lp.r.dispatcher.enqueue(lp, batch) }, lp.r.authorize)

	lp.link.Store(nil)
	l.end()
	lp.r.dispatcher.drop(l)
	if lp.r.Moved != nil && err != errDrained {
		lp.r.dispatcher.moveHeld(lp)
	}
	close(l.over)
	return true, err
}
