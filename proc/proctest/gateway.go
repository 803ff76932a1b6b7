package proctest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// Config of a Gateway. The zero value is one loop with the gateway's defaults.
type Config struct {
	Loops         int // default 1
	ChargerWindow int // deliveries of one charger in flight; default 16
	MaxMessage    int // bytes; default 1 MiB
}

// Gateway is a fake gateway. Its mutex guards everything below it, chargers and
// links included; each change wakes those who wait.
type Gateway struct {
	Config
	dir      string
	listener net.Listener
	serving  sync.WaitGroup

	mu       sync.Mutex
	changed  chan struct{} // closed, and replaced, at every change
	links    []*link       // joined, oldest first
	conns    map[net.Conn]bool
	chargers map[string]*charger
	refuse   string
	warnings []string
	restarts int
	stopped  bool
	onCall   func(identity, action string, payload json.RawMessage) (json.RawMessage, error)
	calls    sync.WaitGroup

	questions uint64 // token of the last AUTHORIZE
}

// New starts a Gateway that stops with the test.
func New(t testing.TB) *Gateway { return Config{}.New(t) }

// New starts a Gateway that stops with the test.
func (c Config) New(t testing.TB) *Gateway {
	t.Helper()
	gw, err := c.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(gw.Stop)
	return gw
}

// Start starts a Gateway outside of a test; end it with Stop.
func (c Config) Start() (*Gateway, error) {
	if c.Loops <= 0 {
		c.Loops = 1
	}
	if c.ChargerWindow <= 0 {
		c.ChargerWindow = 16
	}
	if c.MaxMessage <= 0 {
		c.MaxMessage = 1 << 20
	}
	dir, err := os.MkdirTemp("", "proctest") // t.TempDir can be too long for a socket
	if err != nil {
		return nil, err
	}
	gw := &Gateway{
		Config:   c,
		dir:      dir,
		changed:  make(chan struct{}),
		conns:    make(map[net.Conn]bool),
		chargers: make(map[string]*charger),
	}
	if gw.listener, err = net.Listen("unix", gw.Socket()); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	gw.serving.Go(gw.accept)
	return gw, nil
}

// Stop closes the socket and all links, and removes the socket.
func (gw *Gateway) Stop() {
	gw.mu.Lock()
	gw.stopped = true
	gw.listener.Close()
	gw.closeConns()
	gw.mu.Unlock()
	gw.serving.Wait()
	gw.calls.Wait()
	os.RemoveAll(gw.dir)
}

// Socket returns the path that processors connect to.
func (gw *Gateway) Socket() string { return filepath.Join(gw.dir, "processors.sock") }

// Refuse answers each HELLO from now on with REFUSED; with "" no longer.
func (gw *Gateway) Refuse(why string) {
	gw.mu.Lock()
	defer gw.mu.Unlock()
	gw.refuse = why
}

// DropLinks closes all links without a frame, as a broken gateway would. What is
// unacknowledged goes to the next link, marked redelivered.
func (gw *Gateway) DropLinks() {
	gw.mu.Lock()
	defer gw.mu.Unlock()
	gw.closeConns()
	gw.links = nil
	for _, ch := range gw.chargers {
		ch.disown()
	}
	gw.change()
}

// ErrLost is the error of a Delivery that was not acknowledged when the gateway
// restarted.
var ErrLost = errors.New("proctest: lost with the gateway")

// Restart is the crash of a gateway, and its new start: links and connections of
// chargers end without a frame, what is unacknowledged is lost, and WELCOME
// names another instance. Chargers may be opened again at once.
func (gw *Gateway) Restart() {
	gw.mu.Lock()
	defer gw.mu.Unlock()
	gw.restarts++
	gw.closeConns()
	gw.links = nil
	for _, ch := range gw.chargers {
		ch.lose()
	}
	gw.change()
}

// Instance returns what WELCOME calls this start of the gateway.
func (gw *Gateway) Instance() string {
	gw.mu.Lock()
	defer gw.mu.Unlock()
	return gw.instance()
}

func (gw *Gateway) instance() string { return fmt.Sprint("proctest-", gw.restarts+1) }

// Warn has each WELCOME from now on carry warnings.
func (gw *Gateway) Warn(warnings ...string) {
	gw.mu.Lock()
	defer gw.mu.Unlock()
	gw.warnings = warnings
}

func (gw *Gateway) closeConns() {
	for conn := range gw.conns {
		conn.Close()
	}
}

// WaitLinks waits until n links are joined, and returns their HELLOs.
// With n == 0 it waits until the last processor has left.
func (gw *Gateway) WaitLinks(ctx context.Context, n int) (hellos []HelloBody, err error) {
	err = gw.wait(ctx, fmt.Sprintf("%d links", n), func() bool {
		if len(gw.links) != n {
			return false
		}
		for _, l := range gw.links {
			hellos = append(hellos, l.hello)
		}
		return true
	})
	return hellos, err
}

// wait waits until done returns true; done is called with gw.mu held.
func (gw *Gateway) wait(ctx context.Context, what string, done func() bool) error {
	for {
		gw.mu.Lock()
		ok, changed := done(), gw.changed
		gw.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("proctest: waiting for %s: %w", what, ctx.Err())
		}
	}
}

// change wakes those who wait. gw.mu is held.
func (gw *Gateway) change() {
	close(gw.changed)
	gw.changed = make(chan struct{})
}

func (gw *Gateway) accept() {
	for {
		conn, err := gw.listener.Accept()
		if err != nil {
			return // Stop
		}
		gw.mu.Lock()
		if gw.stopped {
			conn.Close()
		} else {
			gw.conns[conn] = true
			gw.serving.Go(func() { gw.serve(conn) })
		}
		gw.mu.Unlock()
	}
}

// join makes l a link that owns chargers. gw.mu is held.
func (gw *Gateway) join(l *link) {
	gw.links = append(gw.links, l)
	for _, ch := range gw.chargers {
		ch.pump()
	}
	gw.change()
}

// leave takes l out and gives its chargers to the others. gw.mu is held.
func (gw *Gateway) leave(l *link) {
	i := slices.Index(gw.links, l)
	if i < 0 {
		return
	}
	gw.links = slices.Delete(gw.links, i, i+1)
	for _, ch := range gw.chargers {
		if ch.owner == l {
			ch.disown()
			ch.pump()
		}
	}
	gw.change()
}

// loop is the charger's.
func (ch *charger) loop() int {
	hash := fnv.New32a()
	hash.Write([]byte(ch.identity))
	return int(hash.Sum32() % uint32(ch.gw.Loops))
}

// choose is the link for a charger, or nil. gw.mu is held.
func (gw *Gateway) choose(ch *charger) *link {
	loop := ch.loop()
	for _, l := range gw.links {
		takes := len(l.hello.Subprotocols) == 0 || slices.Contains(l.hello.Subprotocols, ch.subprotocol)
		if l.hello.Loop == loop && takes && !l.draining && !l.hello.AskOnly {
			return l
		}
	}
	return nil
}
