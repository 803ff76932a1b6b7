package gate

import (
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// eventually waits until done, or fails.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in time: ", what)
		}
	}
}

// ended waits until over is closed, or fails.
func ended(t *testing.T, what string, over <-chan struct{}) {
	t.Helper()
	select {
	case <-over:
	case <-time.After(10 * time.Second):
		t.Fatal("has not ended: ", what)
	}
}

// An acceptor accepts as everybody does who stands behind a gate.
type acceptor struct {
	net.Listener
	accepted chan net.Conn
	over     chan struct{} // closed when it has returned
	failed   atomic.Int64  // errors that were neither a shut gate nor the end
}

func accept(t *testing.T, g *Gate) *acceptor {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	a := &acceptor{Listener: l, accepted: make(chan net.Conn, 100), over: make(chan struct{})}
	g.Guard(l)
	return a
}

func (a *acceptor) run(g *Gate) {
	defer close(a.over)
	for {
		c, err := a.Accept()
		if err != nil {
			over, again := g.Stopped(err)
			if over {
				return
			}
			if !again {
				a.failed.Add(1)
			}
			continue
		}
		g.Enter()
		a.accepted <- c
	}
}

func dial(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// nothing fails if something comes within a moment.
func nothing[T any](t *testing.T, what string, from <-chan T) {
	t.Helper()
	select {
	case <-from:
		t.Fatal(what)
	case <-time.After(20 * time.Millisecond):
	}
}

func isQuiet(g *Gate) func() bool { return g.Quiet }

func TestCloseAndReopen(t *testing.T) {
	g := New()
	all := []*acceptor{accept(t, g), accept(t, g)}
	for _, a := range all {
		go a.run(g)
	}
	for _, a := range all {
		dial(t, a)
		<-a.accepted
		g.Leave()
	}
	if g.Quiet() {
		t.Error("quiet, though more may come")
	}
	for range 3 {
		g.Close()
		eventually(t, "all are parked", isQuiet(g))
		for _, a := range all {
			dial(t, a)
			nothing(t, "accepted behind a shut gate", a.accepted)
		}
		g.Reopen()
		for _, a := range all { // it has waited in the backlog
			<-a.accepted
			g.Leave()
			if a.failed.Load() > 0 {
				t.Error("a shut gate was taken for an error")
			}
		}
		if g.Over() {
			t.Error("over, but was only shut")
		}
	}
}

// What was accepted before the gate was shut keeps it from being quiet until it is
// passed on.
func TestQuietWaitsForWhatIsUnderWay(t *testing.T) {
	g := New()
	a := accept(t, g)
	go a.run(g)
	dial(t, a)
	<-a.accepted
	g.Close()
	eventually(t, "parked", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.parked == 1
	})
	if g.Quiet() {
		t.Error("quiet, though a handshake is under way")
	}
	g.Leave()
	if !g.Quiet() {
		t.Error("not quiet when the handshake is over")
	}
}

func TestEnd(t *testing.T) {
	for _, shut := range []bool{false, true} {
		g := New()
		a := accept(t, g)
		go a.run(g)
		if shut {
			g.Close()
			eventually(t, "parked", isQuiet(g))
		}
		g.End()
		ended(t, "accepting", a.over)
		if !g.Over() {
			t.Error("ended, but not over")
		}
	}
}

// A listener that its owner closes, and an error that is one.
func TestStopped(t *testing.T) {
	g := New()
	if over, again := g.Stopped(net.ErrClosed); !over || again {
		t.Errorf("closed: over %v, again %v", over, again)
	}
	if over, again := g.Stopped(net.UnknownNetworkError("x")); over || again {
		t.Errorf("an error: over %v, again %v", over, again)
	}
}
