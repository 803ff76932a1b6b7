package conn

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// numbered are n text frames, "0" to "n-1".
func numbered(n int) (frames []clientFrame, want []string) {
	for i := range n {
		want = append(want, fmt.Sprint(i))
		frames = append(frames, textFrame(want[i]))
	}
	return frames, want
}

func (p *peer) expectMessages(want []string) {
	p.rig.t.Helper()
	p.until(fmt.Sprint(len(want), " messages"), func(s *seen) bool { return len(s.messages) >= len(want) })
	p.rig.mu.Lock()
	defer p.rig.mu.Unlock()
	if !slices.Equal(p.seen.messages, want) {
		p.rig.t.Fatalf("lost, doubled or out of order: got %.300q of %d", p.seen.messages, len(p.seen.messages))
	}
}

// Paused after every few messages and resumed from another turn, a connection
// loses nothing and keeps the order, however the bytes arrive.
func TestPauseKeepsOrder(t *testing.T) {
	r := newRig(t, nil)
	rnd := rand.New(rand.NewPCG(1, 1))
	paused := 0
	r.onMessage = func(c *Conn, payload []byte, kind Kind) {
		if rnd.IntN(5) > 0 {
			return
		}
		paused++
		c.Pause()
		switch handle := c.Handle(); rnd.IntN(3) {
		case 0:
			c.Resume()
		case 1:
			r.loop.Post(func() { r.loop.Lookup(handle).Resume() })
		default:
			go r.loop.Post(func() { r.loop.Lookup(handle).Resume() })
		}
	}
	p := r.connect("CP", State{})
	frames, want := numbered(5000)
	b := stream(frames...)
	for len(b) > 0 {
		n := min(len(b), 1+rand.IntN(3000))
		if _, err := p.Write(b[:n]); err != nil {
			t.Fatal(err)
		}
		b = b[n:]
	}
	p.expectMessages(want)
	if paused < 500 {
		t.Errorf("paused %d times only", paused)
	}
}

// While paused, nothing is handled, and what was read before waits.
func TestPauseStopsReading(t *testing.T) {
	r := newRig(t, nil)
	r.onMessage = func(c *Conn, payload []byte, _ Kind) {
		if string(payload) == "1" {
			c.Pause()
		}
	}
	p := r.connect("CP", State{})
	frames, want := numbered(10)
	p.send(frames...)
	p.expectMessages(want[:2])
	for range 10 {
		r.do(func() {})
	}
	p.conn(func(c *Conn) {
		if c.held == 0 || len(p.seen.messages) != 2 {
			t.Errorf("%d bytes held, %q handled", c.held, p.seen.messages)
		}
		c.Resume()
	})
	p.expectMessages(want)
	p.conn(func(c *Conn) {
		if c.held != 0 || c.decoder.part != nil || r.loop.memory != 0 {
			t.Error("memory kept with nothing unread")
		}
	})
}

// A charger that sends without reading the answers is read from again once it
// reads, and neither order nor bytes are lost on the way.
func TestPauseOfAChargerThatDoesNotRead(t *testing.T) {
	r := newRig(t, func(c *Config) { c.WriteBuffer = 4 << 10 })
	p := r.connect("CP", State{})
	ping := clientFrame{op: opPing, payload: bytes.Repeat([]byte("p"), 125)}
	const n = 60_000
	go func() {
		var b []byte
		for i := range n {
			b = textFrame(fmt.Sprint(i)).append(ping.append(b))
			if len(b) > 8<<10 || i == n-1 {
				if _, err := p.Write(b); err != nil {
					t.Error(err)
					return
				}
				b = b[:0]
			}
		}
	}()
	for deadline, paused := time.Now().Add(patience), false; !paused; {
		p.conn(func(c *Conn) {
			if paused = c.pause&pauseOut != 0; paused && c.out.pending() > 4<<10+127 {
				t.Errorf("%d bytes unwritten", c.out.pending())
			}
		})
		if time.Now().After(deadline) {
			t.Fatal("it is read from for ever")
		}
	}
	for range n {
		p.expect(opPong, string(ping.payload))
	}
	_, want := numbered(n)
	p.expectMessages(want)
}

// Reading goes on with what was read before the pause, even when an event of
// the same turn, or of the next, says that there is more.
func TestResumeBeforeNewBytes(t *testing.T) {
	r := newRig(t, nil)
	r.onMessage = func(c *Conn, payload []byte, _ Kind) {
		if string(payload) == "0" {
			c.Pause()
		}
	}
	p := r.connect("CP", State{})
	frames, want := numbered(6)
	p.send(frames[:3]...)
	p.expectMessages(want[:1])
	p.send(frames[3:]...)
	p.conn(func(c *Conn) {
		c.Resume()
		c.ready(readable) // as if epoll had reported it in this very turn
	})
	p.expectMessages(want)
}

// What a charger had sent when it hung up is delivered after the pause.
func TestHangUpWhilePaused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		n      int // messages: more than one read, where the kernel sends on after the end
		hangUp func(p *peer)
	}{
		{"end of stream", 20_000, func(p *peer) { p.Close() }},
		{"half-close", 20_000, func(p *peer) { _ = p.CloseWrite() }},
		{"reset", 3000, func(p *peer) { p.reset() }},
		{"close frame", 20_000, func(p *peer) { p.send(clientFrame{op: opClose, payload: closePayload(1000, "")}); p.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.onMessage = func(c *Conn, payload []byte, _ Kind) {
				if string(payload) == "0" {
					c.Pause()
				}
			}
			p := r.connect("CP", State{})
			frames, want := numbered(tt.n)
			p.send(frames[:10]...)
			p.expectMessages(want[:1])
			p.send(frames[10:]...)
			tt.hangUp(p)
			for range 20 {
				r.do(func() {})
			}
			p.conn(func(c *Conn) {
				if len(p.seen.closed) > 0 {
					t.Errorf("closed while paused: %+v", p.seen.closed)
				}
				c.Resume()
			})
			if why := p.ended(); why.By == ByGateway {
				t.Errorf("%+v", why)
			}
			p.expectMessages(want)
		})
	}
}

// A pause is not the charger's silence, and costs no time while it lasts.
func TestPauseIsNotIdle(t *testing.T) {
	const idle = 300 * time.Millisecond
	r := newRig(t, func(c *Config) { c.IdleTimeout = idle })
	p := r.connect("CP", State{})
	p.conn(func(c *Conn) { c.Pause() })
	for over := false; !over; time.Sleep(10 * time.Millisecond) {
		p.conn(func(c *Conn) {
			if over = r.loop.tick() > c.life+ticks(idle)+4; over && c.timer.at != 0 && c.timer.at <= r.loop.wheel.now+1 {
				t.Error("its timer fires at every tick")
			}
		})
	}
	var resumed time.Time
	p.conn(func(c *Conn) {
		resumed = time.Now()
		c.Resume()
	})
	if why := p.ended(); why.By != ByNetwork || time.Since(resumed) < idle-128*time.Millisecond {
		t.Errorf("%v after the pause: %+v", time.Since(resumed), why)
	}
}
