package upgrade

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"holdfast/tests/raw"
	"holdfast/tests/suites"
	"holdfast/unixipc"
)

const (
	longest = 16 << 20 // bytes of a message
	chunk   = 64 << 10 // bytes that are sent at a time
)

// longText is different at every place, so that bytes which are lost, doubled or
// moved show.
func longText(seed uint64) string {
	rnd := rand.New(rand.NewPCG(seed, 16))
	b := make([]byte, longest)
	for i := range b {
		b[i] = 'a' + byte(rnd.UintN(26))
	}
	return string(b)
}

// TestLongMessagesArrive upgrades, or rolls back, while messages of 16 MiB arrive as
// fast as they can, over ws and wss. Each comes whole, byte by byte.
func TestLongMessagesArrive(t *testing.T) {
	for _, outcome := range outcomes {
		t.Run(outcome.name, func(t *testing.T) {
			t.Parallel()
			s := setScene(t, outcome.start(t, "-max-message", "16MiB", "-queue-bytes", "32MiB"))
			type sender struct {
				*charger
				text string
				sent chan bool // true: a quarter of it; closed: all but the last byte
				end  chan bool // closed: the last byte may be sent
			}
			var all []*sender
			for i, over := range []*suites.Suite{nil, &suites.All[0], &suites.All[1]} {
				c := &sender{openOver(t, s.World, over, fmt.Sprint("long-", i)), longText(uint64(i)), make(chan bool, 1), make(chan bool)}
				all = append(all, c)
				go func() {
					frame := raw.Text(c.text)
					last := len(frame) - 1
					for at := 0; at < last; at += chunk {
						if _, err := c.Write([]byte(frame[at:min(last, at+chunk)])); err != nil {
							t.Errorf("%s, behind %d bytes: %v", c.identity, at, err)
							break
						}
						if at >= last/4 && at < last/4+chunk {
							c.sent <- true
						}
						time.Sleep(2 * time.Millisecond) // half a second for all of it
					}
					close(c.sent)
					<-c.end
					_, _ = c.Write([]byte(frame[last:]))
				}()
			}
			for _, c := range all {
				<-c.sent
			}
			for range 2 {
				outcome.upgrade(t, s.World)
			}
			for _, c := range all {
				<-c.sent
			}
			outcome.upgrade(t, s.World) // amid, and nothing comes
			for _, l := range s.Log.Lines() {
				if l.Msg() == "upgraded" {
					t.Logf("pause %s, took %s", l.String("pause"), l.String("took"))
				}
			}
			for _, c := range all {
				close(c.end)
				f := s.p.next(unixipc.Message, c.identity)
				if string(f.Payload) != c.text {
					t.Errorf("%s: %d bytes came, and not those that were sent", c.identity, len(f.Payload))
				}
				s.p.ack(f, "done")
				c.expect(raw.OpText, "done")
				s.works(c.charger)
			}
		})
	}
}
