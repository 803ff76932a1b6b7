package sim

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// fakeGateway answers every CALL, but for what its fault does. It is one
// goroutine a connection, and ends with the test.
type fakeGateway struct {
	listener net.Listener
	misdo    misdeed

	mu    sync.Mutex
	conns []net.Conn
}

// misdeed may write something else than the answer to the n-th CALL of a
// connection, counted from 1; it returns true if it did, and an error to close.
type misdeed func(w io.Writer, n int, m message) (done bool, err error)

func startFake(t *testing.T, misdo misdeed) (url string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveFake(t, l, "ws", misdo)
}

func serveFake(t *testing.T, l net.Listener, scheme string, misdo misdeed) (url string) {
	f := &fakeGateway{listener: l, misdo: misdo}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, conn)
			f.mu.Unlock()
			serving.Go(func() { f.serve(conn); conn.Close() })
		}
	})
	t.Cleanup(func() {
		l.Close()
		f.mu.Lock()
		for _, c := range f.conns {
			c.Close()
		}
		f.mu.Unlock()
		serving.Wait()
	})
	return fmt.Sprintf("%s://%s/ocpp/", scheme, l.Addr())
}

var errHangUp = errors.New("the fake hangs up")

func (f *fakeGateway) serve(conn net.Conn) {
	upgrader := ws.Upgrader{Protocol: func([]byte) bool { return true }}
	if _, err := upgrader.Upgrade(conn); err != nil {
		return
	}
	for n := 1; ; {
		b, op, err := wsutil.ReadClientData(conn) // answers pings and closes
		if err != nil || op != ws.OpText {
			return
		}
		m, ok := parseMessage(b)
		if !ok || m.kind != typeCall {
			continue
		}
		done := false
		if f.misdo != nil {
			done, err = f.misdo(conn, n, m)
		}
		if !done && err == nil {
			err = answer(conn, string(m.id))
		}
		if err != nil {
			return
		}
		n++
	}
}

func answer(w io.Writer, id string) error {
	return wsutil.WriteServerText(w, fmt.Appendf(nil, `[3,"%s",{"status":"Accepted","transactionId":7}]`, id))
}

// quick is a load that is over soon.
func quick(url string) Config {
	return Config{
		URLs: []string{url}, Chargers: 20, Rate: 1000, Outstanding: 1,
		Duration: 600 * time.Millisecond, Deadline: 300 * time.Millisecond,
	}
}

func numbered(id string, by int) string {
	m, _ := ParseMessageID(id)
	m.Seq = uint32(int(m.Seq) + by)
	return m.String()
}
