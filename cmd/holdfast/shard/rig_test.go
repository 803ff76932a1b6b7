package shard

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/cmd/holdfast/config"
	"holdfast/conn"
	"holdfast/unixipc"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// A rig is the shards of a configuration, with loops that turn. Its chargers and
// processors are the other ends of socket pairs.
type rig struct {
	t      *testing.T
	shards []*Shard
	log    *lines
}

func newRig(t *testing.T, args ...string) *rig {
	t.Helper()
	c, errs := config.Parse(args)
	if len(errs) > 0 {
		t.Fatal(config.Faults(errs))
	}
	r := &rig{t: t, log: new(lines)}
	var err error
	if r.shards, err = New(c, "1", slog.New(slog.NewTextHandler(r.log, nil))); err != nil {
		t.Fatal(err)
	}
	for _, s := range r.shards {
		ended := make(chan error, 1)
		go func() { ended <- s.Run() }()
		t.Cleanup(func() {
			s.Loop.Post(s.Loop.Stop)
			if err := <-ended; err != nil {
				t.Errorf("loop %d: %v", s.Index, err)
			}
			_ = s.Loop.Close()
		})
	}
	return r
}

// lines is a log that many write to.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// eventually waits until done, or fails.
func (r *rig) eventually(what string, done func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("not in time: %s\n%s", what, r.log)
		}
	}
}

// logged waits until the log has a line with all of words.
func (r *rig) logged(words ...string) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("a line with %q", words), func() bool {
		for line := range strings.Lines(r.log.String()) {
			found := 0
			for _, w := range words {
				if strings.Contains(line, w) {
					found++
				}
			}
			if found == len(words) {
				return true
			}
		}
		return false
	})
}

// ask runs f on the loop of s.
func ask[T any](r *rig, s *Shard, f func() T) T {
	r.t.Helper()
	answer, err := Ask(context.Background(), s, f)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer
}

// pair returns two ends of a connection: one for a shard, which owns it, and ours.
func (r *rig) pair() (fd int, ours net.Conn) {
	r.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[1]), "ours")
	ours, err = net.FileConn(f)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = f.Close()
	r.t.Cleanup(func() { _ = ours.Close() })
	if err := ours.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		r.t.Fatal(err)
	}
	return fds[0], ours
}

// A charger is the other end of a connection whose handshake is done.
type charger struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func (r *rig) open(s *Shard, identity string) *charger {
	r.t.Helper()
	fd, ours := r.pair()
	s.Held.Add(1)
	state := conn.State{
		Identity: identity, Path: conn.MakeName("/ocpp/"), Subprotocol: conn.MakeName("ocpp1.6"),
		Opened: time.Now().UnixMilli(), Remote: conn.MakeRemote(netip.MustParseAddrPort("127.0.0.1:1000")),
	}
	s.Loop.Post(func() { s.Open(fd, state, nil, nil) })
	return &charger{Conn: ours, t: r.t, r: bufio.NewReader(ours)}
}

// send sends a text message, masked with zeros.
func (c *charger) send(text string) {
	c.t.Helper()
	if _, err := c.Write(append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)); err != nil {
		c.t.Fatal(err)
	}
}

// frame receives one frame of at most 125 bytes.
func (c *charger) frame() (opcode byte, payload string) {
	c.t.Helper()
	var head [2]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		c.t.Fatal(err)
	}
	b := make([]byte, head[1])
	if _, err := io.ReadFull(c.r, b); err != nil {
		c.t.Fatal(err)
	}
	return head[0] & 0xf, string(b)
}

// closed receives a Close frame.
func (c *charger) closed() (code int, reason string) {
	c.t.Helper()
	opcode, payload := c.frame()
	if opcode != 8 || len(payload) < 2 {
		c.t.Fatalf("opcode %d, %q", opcode, payload)
	}
	return int(payload[0])<<8 | int(payload[1]), payload[2:]
}

// A processor is the other end of a link.
type processor struct {
	net.Conn
	t   *testing.T
	buf []byte
}

// join joins one, and receives its WELCOME.
func (r *rig) join(s *Shard, hello unixipc.HelloBody, operator bool) *processor {
	r.t.Helper()
	fd, ours := r.pair()
	s.Joined.Add(1)
	hello.Loop = s.Index
	s.Loop.Post(func() { s.Join(fd, hello, unixipc.Peer{PID: 1, UID: 2, GID: 3}, operator, nil) })
	p := &processor{Conn: ours, t: r.t}
	p.expect(unixipc.Welcome)
	return p
}

func (p *processor) send(f unixipc.Frame) {
	p.t.Helper()
	if _, err := p.Write(f.Append(nil)); err != nil {
		p.t.Fatal(err)
	}
}

// next receives a frame; io.EOF when the link has ended.
func (p *processor) next() (f unixipc.Frame, err error) {
	for {
		f, n, err := unixipc.Parse(p.buf, 1<<20)
		if err != nil {
			return f, err
		}
		if n > 0 {
			p.buf = p.buf[n:]
			return f, nil
		}
		more := make([]byte, 64<<10)
		if n, err = p.Read(more); err != nil {
			return f, err
		}
		p.buf = append(p.buf, more[:n]...)
	}
}

// expect receives a frame of a type.
func (p *processor) expect(t unixipc.Type) unixipc.Frame {
	p.t.Helper()
	f, err := p.next()
	if err != nil || f.Type != t {
		p.t.Fatalf("received %v %q, %v; want %v", f.Type, f.Payload, err, t)
	}
	return f
}

// deliver receives a delivery, and acknowledges it with a reply, or without.
func (p *processor) deliver(t unixipc.Type, reply string) unixipc.Frame {
	p.t.Helper()
	f := p.expect(t)
	p.send(unixipc.Frame{Type: unixipc.Ack, Ref: f.Ref, Key: f.Key, Payload: []byte(reply)})
	return f
}

// result receives a RESULT that carries JSON.
func (p *processor) result() (token uint64, body unixipc.ResultBody) {
	p.t.Helper()
	f := p.expect(unixipc.Result)
	if err := json.Unmarshal(f.Payload, &body); err != nil {
		p.t.Fatal(err)
	}
	return f.Ref, body
}
