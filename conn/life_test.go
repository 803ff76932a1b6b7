package conn

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// Pings come at their interval, and any byte is life: a charger that never
// answers a ping, but dribbles a message, is held.
func TestAnyByteIsLife(t *testing.T) {
	const every, idle = 150 * time.Millisecond, 700 * time.Millisecond
	r := newRig(t, func(c *Config) { c.PingInterval, c.IdleTimeout = every, idle })
	p := r.connect("CP", State{})
	slow := stream(textFrame(strings.Repeat("x", 100)))
	began := time.Now()
	pings := 0
	for time.Since(began) < 3*idle {
		p.expect(opPing, "")
		pings++
		if _, err := p.Write(slow[:1]); err != nil {
			t.Fatal(err)
		}
		slow = slow[1:]
	}
	if most := int(time.Since(began)/every) + 1; pings > most {
		t.Errorf("%d pings in %v", pings, time.Since(began))
	}
	silent := time.Now()
	why := p.ended()
	if held := time.Since(silent); why.By != ByNetwork || why.Code != CodeAbnormal || held < idle-256*time.Millisecond {
		t.Errorf("%v after its last byte: %+v", held, why)
	}
}

func TestPongsAreLife(t *testing.T) {
	r := newRig(t, func(c *Config) { c.PingInterval, c.IdleTimeout = 150*time.Millisecond, 600*time.Millisecond })
	p := r.connect("CP", State{})
	for began := time.Now(); time.Since(began) < 1500*time.Millisecond; {
		p.expect(opPing, "")
		p.send(clientFrame{op: opPong})
	}
	p.conn(func(c *Conn) {
		if c.phase != phaseOpen {
			t.Error("closed")
		}
	})
}

// Without pings and time-outs, an idle connection has no timer at all.
func TestNoTimersWithoutPings(t *testing.T) {
	r := newRig(t, nil)
	p := r.connect("CP", State{})
	p.conn(func(c *Conn) {
		if _, ok := r.loop.wheel.next(); ok || c.timer.at != 0 {
			t.Error("a timer is armed")
		}
	})
}

// A charger that does not read: its senders are told, and then it is closed.
func TestChargerThatDoesNotRead(t *testing.T) {
	const timeout = 300 * time.Millisecond
	r := newRig(t, func(c *Config) { c.WriteTimeout = timeout })
	p := r.connect("CP", State{})
	payload := bytes.Repeat([]byte("x"), 64<<10)
	var err error
	var last uint64
	var began time.Time
	for sends := 0; err == nil; sends++ {
		p.conn(func(c *Conn) {
			began = time.Now()
			var at uint64
			if at, err = c.Send(payload, true); err == nil {
				last = at
			}
			if c.out != nil && c.out.pending() > r.loop.cfg.WriteBuffer+len(payload) {
				t.Errorf("%d bytes unwritten", c.out.pending())
			}
		})
		if sends > 1000 {
			t.Fatal("64 MiB are taken for a charger that does not read")
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	why := p.ended()
	if why.By != ByGateway || !strings.Contains(why.Reason, "did not read") || time.Since(began) > timeout+patience/2 {
		t.Errorf("after %v: %+v", time.Since(began), why)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(p.seen.sent); n > 0 && p.seen.sent[n-1] >= last {
		t.Error("told that all is sent, and it is not")
	}
}

// A slow reader is not one that does not read.
func TestChargerThatReadsSlowly(t *testing.T) {
	const timeout = time.Second
	r := newRig(t, func(c *Config) { c.WriteTimeout = timeout })
	p := r.connect("CP", State{})
	payload := bytes.Repeat([]byte("x"), 16<<20)
	p.conn(func(c *Conn) {
		if _, err := c.Send(payload, true); err != nil {
			t.Error(err)
		}
	})
	got := 0
	b := make([]byte, 64<<10)
	for began := time.Now(); got < 10+len(payload); {
		n, err := p.br.Read(b)
		if err != nil {
			t.Fatalf("after %d bytes in %v: %v", got, time.Since(began), err)
		}
		got += n
		if time.Since(began) < 2*timeout {
			time.Sleep(8 * time.Millisecond) // it is slow
		}
	}
}

// At the limit of memory for partial messages reading stops; who then has
// waited too long is closed with 1013, and the others go on.
func TestMemoryLimit(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.MaxMessage, c.MemoryLimit, c.WriteTimeout = 100<<10, 128<<10, 500*time.Millisecond
	})
	half := stream(clientFrame{op: opBinary, payload: make([]byte, 100<<10)})
	var greedy []*peer
	for range 4 {
		p := r.connect("greedy", State{})
		if _, err := p.Write(half[:90<<10]); err != nil {
			t.Fatal(err)
		}
		greedy = append(greedy, p)
	}
	modest := r.connect("modest", State{})
	modest.send(textFrame("small"))
	modest.expectMessages([]string{"small"})
	closed, finished := 0, 0
	for _, p := range greedy {
		_, _ = p.Write(half[90<<10:]) // refused where it was closed already
		p.until("its message, or its end", func(s *seen) bool { return len(s.messages)+len(s.closed) > 0 })
		r.mu.Lock()
		if len(p.seen.messages) > 0 {
			finished++
		} else if why := p.seen.closed[0]; why.Code == CodeTryLater {
			closed++
		} else {
			t.Errorf("%+v", why)
		}
		r.mu.Unlock()
	}
	if closed == 0 || finished == 0 {
		t.Errorf("%d closed with 1013, %d finished", closed, finished)
	}
	modest.send(textFrame("again"))
	modest.expectMessages([]string{"small", "again"})
	r.do(func() {
		if r.loop.memory > r.loop.cfg.MemoryLimit {
			t.Errorf("%d bytes held", r.loop.memory)
		}
	})
}
