package conn

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// rig is a running loop with a Handler that writes down what it is told.
type rig struct {
	t    *testing.T
	loop *Loop

	// onMessage, if set, is called on the loop for each message.
	onMessage func(c *Conn, payload []byte, kind Kind)

	mu      sync.Mutex
	changed chan struct{} // closed and replaced with each change
}

// seen is what the Handler was told about a connection: Conn.User. It is
// guarded by rig.mu.
type seen struct {
	messages []string
	sent     []uint64
	closed   []Close
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	cfg := Config{
		MaxMessage:   1 << 20,
		WriteBuffer:  256 << 10,
		MemoryLimit:  64 << 20,
		WriteTimeout: patience,
		CloseTimeout: patience,
	}
	if change != nil {
		change(&cfg)
	}
	r := &rig{t: t, changed: make(chan struct{})}
	var err error
	if r.loop, err = NewLoop(cfg, r); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- r.loop.Run() }()
	t.Cleanup(func() {
		r.loop.Post(func() {
			for slot := range r.loop.table.used {
				if c := r.loop.table.at(slot); c.loop != nil {
					c.closeNow(Close{Code: CodeGoingAway, Reason: "the test is over", By: ByOperator})
				}
			}
			r.loop.Stop()
		})
		if err := <-ended; err != nil {
			t.Errorf("loop: %v", err)
		}
		if r.loop.memory != 0 || r.loop.Len() != 0 {
			t.Errorf("%d bytes and %d connections left on the loop's account", r.loop.memory, r.loop.Len())
		}
		if err := r.loop.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) note(c *Conn, f func(*seen)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := c.User.(*seen)
	f(s)
	if len(s.closed) > 1 {
		r.t.Errorf("%s: closed twice: %+v", c.Identity, s.closed)
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *rig) Message(c *Conn, payload []byte, kind Kind) {
	r.note(c, func(s *seen) {
		s.messages = append(s.messages, string(payload))
		if len(s.closed) > 0 {
			r.t.Errorf("%s: message %.50q after its end was told", c.Identity, payload)
		}
	})
	if r.onMessage != nil {
		r.onMessage(c, payload, kind)
	}
}

func (r *rig) Sent(c *Conn, position uint64) {
	r.note(c, func(s *seen) { s.sent = append(s.sent, position) })
}

func (r *rig) Closed(c *Conn, why Close) {
	r.note(c, func(s *seen) { s.closed = append(s.closed, why) })
}

func (r *rig) Alarm(time.Time)     {}
func (r *rig) BeginTurn(time.Time) {}
func (r *rig) EndTurn()            {}

// do runs f on the loop and waits for it.
func (r *rig) do(f func()) {
	r.t.Helper()
	done := make(chan struct{})
	r.loop.Post(func() { defer close(done); f() })
	select {
	case <-done:
	case <-time.After(patience):
		r.t.Fatal("the loop does not turn")
	}
}

// peer is the charger's end of a connection of the rig's.
type peer struct {
	*net.TCPConn
	rig    *rig
	br     *bufio.Reader
	handle uint64
	seen   *seen
}

// connect adds a connection to the loop.
func (r *rig) connect(identity string, s State, early ...clientFrame) *peer {
	r.t.Helper()
	client, server := tcpPair(r.t)
	fd, err := Take(server)
	if err != nil {
		r.t.Fatal(err)
	}
	p := &peer{TCPConn: client, rig: r, br: bufio.NewReader(client), seen: new(seen)}
	s.Identity = identity
	r.do(func() {
		c, err := r.loop.Add(fd, s, p.seen, stream(early...))
		if err != nil {
			r.t.Error(err)
			return
		}
		p.handle = c.Handle()
	})
	if err := client.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		r.t.Fatal(err)
	}
	return p
}

func tcpPair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = l.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// conn runs f with the connection on the loop; it must still be there.
func (p *peer) conn(f func(c *Conn)) {
	p.rig.t.Helper()
	p.rig.do(func() {
		if c := p.rig.loop.Lookup(p.handle); c != nil {
			f(c)
		} else {
			p.rig.t.Error("the connection is gone")
		}
	})
}

func (p *peer) send(frames ...clientFrame) {
	p.rig.t.Helper()
	if _, err := p.Write(stream(frames...)); err != nil {
		p.rig.t.Fatal(err)
	}
}

// until waits for a condition on what the Handler was told.
func (p *peer) until(what string, condition func(s *seen) bool) {
	p.rig.t.Helper()
	deadline := time.After(patience)
	for {
		p.rig.mu.Lock()
		ok, changed := condition(p.seen), p.rig.changed
		p.rig.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			p.rig.mu.Lock()
			defer p.rig.mu.Unlock()
			p.rig.t.Fatalf("waiting for %s: %d messages, sent %v, closed %+v", what, len(p.seen.messages), p.seen.sent, p.seen.closed)
		}
	}
}

// ended waits for Closed and returns what it told.
func (p *peer) ended() (why Close) {
	p.rig.t.Helper()
	p.until("the end", func(s *seen) bool {
		if len(s.closed) > 0 {
			why = s.closed[0]
		}
		return len(s.closed) > 0
	})
	return why
}

// frame reads a frame of the server's.
func (p *peer) frame() (op opcode, compressed bool, payload []byte, err error) {
	var h [10]byte
	if _, err := io.ReadFull(p.br, h[:2]); err != nil {
		return 0, false, nil, err
	}
	n, ext := uint64(h[1]), 0
	if n == 126 {
		ext = 2
	} else if n == 127 {
		ext = 8
	}
	if ext > 0 {
		if _, err := io.ReadFull(p.br, h[2:2+ext]); err != nil {
			return 0, false, nil, err
		}
		n = 0
		for _, b := range h[2 : 2+ext] {
			n = n<<8 | uint64(b)
		}
	}
	if h[0]&finBit == 0 || h[1]&maskBit != 0 || n > 64<<20 {
		return 0, false, nil, errors.New("not a frame that a server sends")
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(p.br, payload)
	return opcode(h[0] & 0x0f), h[0]&rsv1Bit != 0, payload, err
}

// expect reads the next frame.
func (p *peer) expect(op opcode, payload string) {
	p.rig.t.Helper()
	if gotOp, _, got, err := p.frame(); err != nil || gotOp != op || string(got) != payload {
		p.rig.t.Fatalf("got frame %x %.80q, %v; want %x %.80q", gotOp, got, err, op, payload)
	}
}

// expectClose reads a Close frame with a code.
func (p *peer) expectClose(code int) {
	p.rig.t.Helper()
	op, _, got, err := p.frame()
	if err != nil || op != opClose || len(got) < 2 || int(got[0])<<8|int(got[1]) != code {
		p.rig.t.Fatalf("got frame %x %.80q, %v; want a close with %d", op, got, err, code)
	}
}

// expectEOF reads the orderly end of the stream.
func (p *peer) expectEOF() {
	p.rig.t.Helper()
	if b, err := p.br.ReadByte(); err != io.EOF {
		p.rig.t.Fatalf("got %x, %v; want the end of the stream", b, err)
	}
}

// reset ends the connection with a RST.
func (p *peer) reset() {
	p.rig.t.Helper()
	if err := p.SetLinger(0); err != nil {
		p.rig.t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		p.rig.t.Fatal(err)
	}
}
