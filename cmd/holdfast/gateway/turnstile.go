package gateway

import (
	"net"
	"sync/atomic"
	"time"
)

// A turnstile lets few TLS handshakes compute at the same time, each whenever it is not
// waiting for its charger. After a power cut thousands come at once; without it their
// signatures would take every CPU, and the chargers that are held would wait for a turn.
//
// In a storm whoever has a pass keeps it idle for as long as it has computed. Only then
// does a gateway with one CPU look for what its chargers have sent: Go's scheduler polls
// the network when nothing else can run, else each 10 ms. On one CPU nobody is ever seen
// waiting for a pass: the others wait for the CPU. So a storm is told by how many
// handshakes are in progress.
type turnstile struct {
	net.Conn
	passes *passes // nil once the handshake is over
	since  time.Time
}

// passes are those of all turnstiles.
type passes struct {
	free       chan struct{}
	inProgress atomic.Int64 // handshakes
}

// newPasses returns one for each that may compute: half of the CPUs, at least one.
func newPasses(cpus int) *passes {
	p := &passes{free: make(chan struct{}, max(1, cpus/2))}
	for range cap(p.free) {
		p.free <- struct{}{}
	}
	return p
}

func enterTurnstile(nc net.Conn, p *passes) *turnstile {
	t := &turnstile{Conn: nc, passes: p}
	p.inProgress.Add(1)
	t.enter()
	return t
}

func (t *turnstile) enter() {
	<-t.passes.free
	t.since = time.Now()
}

func (t *turnstile) pause() {
	if t.passes.inProgress.Load() > calm {
		time.Sleep(min(time.Since(t.since), longestRest))
	}
	t.passes.free <- struct{}{}
}

// calm is how many handshakes there may be without a rest between them: as many as
// chargers come back at any time.
const calm = 8

// longestRest bounds what a goroutine that was held up lets the others wait.
const longestRest = 5 * time.Millisecond

// Read waits for the charger without a pass.
func (t *turnstile) Read(b []byte) (int, error) { return t.outside(t.Conn.Read, b) }

// Write does, too: a charger that reads nothing must hold up itself alone.
func (t *turnstile) Write(b []byte) (int, error) { return t.outside(t.Conn.Write, b) }

func (t *turnstile) outside(do func([]byte) (int, error), b []byte) (int, error) {
	if t.passes == nil {
		return do(b)
	}
	t.pause()
	n, err := do(b)
	t.enter()
	return n, err
}

// leave ends the handshake's part.
func (t *turnstile) leave() {
	t.pause()
	t.passes.inProgress.Add(-1)
	t.passes = nil
}

// CloseWrite implements what a refusal ends a connection with.
func (t *turnstile) CloseWrite() error {
	if half, ok := t.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return t.Close()
}
