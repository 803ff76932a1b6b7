package upstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// A Conn is a charger's connection to a central system. One goroutine reads; any may
// write.
type Conn struct {
	ws     *websocket.Conn
	ping   *time.Timer
	closed atomic.Bool // by us
}

// writeTimeout is how long a central system may take nothing of a message.
const writeTimeout = 15 * time.Second

// newConn has pings sent: proxies on the way close what is silent, and a machine that has
// vanished shows itself by their absence.
func newConn(ws *websocket.Conn, interval time.Duration) *Conn {
	c := &Conn{ws: ws}
	if interval > 0 {
		next := func() time.Duration { return interval - rand.N(interval/4+1) }
		c.ping = time.AfterFunc(next(), func() {
			ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
			defer cancel()
			if err := ws.Ping(ctx); err != nil {
				_ = ws.CloseNow()
				return
			}
			c.ping.Reset(next())
		})
	}
	return c
}

// Read returns the next message.
func (c *Conn) Read() (payload []byte, binary bool, err error) {
	kind, payload, err := c.ws.Read(context.Background())
	if err != nil && c.ping != nil {
		c.ping.Stop()
	}
	return payload, kind == websocket.MessageBinary, err
}

// Write writes a message.
func (c *Conn) Write(payload []byte, binary bool) error {
	kind := websocket.MessageText
	if binary {
		kind = websocket.MessageBinary
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	return c.ws.Write(ctx, kind, payload)
}

// Close begins the end of the connection, and does not wait for it. Read fails then.
func (c *Conn) Close(code int, reason string) {
	if c.closed.Swap(true) {
		return
	}
	if c.ping != nil {
		c.ping.Stop()
	}
	go func() { _ = c.ws.Close(websocket.StatusCode(code), reason) }()
}

// Reason says why Read has failed, in words for a log.
func Reason(err error) string {
	if end, ok := errors.AsType[websocket.CloseError](err); ok {
		if end.Reason == "" {
			return fmt.Sprintf("closed with %d", end.Code)
		}
		return fmt.Sprintf("closed with %d: %.123q", end.Code, end.Reason)
	}
	return err.Error()
}
