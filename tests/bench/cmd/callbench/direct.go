package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// medians of each figure.
func medians(all []measured) measured {
	of := func(f func(measured) float64) float64 {
		var list []float64
		for _, m := range all {
			list = append(list, f(m))
		}
		slices.Sort(list)
		return list[len(list)/2]
	}
	return measured{
		of(func(m measured) float64 { return m.rate }),
		of(func(m measured) float64 { return m.p50 }),
		of(func(m measured) float64 { return m.p99 }),
	}
}

// directServer is a WebSocket server, a goroutine for each charger, that calls
// them without a gateway.
type directServer struct {
	Addr     string
	listener net.Listener
	last     atomic.Int64 // id of a CALL

	mu       sync.Mutex
	chargers map[string]*directCharger
}

type directCharger struct {
	conn    net.Conn
	answers chan []byte // of the one CALL that is outstanding
}

func serveDirect() (*directServer, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &directServer{Addr: l.Addr().String(), listener: l, chargers: map[string]*directCharger{}}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s, nil
}

// Close stops accepting.
func (s *directServer) Close() error { return s.listener.Close() }

func (s *directServer) serve(conn net.Conn) {
	defer conn.Close()
	c := &directCharger{conn: conn, answers: make(chan []byte, 1)}
	upgrader := ws.Upgrader{
		Protocol: func([]byte) bool { return true },
		OnRequest: func(uri []byte) error {
			_, identity, _ := strings.Cut(string(uri), "/ocpp/")
			s.mu.Lock()
			defer s.mu.Unlock()
			s.chargers[identity] = c
			return nil
		},
	}
	if _, err := upgrader.Upgrade(conn); err != nil {
		return
	}
	for {
		b, op, err := wsutil.ReadClientData(conn) // answers pings and closes
		if err != nil {
			return
		}
		if op == ws.OpText {
			c.answers <- b
		}
	}
}

// Call implements caller.
func (s *directServer) Call(ctx context.Context, identity, action string, payload json.RawMessage) (json.RawMessage, error) {
	s.mu.Lock()
	c := s.chargers[identity]
	s.mu.Unlock()
	if c == nil {
		return nil, errors.New("offline")
	}
	id := fmt.Sprint(s.last.Add(1))
	message, err := json.Marshal([]any{2, id, action, payload})
	if err != nil {
		return nil, err
	}
	if err := wsutil.WriteServerText(c.conn, message); err != nil {
		return nil, err
	}
	select {
	case b := <-c.answers:
		var parts []json.RawMessage
		var got string
		if err := json.Unmarshal(b, &parts); err != nil || len(parts) != 3 || json.Unmarshal(parts[1], &got) != nil || got != id {
			return nil, fmt.Errorf("answer %s to CALL %s", b, id)
		}
		return parts[2], nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
