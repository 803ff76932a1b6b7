// Package central is a central system for tests: an OCPP-J server that counts what it
// sees, does what tests tell it to, and ends and comes back like one that is killed.
package central

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// Config says how a central system behaves. Its hooks are called concurrently.
type Config struct {
	// Admit returns the HTTP status that a handshake gets; nil, or 0: it is accepted.
	Admit func(identity string, r *http.Request) int
	// Answer returns the answers to a CALL; nil: the usual one. None is allowed.
	Answer func(c *Conn, id, action string, message []byte) [][]byte
	// Answered is called with answers to CALLs of the central system.
	Answered func(c *Conn, message []byte)
	// TLS makes it one of wss.
	TLS *tls.Config
	// Ended is called when a connection has ended.
	Ended func(c *Conn)
}

// Central is one. Counts outlive its ends.
type Central struct {
	Config
	Counts

	address string
	mu      sync.Mutex
	server  *http.Server
	conns   map[*Conn]bool
	latest  map[string]*Conn // by identity
	seen    map[string]int   // how often each CALL came, by message id
	next    int64            // transaction id
}

// Counts are of all its lives.
type Counts struct {
	Connections, Refused, Received, Repeated, Answers atomic.Int64
}

// Conn is the connection of one charger.
type Conn struct {
	Identity      string
	Authorization string
	Subprotocol   string
	Header        http.Header
	of            *Central
	net           net.Conn
	mu            sync.Mutex // of writes
}

// last counts the addresses that were given: one that is killed must not have its port
// taken by another while it is away.
var last atomic.Uint32

// New returns a central system that listens on loopback, at an address of its own, or on
// address.
func New(address string, c Config) (*Central, error) {
	if address == "" {
		n := last.Add(1)
		address = fmt.Sprintf("127.77.%d.%d:0", n/250, 1+n%250)
	}
	cs := &Central{Config: c, address: address, conns: map[*Conn]bool{}, latest: map[string]*Conn{}, seen: map[string]int{}}
	return cs, cs.Start()
}

// Start listens, again after Kill.
func (cs *Central) Start() error {
	l, err := net.Listen("tcp", cs.address)
	if err != nil {
		return err
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.address = l.Addr().String()
	if cs.TLS != nil {
		l = tls.NewListener(l, cs.TLS)
	}
	cs.server = &http.Server{Handler: http.HandlerFunc(cs.handshake), ReadHeaderTimeout: 10 * time.Second}
	go func(s *http.Server) { _ = s.Serve(l) }(cs.server)
	return nil
}

// Kill ends it as SIGKILL does: all sockets close, and no frame says why.
func (cs *Central) Kill() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	_ = cs.server.Close()
	for c := range cs.conns {
		_ = c.net.Close()
	}
	clear(cs.conns)
	clear(cs.latest)
}

// Address returns host:port.
func (cs *Central) Address() string { return cs.address }

// Conn returns the last connection of a charger that is open; nil: none.
func (cs *Central) Conn(identity string) *Conn {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.latest[identity]
}

// Conns returns the connections that are open.
func (cs *Central) Conns() (all []*Conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.conns {
		all = append(all, c)
	}
	return all
}

// Open returns how many connections are open.
func (cs *Central) Open() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.conns)
}

// Seen returns how often a CALL came, by its message id.
func (cs *Central) Seen(id string) int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.seen[id]
}

// Distinct returns how many CALLs came, each counted once.
func (cs *Central) Distinct() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.seen)
}

func (cs *Central) handshake(w http.ResponseWriter, r *http.Request) {
	identity := path.Base(r.URL.Path)
	if cs.Admit != nil {
		if status := cs.Admit(identity, r); status != 0 && status != http.StatusSwitchingProtocols {
			cs.Refused.Add(1)
			w.WriteHeader(status)
			return
		}
	}
	u := ws.HTTPUpgrader{Protocol: func(string) bool { return true }}
	nc, rw, hs, err := u.Upgrade(r, w)
	if err != nil {
		return
	}
	c := &Conn{
		Identity: identity, Authorization: r.Header.Get("Authorization"), Subprotocol: hs.Protocol, Header: r.Header, of: cs, net: nc,
	}
	cs.mu.Lock()
	cs.conns[c], cs.latest[identity] = true, c
	cs.mu.Unlock()
	cs.Connections.Add(1)
	go c.serve(rw.Reader) // which has read ahead
}

func (c *Conn) serve(from io.Reader) {
	defer func() {
		_ = c.net.Close()
		if c.of.Ended != nil {
			defer c.of.Ended(c)
		}
		c.of.mu.Lock()
		defer c.of.mu.Unlock()
		delete(c.of.conns, c)
		if c.of.latest[c.Identity] == c {
			delete(c.of.latest, c.Identity)
			for other := range c.of.conns {
				if other.Identity == c.Identity {
					c.of.latest[c.Identity] = other
				}
			}
		}
	}()
	for {
		msgs, err := wsutil.ReadMessage(from, ws.StateServerSide, nil)
		if err != nil {
			return
		}
		for _, m := range msgs {
			switch {
			case m.OpCode == ws.OpText || m.OpCode == ws.OpBinary:
				c.take(m.Payload)
			case m.OpCode.IsControl():
				c.mu.Lock()
				err := wsutil.HandleClientControlMessage(c.net, m)
				c.mu.Unlock()
				if err != nil {
					return
				}
			}
		}
	}
}

func (c *Conn) take(message []byte) {
	var parts []json.RawMessage
	var kind int
	var id, action string
	if json.Unmarshal(message, &parts) != nil || len(parts) < 3 || json.Unmarshal(parts[0], &kind) != nil || json.Unmarshal(parts[1], &id) != nil {
		return
	}
	if kind != 2 {
		c.of.Answers.Add(1)
		if c.of.Answered != nil {
			c.of.Answered(c, message)
		}
		return
	}
	_ = json.Unmarshal(parts[2], &action)
	c.of.Received.Add(1)
	c.of.mu.Lock()
	if c.of.seen[id]++; c.of.seen[id] > 1 {
		c.of.Repeated.Add(1)
	}
	c.of.mu.Unlock()
	if c.of.Answer == nil {
		_ = c.Write(c.of.Usual(id, action))
		return
	}
	for _, answer := range c.of.Answer(c, id, action, message) {
		_ = c.Write(answer)
	}
}

// Usual is the usual answer to a CALL.
func (cs *Central) Usual(id, action string) []byte {
	now := time.Now().UTC().Format(time.RFC3339)
	var body any = struct{}{}
	switch action {
	case "BootNotification":
		body = map[string]any{"status": "Accepted", "currentTime": now, "interval": 300}
	case "Heartbeat":
		body = map[string]any{"currentTime": now}
	case "Authorize":
		body = map[string]any{"idTagInfo": map[string]string{"status": "Accepted"}, "idTokenInfo": map[string]string{"status": "Accepted"}}
	case "StartTransaction":
		cs.mu.Lock()
		cs.next++
		body = map[string]any{"transactionId": cs.next, "idTagInfo": map[string]string{"status": "Accepted"}}
		cs.mu.Unlock()
	}
	b, _ := json.Marshal([]any{3, id, body})
	return b
}

// Write sends the charger a message.
func (c *Conn) Write(message []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.net.SetWriteDeadline(time.Now().Add(10 * time.Second))
	return wsutil.WriteServerText(c.net, message)
}

// Call sends a CALL.
func (c *Conn) Call(id, action string, payload any) error {
	b, err := json.Marshal([]any{2, id, action, payload})
	if err != nil {
		return err
	}
	return c.Write(b)
}

// Close closes the connection with a code.
func (c *Conn) Close(code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = ws.WriteFrame(c.net, ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusCode(code), reason)))
	_ = c.net.Close()
}

// Cut ends the connection without a word.
func (c *Conn) Cut() { _ = c.net.Close() }

// Wait waits for a condition that nothing announces.
func Wait(ctx context.Context, what string, condition func() bool) error {
	for !condition() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
	return nil
}
