package wiretap

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
)

// A Tap is a proxy that keeps what it passes on.
type Tap struct {
	Addr string // where it listens

	listener net.Listener
	to       string
	mu       sync.Mutex
	wires    []*wire
	running  sync.WaitGroup
}

// wire is one connection; each side is written by one goroutine, and read when both
// have ended.
type wire struct {
	client, server net.Conn
	up, down       []byte // from the client, from the server
}

// Start listens on a free port of loopback.
func Start(to string) (*Tap, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &Tap{Addr: l.Addr().String(), listener: l, to: to}
	t.running.Go(t.accept)
	return t, nil
}

func (t *Tap) accept() {
	for {
		client, err := t.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", t.to)
		if err != nil {
			client.Close()
			continue
		}
		w := &wire{client: client, server: server}
		t.mu.Lock()
		t.wires = append(t.wires, w)
		t.mu.Unlock()
		t.running.Go(func() { pass(server, client, &w.up) })
		t.running.Go(func() { pass(client, server, &w.down) })
	}
}

// pass copies until the end, and passes the end on.
func pass(to, from net.Conn, kept *[]byte) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		*kept = append(*kept, b[:n]...)
		if _, writeErr := to.Write(b[:n]); err == nil {
			err = writeErr
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = to.(*net.TCPConn).CloseWrite()
			return
		case err != nil:
			from.Close()
			to.Close()
			return
		}
	}
}

// Summary is what was on the wire.
type Summary struct {
	Connections int // whose handshake was completed
	Records     int // that were protected
	KeyUpdates  int
}

// Check ends the Tap and opens everything. The error is the first record that does
// not open, or whose nonce its key has seen before.
func (t *Tap) Check(keyLog string) (s Summary, err error) {
	t.Close()
	b, err := os.ReadFile(keyLog)
	if err != nil {
		return s, err
	}
	secrets, err := parseKeyLog(string(b))
	if err != nil {
		return s, err
	}
	seen := make(nonces)
	for _, w := range t.wires {
		one, err := w.open(secrets, seen)
		if errors.Is(err, errNoHandshake) {
			continue
		}
		if err != nil {
			return s, fmt.Errorf("connection from %v: %w", w.client.RemoteAddr(), err)
		}
		s.Connections++
		s.Records += one.Records
		s.KeyUpdates += one.KeyUpdates
	}
	return s, nil
}

// Close ends all connections.
func (t *Tap) Close() {
	t.listener.Close()
	t.mu.Lock()
	for _, w := range t.wires {
		w.client.Close()
		w.server.Close()
	}
	t.mu.Unlock()
	t.running.Wait()
}
