package upgrade

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"holdfast/tests/harness"
	"holdfast/tests/raw"
	"holdfast/tests/suites"
	"holdfast/unixipc"
)

// oneOfEach has all the shapes that records have: TLS 1.2 with and without a part
// of the nonce in the record, TLS 1.3, short keys and long ones.
var oneOfEach = suites.All[:6]

// outcomes of an upgrade for those who are caught by its freeze.
var outcomes = []struct {
	name    string
	start   func(t *testing.T, args ...string) *harness.World
	upgrade func(t *testing.T, w *harness.World)
}{
	{
		"upgraded", func(t *testing.T, args ...string) *harness.World { return harness.New(t, args...) },
		func(t *testing.T, w *harness.World) { w.MustUpgrade() },
	},
	{
		"rolled back", func(t *testing.T, args ...string) *harness.World {
			return newFailing(t, args...)
		},
		func(t *testing.T, w *harness.World) { mustRollBack(t, w) },
	},
}

// TestFreezeAtEveryByteOfARecord has the freeze catch chargers behind each byte of a
// record, with each suite; then they send the next byte, are caught again, and send
// the rest.
func TestFreezeAtEveryByteOfARecord(t *testing.T) {
	for _, outcome := range outcomes {
		t.Run(outcome.name, func(t *testing.T) {
			t.Parallel()
			s := setScene(t, outcome.start(t))
			var chargers []*charger
			for i, suite := range oneOfEach {
				for at, whole := 1, 2; at < whole; at++ {
					c := openOver(t, s.World, &suite, fmt.Sprintf("S%d-%d", i, at))
					// One record that is complete comes in the same segment.
					c.wire.shut = true
					c.send(raw.Text("complete"))
					first := len(c.wire.held)
					c.send(raw.Text("cut short"))
					whole = len(c.wire.held) - first
					if err := c.wire.let(first + at); err != nil {
						t.Fatal(err)
					}
					chargers = append(chargers, c)
				}
			}
			t.Logf("%d chargers in the middle of a record", len(chargers))
			for _, c := range chargers {
				s.p.ack(s.p.message(c.identity, "complete"), "yes")
				c.expect(raw.OpText, "yes")
			}
			s.settled()
			outcome.upgrade(t, s.World)
			for _, c := range chargers {
				if err := c.wire.let(1); err != nil {
					t.Fatal(err)
				}
			}
			s.settled()
			outcome.upgrade(t, s.World)
			for _, c := range chargers {
				if err := c.wire.let(len(c.wire.held)); err != nil {
					t.Fatal(err)
				}
				c.wire.shut = false
			}
			for _, c := range chargers {
				s.p.ack(s.p.message(c.identity, "cut short"), "done")
				c.expect(raw.OpText, "done")
				s.works(c)
			}
		})
	}
}

// TestFreezePartlyWritten has the freeze catch chargers that do not read, with each
// suite: some of their records are written, one is in part, more wait to be sealed.
func TestFreezePartlyWritten(t *testing.T) {
	for _, outcome := range outcomes {
		t.Run(outcome.name, func(t *testing.T) {
			t.Parallel()
			s := setScene(t, outcome.start(t))
			type silent struct {
				*charger
				taken int // messages
			}
			var chargers []*silent
			message := func(i, n int) string { // of different lengths, to end anywhere
				return fmt.Sprintf("%d:%s", n, strings.Repeat("b", 40<<10+i*997+n*13))
			}
			for i, suite := range suites.All {
				c := &silent{charger: openOver(t, s.World, &suite, fmt.Sprint("silent-", i))}
				s.works(c.charger)
				for full := false; !full; {
					s.p.send(bytesOf(unixipc.Frame{Type: unixipc.Send, Ref: uint64(c.taken), Key: []byte(c.identity), Payload: []byte(message(i, c.taken))}))
					c.taken++
					s.settled()
					for _, f := range s.p.take(unixipc.Result) {
						var body unixipc.ResultBody
						if err := json.Unmarshal(f.Payload, &body); err != nil {
							t.Fatal(err)
						}
						if full = full || body.Status == unixipc.StatusFull; full {
							c.taken--
						}
					}
				}
				chargers = append(chargers, c)
			}
			outcome.upgrade(t, s.World)
			for i, c := range chargers {
				for n := range c.taken / 2 {
					c.expect(raw.OpText, message(i, n))
				}
			}
			outcome.upgrade(t, s.World)
			for i, c := range chargers {
				for n := c.taken / 2; n < c.taken; n++ {
					c.expect(raw.OpText, message(i, n))
				}
				s.works(c.charger)
			}
		})
	}
}

// throttle is a connection that lets some bytes out, and the rest when it is opened.
type throttle struct {
	net.Conn
	left   int
	passed chan struct{} // closed when none are left
	open   chan struct{}
}

func (h *throttle) Write(b []byte) (int, error) {
	n := min(h.left, len(b))
	if n == len(b) {
		h.left -= n
		return h.Conn.Write(b)
	}
	if h.left >= 0 {
		if _, err := h.Conn.Write(b[:n]); err != nil {
			return 0, err
		}
		h.left = -1
		close(h.passed)
	} else {
		n = 0
	}
	<-h.open
	m, err := h.Conn.Write(b[n:])
	return n + m, err
}

// TestFreezeMidTLSHandshake: TLS handshakes that are under way at the freeze end in the
// old process, and follow, each from another byte on.
func TestFreezeMidTLSHandshake(t *testing.T) {
	t.Parallel()
	s := setScene(t, harness.New(t))
	type late struct {
		*throttle
		suite    suites.Suite
		identity string
		done     chan net.Conn
	}
	var all []*late
	for i, suite := range oneOfEach {
		for _, at := range []int{0, 3, 100, 300, 450} { // from its first byte to the middle of the request
			h := &throttle{Conn: connect(t, s.AddrTLS), left: at, passed: make(chan struct{}), open: make(chan struct{})}
			l := &late{h, suite, fmt.Sprintf("late-%d-%d", i, at), make(chan net.Conn, 1)}
			all = append(all, l)
			config := s.TLS.Client()
			config.ServerName = "127.0.0.2"
			config.CurvePreferences = []tls.CurveID{tls.X25519} // a short ClientHello
			go func() {
				tc, err := suite.Client(t.Context(), h, config)
				if err != nil {
					t.Errorf("%s: %v", l.identity, err)
					close(l.done)
					return
				}
				_, err = io.WriteString(tc, (&charger{identity: l.identity}).request())
				if err != nil {
					t.Error(err)
				}
				l.done <- tc
			}()
		}
	}
	for _, l := range all {
		select {
		case <-l.passed:
		case tc := <-l.done: // it is through
			l.done <- tc
		}
	}
	done := make(chan error, 1)
	go func() {
		_, err := upgrade(t, s.World)
		done <- err
	}()
	awaitLog(t, s.World, "upgraded")
	s.settled() // served by the new process already
	for _, l := range all {
		close(l.open)
		tc := <-l.done
		if tc == nil {
			continue
		}
		c := &charger{Conn: tc, t: t, identity: l.identity, br: bufio.NewReader(tc)}
		c.opened()
		s.works(c)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s.MustUpgrade()
}
