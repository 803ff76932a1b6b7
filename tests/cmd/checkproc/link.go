package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"holdfast/tests/ledger"
	"holdfast/unixipc"
)

// link is one connection to one loop of the gateway.
type link struct {
	conn   net.Conn
	ledger *ledger.Writer
	delay  time.Duration

	maxPayload int
	in         []byte // read, not yet parsed

	mu sync.Mutex // guards writing to conn
}

var errDrained = errors.New("drained")

// join connects, and returns how many loops the gateway says it runs.
func join(socket, name string, loop int) (l *link, loops int, err error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, 0, err
	}
	hello, err := json.Marshal(unixipc.HelloBody{Name: name, Loop: loop})
	if err != nil {
		return nil, 0, err
	}
	l = &link{conn: conn, maxPayload: unixipc.MaxControl}
	if err := l.write(unixipc.Frame{Type: unixipc.Hello, Ref: unixipc.Version, Payload: hello}.Append(nil)); err != nil {
		return nil, 0, err
	}
	for {
		f, n, err := unixipc.Parse(l.in, l.maxPayload)
		if err != nil {
			return nil, 0, err
		}
		if n == 0 {
			if err := l.read(); err != nil {
				return nil, 0, err
			}
			continue
		}
		if f.Type != unixipc.Welcome {
			return nil, 0, fmt.Errorf("%v instead of WELCOME: %s", f.Type, f.Payload)
		}
		var welcome unixipc.WelcomeBody
		if err := json.Unmarshal(f.Payload, &welcome); err != nil {
			return nil, 0, fmt.Errorf("WELCOME: %w", err)
		}
		l.maxPayload = max(l.maxPayload, welcome.MaxMessage)
		l.in = l.in[n:]
		return l, welcome.Loops, nil
	}
}

func (l *link) read() error {
	const chunk = 64 << 10
	if cap(l.in)-len(l.in) < chunk {
		l.in = append(make([]byte, 0, len(l.in)+2*chunk), l.in...)
	}
	n, err := l.conn.Read(l.in[len(l.in):cap(l.in)])
	l.in = l.in[:len(l.in)+n]
	return err
}

func (l *link) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.conn.Write(b)
	return err
}

func (l *link) drain() {
	l.write(unixipc.Frame{Type: unixipc.Drain}.Append(nil)) // a link that is gone shows in serve
}

// serve answers until the gateway says DRAINED or the link ends: each batch is
// first noted, then worked on, then acknowledged.
func (l *link) serve() error {
	defer l.conn.Close()
	defer l.ledger.Close()
	var out []byte
	for {
		out = out[:0]
		var ended error
		for ended == nil {
			f, n, err := unixipc.Parse(l.in, l.maxPayload)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			unacknowledged := len(out) > 0
			out, ended = l.take(out, f)
			if errors.Is(ended, errDrained) && unacknowledged {
				ended = errors.New("DRAINED came before everything was acknowledged")
			}
			l.in = l.in[n:]
		}
		if err := l.ledger.Flush(); err != nil {
			return err
		}
		if len(out) > 0 && l.delay > 0 {
			time.Sleep(l.delay) // the work
		}
		if err := l.write(out); err != nil {
			return err
		}
		switch {
		case errors.Is(ended, errDrained):
			return nil
		case ended != nil:
			return ended
		}
		if err := l.read(); err != nil {
			if errors.Is(err, io.EOF) {
				return errors.New("the gateway closed the link")
			}
			return err
		}
	}
}

// take notes a frame and appends what to send for it.
func (l *link) take(out []byte, f unixipc.Frame) ([]byte, error) {
	ack := unixipc.Frame{Type: unixipc.Ack, Ref: f.Ref, Key: f.Key}
	switch f.Type {
	case unixipc.Drained:
		return out, errDrained
	case unixipc.Refused:
		return out, fmt.Errorf("refused: %s", f.Payload)
	case unixipc.Opened, unixipc.Closed:
		return ack.Append(out), nil
	case unixipc.Message:
		id, call := messageID(f.Payload)
		if call {
			l.ledger.Add(string(f.Key), id, f.Flags&unixipc.Redelivered != 0)
			ack.Payload = reply(id, f.Ref)
		}
		return ack.Append(out), nil
	}
	return out, nil
}

// messageID returns the id of a CALL.
func messageID(payload []byte) (id string, call bool) {
	var message []json.RawMessage
	if json.Unmarshal(payload, &message) != nil || len(message) < 2 || string(message[0]) != "2" {
		return "", false
	}
	err := json.Unmarshal(message[1], &id)
	return id, err == nil
}

// reply has what the simulator looks for in any answer.
func reply(id string, delivery uint64) []byte {
	return fmt.Appendf(nil, `[3,%q,{"status":"Accepted","currentTime":%q,"interval":300,"transactionId":%d,"idTagInfo":{"status":"Accepted"}}]`,
		id, time.Now().UTC().Format(time.RFC3339), delivery)
}
