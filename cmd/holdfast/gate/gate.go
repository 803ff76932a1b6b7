package gate

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// A Gate holds back all accepting at the freeze, and knows how many of those
// that were accepted are still on their way to a loop. Nothing is lost while it
// is shut: connections wait in the backlog, which moves with the listener.
type Gate struct {
	mu        sync.Mutex
	open      *sync.Cond
	shut      bool
	ended     bool
	underWay  int
	parked    int         // of those who accept, one for each listener
	listeners []deadliner // not changed after the start
}

type deadliner interface{ SetDeadline(time.Time) error }

func New() *Gate {
	g := new(Gate)
	g.open = sync.NewCond(&g.mu)
	return g
}

// Guard puts a listener under the gate.
func (g *Gate) Guard(l net.Listener) { g.listeners = append(g.listeners, l.(deadliner)) }

// Close stops accepting; reopen goes on.
func (g *Gate) Close() { g.set(true, time.Unix(1, 0)) }

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

// Stopped tells, of an error of Accept, whether accepting is over. If the gate
// was only shut, it waits until it is open again, and tells so: that is no error.
func (g *Gate) Stopped(err error) (over, again bool) { return g.stoppedOr(err, new(bool)) }

// stoppedOr is stopped for one who may also have to return because of closed,
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

// Over tells that nobody is let in any more, ever.
func (g *Gate) Over() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ended
}

func (g *Gate) Enter() { g.count(1) }
func (g *Gate) Leave() { g.count(-1) }

func (g *Gate) count(n int) {
	g.mu.Lock()
	g.underWay += n
	g.mu.Unlock()
}

// Quiet tells that nothing that was accepted is under way, and nothing more is.
func (g *Gate) Quiet() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.underWay == 0 && g.parked == len(g.listeners)
}
