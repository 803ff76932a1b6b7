package load

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/tests/bench/ws"
)

// Trickle is a fleet of chargers that are amid a long message, each on a slow
// network: its bytes arrive a few at a time, wherever that cuts a frame or a
// record.
type Trickle struct {
	conns []*slowConn
	wait  sync.WaitGroup
	ended atomic.Bool

	mu    sync.Mutex
	first error // guarded by mu
}

// TricklePlan is what each of them sends.
type TricklePlan struct {
	Message int           // bytes of the message
	Half    int           // of these, sent at once
	Piece   int           // bytes on the wire, from there on
	Every   time.Duration // between two pieces
}

// StartTrickle opens the connections, and returns when each has sent its half.
func StartTrickle(cfg Config, plan TricklePlan) (*Trickle, error) {
	t := &Trickle{}
	message := ws.AppendMasked(nil, ws.Text, maskKey, bytes.Repeat([]byte("x"), plan.Message))
	for i := range cfg.Chargers {
		nc, err := net.Dial("tcp4", cfg.Addr)
		if err != nil {
			t.Close()
			return nil, err
		}
		slow := &slowConn{Conn: nc, plan: plan}
		t.conns = append(t.conns, slow)
		c, err := slow.open(cfg, fmt.Sprintf("%s%s%d", cfg.Path, cfg.Prefix, i))
		if err == nil {
			_, err = c.Write(message[:plan.Half])
		}
		if err != nil {
			t.Close()
			return nil, fmt.Errorf("charger %d of %d: %w", i, cfg.Chargers, err)
		}
		slow.trickles = true
		t.wait.Go(func() {
			_, err := c.Write(message[plan.Half:])
			if err == nil {
				err = fmt.Errorf("the message ended: the run is too long for it")
			}
			t.fault(err)
		})
	}
	return t, nil
}

func (t *Trickle) fault(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.first == nil && !t.ended.Load() {
		t.first = err
	}
}

// Err is the first fault of a connection, nil if there was none.
func (t *Trickle) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.first
}

// Close closes the connections amid their messages.
func (t *Trickle) Close() {
	t.ended.Store(true)
	for _, c := range t.conns {
		_ = c.Conn.Close()
	}
	t.wait.Wait()
}

// slowConn writes a piece at a time once it trickles.
type slowConn struct {
	net.Conn
	plan     TricklePlan
	trickles bool
}

func (c *slowConn) Write(b []byte) (n int, err error) {
	if !c.trickles {
		return c.Conn.Write(b)
	}
	for n < len(b) && err == nil {
		time.Sleep(c.plan.Every)
		var wrote int
		wrote, err = c.Conn.Write(b[n:min(len(b), n+c.plan.Piece)])
		n += wrote
	}
	return n, err
}

// open does the handshakes and returns what the WebSocket's frames go into.
func (c *slowConn) open(cfg Config, path string) (net.Conn, error) {
	var nc net.Conn = c
	if cfg.TLS {
		nc = tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, DynamicRecordSizingDisabled: true})
	}
	if _, err := nc.Write(ws.AppendRequest(nil, cfg.Addr, path, cfg.Subprotocol)); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("handshake answered with %s", resp.Status)
	}
	return nc, nil
}
