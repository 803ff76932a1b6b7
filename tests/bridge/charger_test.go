package bridge

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"holdfast/tests/harness"
)

// charger is one that a test plays by hand.
type charger struct {
	t        *testing.T
	identity string
	conn     net.Conn
	messages chan []byte // closed when the connection has ended
	err      error       // why, once messages is closed
}

// dial connects a charger; password "" is none.
func (w *world) dial(identity, password string) (*charger, error) {
	d := ws.Dialer{Protocols: []string{"ocpp1.6"}}
	if password != "" {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(identity, password)
		d.Header = ws.HandshakeHeaderHTTP(r.Header)
	}
	conn, rest, _, err := d.Dial(deadline(w.t), w.URL()+"/"+identity)
	if err != nil {
		return nil, err
	}
	c := &charger{t: w.t, identity: identity, conn: conn, messages: make(chan []byte, 100)}
	w.t.Cleanup(func() { conn.Close() })
	if rest != nil {
		w.t.Fatal("the gateway sent more than its answer")
	}
	go func() {
		defer close(c.messages)
		for {
			payload, err := wsutil.ReadServerText(conn)
			if err != nil {
				c.err = err
				return
			}
			c.messages <- payload
		}
	}()
	return c, nil
}

func (w *world) charger(identity string) *charger {
	w.t.Helper()
	c, err := w.dial(identity, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (c *charger) send(format string, args ...any) {
	c.t.Helper()
	if err := wsutil.WriteClientText(c.conn, fmt.Appendf(nil, format, args...)); err != nil {
		c.t.Fatal(err)
	}
}

// receive waits for the next message.
func (c *charger) receive() string {
	c.t.Helper()
	select {
	case m, ok := <-c.messages:
		if !ok {
			c.t.Fatalf("%s: the connection has ended: %v", c.identity, c.err)
		}
		return string(m)
	case <-time.After(harness.Deadline):
		c.t.Fatalf("%s: nothing came", c.identity)
		return ""
	}
}

// silent reports that nothing comes for a while, and the connection stays.
func (c *charger) silent(d time.Duration) {
	c.t.Helper()
	select {
	case m, ok := <-c.messages:
		c.t.Errorf("%s: got %q, open %v, %v", c.identity, m, ok, c.err)
	case <-time.After(d):
	}
}

// call sends a CALL, and returns the answer.
func (c *charger) call(id, action string) string {
	c.t.Helper()
	c.send(`[2,%q,%q,{}]`, id, action)
	return c.receive()
}

// idOf is the message id of a message.
func idOf(t *testing.T, message string) (kind int, id string) {
	t.Helper()
	var parts []json.RawMessage
	if json.Unmarshal([]byte(message), &parts) != nil || len(parts) < 3 || json.Unmarshal(parts[0], &kind) != nil || json.Unmarshal(parts[1], &id) != nil {
		t.Fatalf("%q is no message", message)
	}
	return kind, id
}

// connection waits for the central system's connection of a charger.
func (w *world) connection(identity string) {
	w.t.Helper()
	w.until("the connection of "+identity, func() bool { return w.cs.Conn(identity) != nil })
}
