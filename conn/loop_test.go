package conn

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// echo has the loop send every message back.
func (r *rig) echo() {
	r.onMessage = func(c *Conn, payload []byte, kind Kind) {
		if _, err := c.Send(payload, kind == Binary); err != nil {
			r.t.Errorf("%s: %v", c.Identity, err)
		}
	}
}

func TestLoopEchoes(t *testing.T) {
	r := newRig(t, nil)
	r.echo()
	p := r.connect("CP", State{}, textFrame("early"))
	p.expect(opText, "early")
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 1 << 20} {
		b := bytes.Repeat([]byte("x"), n)
		p.send(clientFrame{op: opBinary, more: true, payload: b[:n/2]}, clientFrame{op: opPing, payload: []byte("amid")}, clientFrame{payload: b[n/2:]})
		p.expect(opPong, "amid")
		p.expect(opBinary, string(b))
	}
	p.send(textFrame("日本"))
	p.expect(opText, "日本")
}

func TestLoopEchoesCompressed(t *testing.T) {
	for _, bits := range []uint8{9, 15} {
		r := newRig(t, nil)
		r.echo()
		p := r.connect("CP", State{DeflateBits: bits})
		var d deflater
		for _, n := range []int{1, minCompressed - 1, minCompressed, 513, 32 << 10} {
			s := strings.Repeat("x", n)
			p.send(clientFrame{op: opText, rsv: rsv1Bit, payload: mustDeflate(t, s[:n/3], s[n/3:])})
			op, compressed, got, err := p.frame()
			if want := n >= minCompressed && n <= 1<<bits; compressed != want {
				t.Errorf("%d bytes with a window of %d bits: compressed %v", n, bits, compressed)
			}
			if compressed {
				var fault *Close
				if got, fault = d.inflate(got, n, true); fault != nil {
					t.Fatal(fault)
				}
			}
			if err != nil || op != opText || string(got) != s {
				t.Fatalf("%d bytes: got %x, %d bytes, %v", n, op, len(got), err)
			}
		}
	}
}

func TestLoopAnswersViolations(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxMessage = testBounds.maxMessage })
	for _, tt := range violations {
		p := r.connect(tt.name, State{DeflateBits: 15})
		if _, err := p.Write(tt.b); err != nil {
			t.Fatal(err)
		}
		p.expectClose(tt.code)
		p.expectEOF()
		if why := p.ended(); why.Code != tt.code || why.By != ByGateway || why.Reason == "" {
			t.Errorf("%s: %+v", tt.name, why)
		}
		if len(p.seen.messages) != tt.events {
			t.Errorf("%s: %d messages before it, want %d", tt.name, len(p.seen.messages), tt.events)
		}
	}
	for _, tt := range []struct {
		name    string
		payload []byte
		code    int
	}{
		{"bomb", mustDeflate(t, strings.Repeat("x", 1<<20)), CodeTooBig},
		{"garbage", []byte("\xff\xff\xff"), CodeInvalidData},
		{"text that inflates to no UTF-8", mustDeflate(t, "\xff"), CodeInvalidData},
	} {
		p := r.connect(tt.name, State{DeflateBits: 15})
		p.send(clientFrame{op: opText, rsv: rsv1Bit, payload: tt.payload})
		p.expectClose(tt.code)
		if why := p.ended(); why.Code != tt.code {
			t.Errorf("%s: %+v", tt.name, why)
		}
	}
}

// Sent tells the positions that Send returned, in order, and the last one when
// all is written.
func TestLoopTellsWhatIsSent(t *testing.T) {
	r := newRig(t, func(c *Config) { c.WriteBuffer = 64 << 20 })
	p := r.connect("CP", State{})
	var want []uint64
	const n = 60
	payload := bytes.Repeat([]byte("x"), 256<<10) // more than the socket takes
	p.conn(func(c *Conn) {
		for range n {
			at, err := c.Send(payload, true)
			if err != nil {
				t.Error(err)
			}
			want = append(want, at)
		}
	})
	p.conn(func(c *Conn) {
		if c.out == nil || c.stalled == 0 {
			t.Error("all of it is written at once: the test does not test")
		}
	})
	for range n {
		p.expect(opBinary, string(payload))
	}
	p.until("the last position", func(s *seen) bool { return len(s.sent) > 0 && s.sent[len(s.sent)-1] >= want[n-1] })
	if !slices.IsSorted(p.seen.sent) || p.seen.sent[len(p.seen.sent)-1] != want[n-1] || !slices.IsSorted(want) {
		t.Errorf("told %v of %v", p.seen.sent, want)
	}
	p.conn(func(c *Conn) {
		if c.out != nil {
			t.Error("memory kept with nothing to write")
		}
		p.seen.sent = nil // the loop is here, not there
		at, err := c.Send([]byte("again"), false)
		want = []uint64{at}
		if err != nil {
			t.Error(err)
		}
	})
	p.until("the next position", func(s *seen) bool { return slices.Equal(s.sent, want) })
	p.expect(opText, "again")
}

// What was posted runs, in order, and an alarm comes once.
func TestLoopRunsWhatIsPosted(t *testing.T) {
	r := newRig(t, nil)
	var got []int
	for i := range 1000 {
		r.loop.Post(func() {
			got = append(got, i)
			if i == 500 {
				r.loop.Post(func() { got = append(got, -1) })
			}
		})
	}
	r.do(func() {})
	r.do(func() {
		if i := slices.Index(got, -1); len(got) != 1001 || i < 501 || !slices.IsSorted(slices.Delete(got, i, i+1)) {
			t.Errorf("%d ran, the nested one as number %d", len(got), i)
		}
	})
}

// A message to a connection that is over is refused, and handles of the gone
// find nobody, even when the slot has a new user.
func TestLoopReusesSlots(t *testing.T) {
	r := newRig(t, nil)
	r.echo()
	handles := map[uint64]bool{}
	for i := range 300 {
		p := r.connect(fmt.Sprint("CP", i), State{})
		if handles[p.handle] {
			t.Fatalf("handle %x is used twice", p.handle)
		}
		handles[p.handle] = true
		p.send(textFrame("hello"))
		p.expect(opText, "hello")
		if i%2 == 0 {
			p.reset()
		} else {
			p.send(clientFrame{op: opClose})
		}
		p.ended()
		p.Close()
		r.gone(p)
	}
	if r.loop.table.used > 3 {
		t.Errorf("%d slots for one connection at a time", r.loop.table.used)
	}
}

// gone waits until the loop has closed the socket.
func (r *rig) gone(p *peer) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		var left bool
		r.do(func() { left = r.loop.Lookup(p.handle) != nil })
		if !left {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatal("the socket is never closed")
		}
		time.Sleep(time.Millisecond)
	}
}

// stopper stops its loop in the turn of a timer, when there is something to read.
type stopper struct {
	nobody
	loop *Loop
	nc   interface{ Write([]byte) (int, error) }
	got  int
}

func (s *stopper) Message(*Conn, []byte, Kind) { s.got++ }

func (s *stopper) Alarm(time.Time) {
	_, _ = s.nc.Write(stream(textFrame("too late")))
	s.loop.Stop()
}

// Stop ends Run after this turn, even one for the timers: what comes then is
// another's.
func TestStopInATurnForTimers(t *testing.T) {
	fd, nc := pipe(t)
	s := &stopper{nc: nc}
	var err error
	if s.loop, err = NewLoop(Config{MaxMessage: 100, WriteBuffer: 100, MemoryLimit: 100}, s); err != nil {
		t.Fatal(err)
	}
	c, err := s.loop.Add(fd, held(nil), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.loop.SetAlarm(time.Now())
	if err := s.loop.Run(); err != nil {
		t.Fatal(err)
	}
	if s.got != 0 {
		t.Error("a message was read after Stop")
	}
	c.closeNow(policy)
	_ = s.loop.Close()
	_ = nc.Close()
}
