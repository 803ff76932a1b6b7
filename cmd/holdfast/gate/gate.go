package gate

// Theory of operation
//
// A gate is open, shut, or over:
//
//	open ──Close──▶ shut     at the freeze of an upgrade
//	shut ──Reopen─▶ open     the upgrade was rolled back
//	any  ──End────▶ over     the gateway shuts down; there is no way back
//
// Only the goroutine that handles signals moves it. Everybody who accepts obeys:
//
//	for {
//		c, err := l.Accept()
//		if err != nil {
//			over, again := g.Stopped(err) // waits while the gate is shut
//			…
//		}
//		g.Enter()
//		go func() { defer g.Leave(); … }()
//	}
//
// Shutting sets a deadline in the past on each listener, so that Accept returns an
// error and Stopped parks the goroutine. Nothing is lost meanwhile: connections wait
// in the backlog, which moves with the listener. Opening takes the deadline back and
// wakes those who are parked.
//
// Enter and Leave count what was accepted and has not been passed to a loop. Quiet is
// true when this count is zero and everybody who accepts is parked: nothing is under
// way then, and nothing more comes. That is what the old process of an upgrade waits
// for before it ends.
//
// A goroutine between a successful Accept and Enter is neither parked nor counted;
// Quiet is false then, because it counts the parked ones.

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// A Gate holds back all accepting, and counts what was accepted and is still on
// its way to a loop.
type Gate struct {
	mu        sync.Mutex
	open      *sync.Cond // broadcast at each change
	shut      bool
	ended     bool
	underWay  int
	parked    int         // of those who accept, one for each listener
	listeners []deadliner // not changed after the start
}

type deadliner interface{ SetDeadline(time.Time) error }

// New returns a gate that is open.
func New() *Gate {
	g := new(Gate)
	g.open = sync.NewCond(&g.mu)
	return g
}

// Guard puts a listener under the gate. Exactly one goroutine accepts from it.
func (g *Gate) Guard(l net.Listener) { g.listeners = append(g.listeners, l.(deadliner)) }

// Close stops accepting until Reopen.
func (g *Gate) Close() { g.set(true, time.Unix(1, 0)) }

// Reopen lets accepting go on.
func (g *Gate) Reopen() {
	g.set(false, time.Time{})
	g.open.Broadcast()
}

// End lets those who accept return.
func (g *Gate) End() {
	g.mu.Lock()
	g.ended = true
	g.mu.Unlock()
	g.Close()
	g.open.Broadcast()
}

func (g *Gate) set(shut bool, deadline time.Time) {
	g.mu.Lock()
	g.shut = shut
	g.mu.Unlock()
	for _, l := range g.listeners {
		_ = l.SetDeadline(deadline) // fails on a closed one only
	}
}

// Stopped returns, for an error of Accept, whether accepting is over. If the gate
// was only shut, Stopped waits until it is open again and returns again: that was
// no error. If neither is true, err is one.
func (g *Gate) Stopped(err error) (over, again bool) { return g.stoppedOr(err, new(bool)) }

// stoppedOr is Stopped for one who may also have to return because of closed,
// which g.mu guards.
func (g *Gate) stoppedOr(err error, closed *bool) (over, again bool) {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.Is(err, net.ErrClosed), false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.parked++
	for g.shut && !g.ended && !*closed {
		g.open.Wait()
	}
	g.parked--
	return g.ended || *closed, !g.ended && !*closed
}

// Over reports whether nobody is let in any more, ever.
func (g *Gate) Over() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ended
}

// Enter counts a connection that was accepted; Leave ends that when the connection
// was passed to a loop or closed.
func (g *Gate) Enter() { g.count(1) }

// Leave undoes one Enter.
func (g *Gate) Leave() { g.count(-1) }

func (g *Gate) count(n int) {
	g.mu.Lock()
	g.underWay += n
	g.mu.Unlock()
}

// Quiet reports whether nothing that was accepted is under way, and nothing more
// will be.
func (g *Gate) Quiet() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.underWay == 0 && g.parked == len(g.listeners)
}
