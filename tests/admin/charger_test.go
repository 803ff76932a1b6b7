package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"testing"

	"holdfast/tests/harness"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// charger is one whose messages the test writes itself. It answers each CALL by
// its action: Echo with its payload, Silent not at all, anything else with the
// CALLERROR NotImplemented.
type charger struct {
	t    *testing.T
	conn net.Conn
	mu   sync.Mutex // of writing

	answered chan string // ids of its own CALLs
	got      chan string // messages that are neither CALLs nor answers
	closed   chan ws.StatusCode
}

func connect(t *testing.T, w *harness.World, identity string) *charger {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Deadline)
	defer cancel()
	d := ws.Dialer{Protocols: []string{"ocpp1.6"}}
	conn, _, _, err := d.Dial(ctx, w.URL()+"/"+identity)
	if err != nil {
		t.Fatal(err)
	}
	c := &charger{
		t: t, conn: conn, answered: make(chan string, 10_000), got: make(chan string, 100),
		closed: make(chan ws.StatusCode, 1),
	}
	t.Cleanup(func() { _ = conn.Close() })
	go c.receive()
	return c
}

func (c *charger) send(message string) { c.write(ws.OpText, message) }

func (c *charger) write(op ws.OpCode, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := wsutil.WriteClientMessage(c.conn, op, []byte(message)); err != nil {
		c.t.Errorf("charger cannot write: %v", err)
	}
}

func (c *charger) receive() {
	for {
		b, _, err := wsutil.ReadServerData(c.conn)
		if closed, ok := err.(wsutil.ClosedError); ok {
			c.closed <- closed.Code
		}
		if err != nil {
			return
		}
		var parts []json.RawMessage
		var kind int
		var id, action string
		if json.Unmarshal(b, &parts) != nil || len(parts) < 3 || json.Unmarshal(parts[0], &kind) != nil || json.Unmarshal(parts[1], &id) != nil {
			c.got <- string(b)
			continue
		}
		switch kind {
		case 2:
			_ = json.Unmarshal(parts[2], &action)
			switch action {
			case "Echo":
				c.send(fmt.Sprintf(`[3,%q,%s]`, id, parts[3]))
			case "Silent":
			case "Broken":
				c.send(fmt.Sprintf("[3,%q,{\"configurationKey\":[{\"key\":\"A\",\"value\":\"1\x00\x1b[31m\"}]}]", id))
			case "Cut":
				c.send(fmt.Sprintf(`[3,%q,{"configurationKey":[{"key`, id))
			case "Marked":
				c.send(fmt.Sprintf("\xef\xbb\xbf\x00 [3,%q,%s]\x00\n", id, parts[3]))
			case "Binary":
				c.write(ws.OpBinary, fmt.Sprintf(`[3,%q,%s]`, id, parts[3]))
			default:
				c.send(fmt.Sprintf(`[4,%q,"NotImplemented","no \u001b[31mred action",{}]`, id))
			}
		case 3:
			c.answered <- id
		default:
			c.got <- string(b)
		}
	}
}
