package conn

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestSoak does random things to random connections at once, and keeps books:
// what a charger sent completely is seen in order, an echo comes in order, no
// handle finds a stranger, and nothing is left at the end (see newRig).
func TestSoak(t *testing.T) {
	const (
		chargers = 20
		ops      = 10_000
	)
	r := newRig(t, func(c *Config) {
		c.MaxMessage, c.WriteBuffer, c.MemoryLimit = 64<<10, 32<<10, 4<<20
		c.PingInterval, c.IdleTimeout = 300*time.Millisecond, time.Minute
		c.CloseTimeout, c.WriteTimeout = 200*time.Millisecond, 5*time.Second
	})
	loopRand := rand.New(rand.NewPCG(5, 6))
	r.onMessage = func(c *Conn, payload []byte, kind Kind) {
		_, _ = c.Send(payload, kind == Binary) // ErrFull and ErrClosing are as good
		if loopRand.IntN(20) == 0 {
			handle, identity := c.Handle(), c.Identity
			c.Pause()
			go r.loop.Post(func() {
				if c := r.loop.Lookup(handle); c != nil {
					if c.Identity != identity {
						t.Errorf("handle of %s finds %s", identity, c.Identity)
					}
					c.Resume()
				}
			})
		}
	}
	var all sync.WaitGroup
	for n := range chargers {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(n), 11))
			for life, done := 0, 0; done < ops/chargers; life++ {
				done += r.live(fmt.Sprintf("CP-%d/%d", n, life), rnd)
				if t.Failed() {
					return
				}
			}
		})
	}
	all.Wait()
}

// live is the life of one connection; it returns the number of things it did.
func (r *rig) live(identity string, rnd *rand.Rand) int {
	p := r.connect(identity, State{DeflateBits: 15})
	echoes := make(chan []string, 1)
	go func() { echoes <- p.readEchoes() }()
	var sent []string
	end, ops := "", 1+rnd.IntN(60)
	for i := 0; i < ops && end == ""; i++ {
		switch rnd.IntN(20) {
		case 0:
			handle := rnd.Uint64() & 0xf_0000_001f // a stranger's, most likely
			r.loop.Post(func() {
				if c := r.loop.Lookup(handle); c != nil && c.reported && c.phase == phaseOpen {
					r.t.Error("an open connection was told closed")
				}
			})
		case 1:
			_, _ = p.Write(stream(clientFrame{op: opPing, payload: []byte("p")}))
		case 2:
			_, _ = p.Write(stream(clientFrame{op: opPong}))
		default:
			s := fmt.Sprintf("%s %d ", identity, i)
			if rnd.IntN(4) == 0 {
				s += string(bytes.Repeat([]byte("x"), rnd.IntN(60<<10)))
			}
			sent = append(sent, s)
			cut := rnd.IntN(len(s) + 1)
			b := stream(clientFrame{op: opText, more: true, payload: []byte(s[:cut])}, clientFrame{op: opPong}, clientFrame{payload: []byte(s[cut:])})
			for len(b) > 0 {
				n := min(len(b), 1+rnd.IntN(40<<10))
				_, _ = p.Write(b[:n])
				b = b[n:]
			}
		}
	}
	switch rnd.IntN(6) {
	case 0:
		end = "close"
		_, _ = p.Write(stream(clientFrame{op: opClose, payload: closePayload(1000, "")}))
	case 1:
		end = "end of stream"
		_ = p.CloseWrite()
	case 2:
		end = "reset"
		_, _ = p.Write([]byte{0x81, 0xfe, 1})
		p.reset()
	case 3:
		end = "drop"
		r.loop.Post(func() {
			if c := r.loop.Lookup(p.handle); c != nil {
				c.Drop(policy)
			}
		})
	case 4:
		end = "closed by us"
		r.loop.Post(func() {
			if c := r.loop.Lookup(p.handle); c != nil {
				c.Close(policy)
			}
		})
	default:
		end = "violation"
		_, _ = p.Write([]byte{0xff, 0xff})
	}
	p.ended()
	p.Close()
	got := <-echoes
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := p.seen.messages
	if len(seen) > len(sent) || !slices.Equal(seen, sent[:len(seen)]) {
		r.t.Errorf("%s, %s: saw %.300q of %.300q", identity, end, seen, sent)
	}
	if (end == "close" || end == "end of stream" || end == "violation") && len(seen) != len(sent) {
		r.t.Errorf("%s, %s: %d of %d complete messages were seen", identity, end, len(seen), len(sent))
	}
	for at := 0; len(got) > 0; at++ { // some were not echoed: ErrFull
		if at == len(seen) {
			r.t.Errorf("%s, %s: echo %.50q is not of what was seen, or out of order", identity, end, got[0])
			break
		}
		if got[0] == seen[at] {
			got = got[1:]
		}
	}
	return ops
}

// readEchoes reads until the end, answers pings, and returns the messages.
func (p *peer) readEchoes() (got []string) {
	var d deflater
	for {
		op, compressed, b, err := p.frame()
		switch {
		case err == io.EOF, isNetworkEnd(err):
			return got
		case err != nil:
			p.rig.t.Error(err)
			return got
		case op == opText && compressed:
			plain, fault := d.inflate(b, 1<<20, true)
			if fault != nil {
				p.rig.t.Errorf("echo cannot be inflated: %v", fault)
				return got
			}
			got = append(got, string(plain))
		case op == opText:
			got = append(got, string(b))
		case op == opClose:
			_, _ = p.Write(stream(clientFrame{op: opClose, payload: b}))
		}
	}
}

func isNetworkEnd(err error) bool {
	_, ok := err.(*net.OpError)
	return ok || err == io.ErrUnexpectedEOF
}
