package upgrade

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/tests/harness"
	"holdfast/tests/raw"
	"holdfast/tests/suites"
	"holdfast/unixipc"
)

// scene is a gateway with one processor, which the test plays itself.
type scene struct {
	*harness.World
	t       *testing.T
	over    *suites.Suite // nil: ws
	p       *processor
	witness *charger // over ws
	n       int
}

// settled returns when the loop has seen all that was sent before: it has
// answered the witness.
func (s *scene) settled() {
	s.t.Helper()
	s.n++
	question := fmt.Sprintf("settled %d", s.n)
	s.witness.send(raw.Text(question))
	s.p.ack(s.p.message("witness", question), "yes")
	s.witness.expect(raw.OpText, "yes")
}

// works has a charger ask and the processor answer.
func (s *scene) works(c *charger) {
	s.t.Helper()
	c.send(raw.Text("still there?"))
	s.p.ack(s.p.message(c.identity, "still there?"), "yes")
	c.expect(raw.OpText, "yes")
}

const long = 200 << 10 // bytes that fill no socket by themselves

// states that a freeze may catch a charger or a link in. Each begins something,
// and returns what ends it, with the checks.
var states = []struct {
	name  string
	args  []string
	begin func(s *scene) (end func())
}{
	{"mid-header", nil, func(s *scene) func() { return s.split(raw.Text("header"), 1) }},
	{"mid-mask", nil, func(s *scene) func() { return s.split(raw.Text("mask me"), 4) }},
	{"mid-length-16", nil, func(s *scene) func() { return s.split(raw.Text(strings.Repeat("x", 300)), 3) }},
	{"mid-length-64", nil, func(s *scene) func() { return s.split(raw.Text(strings.Repeat("y", 70000)), 7) }},
	{"mid-payload", nil, func(s *scene) func() { return s.split(raw.Text("a payload of some bytes"), 15) }},
	{"mid-payload, long", nil, func(s *scene) func() { return s.split(raw.Text(strings.Repeat("z", long)), long/2) }},
	{"between fragments", nil, func(s *scene) func() {
		return s.parts("one, two, three", raw.Masked(raw.OpText, "one, "), raw.Masked(raw.OpContinuation, "two, ")+raw.Masked(raw.Fin|raw.OpContinuation, "three"))
	}},
	{"between fragments, ping half sent", nil, func(s *scene) func() {
		c := s.open("c")
		ping := raw.Masked(raw.Fin|raw.OpPing, "ping")
		c.send(raw.Masked(raw.OpText, "one, ") + ping[:8])
		s.settled()
		return func() {
			c.send(ping[8:] + raw.Masked(raw.Fin|raw.OpContinuation, "two"))
			c.expect(raw.OpPong, "ping")
			s.p.ack(s.p.message("c", "one, two"), "done")
			c.expect(raw.OpText, "done")
		}
	}},
	{"mid-UTF-8", nil, func(s *scene) func() { return s.split(raw.Text("ä€𝄞"), 6+1) }},
	{"mid-UTF-8 of four", nil, func(s *scene) func() { return s.split(raw.Text("ä€𝄞"), 6+8) }},
	{"mid-UTF-8 between fragments", nil, func(s *scene) func() {
		return s.parts("€", raw.Masked(raw.OpText, "\xe2\x82"), raw.Masked(raw.Fin|raw.OpContinuation, "\xac"))
	}},
	{"mid-UTF-8 that ends badly", nil, func(s *scene) func() {
		c := s.open("c")
		c.send(raw.Masked(raw.OpText, "\xe2\x82"))
		s.settled()
		return func() {
			c.send(raw.Masked(raw.Fin|raw.OpContinuation, "x"))
			c.expectEnd(1007)
		}
	}},
	{"compressed, half sent", nil, func(s *scene) func() {
		c := s.open("c", "Sec-WebSocket-Extensions: permessage-deflate")
		message := strings.Repeat("compress me ", 200)
		frame := raw.Masked(raw.Fin|raw.Rsv1|raw.OpText, deflated(s.t, message))
		c.send(frame[:len(frame)/2])
		s.settled()
		return func() {
			c.send(frame[len(frame)/2:])
			s.p.ack(s.p.message("c", message), "done")
			c.expect(raw.OpText, "done")
		}
	}},
	{"compressed, between fragments", nil, func(s *scene) func() {
		c := s.open("c", "Sec-WebSocket-Extensions: permessage-deflate")
		message := strings.Repeat("compress me ", 200)
		z := deflated(s.t, message)
		c.send(raw.Masked(raw.Rsv1|raw.OpText, z[:len(z)/2]))
		s.settled()
		return func() {
			c.send(raw.Masked(raw.Fin|raw.OpContinuation, z[len(z)/2:]))
			s.p.ack(s.p.message("c", message), "done")
			c.expect(raw.OpText, "done")
		}
	}},
	{"closed by the charger, which does not end", nil, func(s *scene) func() {
		c := s.open("c")
		c.send(raw.Masked(raw.Fin|raw.OpClose, raw.Closing(1000, "")))
		s.p.ack(s.p.next(unixipc.Closed, "c"), "")
		return func() { c.expectEnd(1000) }
	}},
	{"close frame of the charger half sent", nil, func(s *scene) func() {
		c := s.open("c")
		frame := raw.Masked(raw.Fin|raw.OpClose, raw.Closing(1001, ""))
		c.send(frame[:7])
		s.settled()
		return func() {
			c.send(frame[7:])
			c.expectEnd(1001)
			s.closed("c", 1001, "charger")
		}
	}},
	{"closed by the processor, charger has not answered", nil, func(s *scene) func() {
		c := s.open("c")
		s.works(c)
		s.p.send(bytesOf(unixipc.Frame{Type: unixipc.Close, Ref: 7, Key: []byte("c"), Payload: []byte(`{"code":3000,"reason":"away"}`)}))
		if status := s.p.result("c", 7); status != unixipc.StatusOK {
			s.t.Errorf("CLOSE: %v", status)
		}
		return func() {
			c.expect(raw.OpClose, raw.Closing(3000, "")+"away")
			c.send(raw.Text("a last message") + raw.Masked(raw.Fin|raw.OpClose, raw.Closing(3000, "")))
			s.p.ack(s.p.message("c", "a last message"), "")
			s.closed("c", 3000, "processor")
		}
	}},
	{"replaced by a new connection", nil, func(s *scene) func() {
		former := s.open("c")
		s.works(former)
		c := s.open("c")
		s.p.ack(s.p.next(unixipc.Closed, "c"), "")
		return func() {
			former.expectEnd(1008)
			s.works(c)
		}
	}},
	{"not reading, buffer full", nil, func(s *scene) func() {
		c := s.open("c")
		s.works(c)
		// More than both sockets hold, so that some are unwritten, half written, and
		// the last refused for a full buffer.
		big := strings.Repeat("b", 60<<10)
		refused := uint64(0)
		ok := map[uint64]bool{}
		for n := uint64(1); refused == 0; n++ {
			s.p.send(bytesOf(unixipc.Frame{Type: unixipc.Send, Ref: n, Key: []byte("c"), Payload: fmt.Appendf(nil, "%d %s", n, big)}))
			s.settled()
			for _, f := range s.p.take(unixipc.Result) {
				var body unixipc.ResultBody
				if err := json.Unmarshal(f.Payload, &body); err != nil {
					s.t.Fatal(err)
				}
				switch body.Status {
				case unixipc.StatusOK:
					ok[f.Ref] = true
				case unixipc.StatusFull:
					refused = f.Ref
				default:
					s.t.Fatalf("SEND %d: %v", f.Ref, body.Status)
				}
			}
		}
		if len(ok) == int(refused)-1 {
			s.t.Fatal("nothing was unwritten: the test does not test")
		}
		return func() {
			for n := uint64(1); n < refused; n++ {
				c.expect(raw.OpText, fmt.Sprintf("%d %s", n, big))
			}
			for n := uint64(len(ok)) + 1; n < refused; n++ {
				if status := s.p.result("c", n); status != unixipc.StatusOK {
					s.t.Errorf("SEND %d: %v", n, status)
				}
			}
			s.works(c)
		}
	}},
	{"queued with no processor", nil, func(s *scene) func() {
		return s.queued(20)
	}},
	{"paused by back-pressure", []string{"-queue-messages", "8"}, func(s *scene) func() {
		return s.queued(500)
	}},
	{"gone with messages queued", nil, func(s *scene) func() {
		c := s.open("c")
		s.p.ack(s.p.next(unixipc.Opened, "c"), "")
		for n := range 20 {
			c.send(raw.Text(fmt.Sprint("message ", n)))
		}
		c.send(raw.Masked(raw.Fin|raw.OpClose, raw.Closing(1000, "")))
		c.expectEnd(1000)
		c.Close()
		return func() {
			for n := range 20 {
				s.p.ack(s.p.message("c", fmt.Sprint("message ", n)), "")
			}
			s.closed("c", 1000, "charger")
		}
	}},
	{"deliveries in flight", nil, func(s *scene) func() {
		c := s.open("c")
		c.send(raw.Text("one") + raw.Text("two"))
		one, two := s.p.message("c", "one"), s.p.message("c", "two")
		return func() {
			s.p.ack(two, "answer to two")
			s.p.ack(one, "answer to one")
			c.expect(raw.OpText, "answer to two")
			c.expect(raw.OpText, "answer to one")
			s.p.ack(two, "a second answer")
			s.works(c)
		}
	}},
	{"in flight, acknowledged out of order", nil, func(s *scene) func() {
		c := s.open("c")
		c.send(raw.Text("one") + raw.Text("two"))
		one := s.p.message("c", "one")
		s.p.ack(s.p.message("c", "two"), "answer to two")
		c.expect(raw.OpText, "answer to two")
		return func() {
			s.p.ack(one, "answer to one")
			c.expect(raw.OpText, "answer to one")
			s.works(c)
		}
	}},
	{"in flight, processor leaves after", nil, func(s *scene) func() {
		c := s.open("c")
		c.send(raw.Text("one"))
		s.p.message("c", "one")
		return func() {
			s.p.Close()
			s.p = join(s.t, s.World, "q")
			f := s.p.message("c", "one")
			if f.Flags&unixipc.Redelivered == 0 {
				s.t.Error("not flagged as redelivered")
			}
			s.p.ack(f, "answer")
			c.expect(raw.OpText, "answer")
			s.works(c)
		}
	}},
	{"refused and delayed", nil, func(s *scene) func() {
		const delay = 1500 * time.Millisecond
		c := s.open("c")
		c.send(raw.Text("later") + raw.Text("after it"))
		f := s.p.message("c", "later")
		second := s.p.message("c", "after it")
		began := time.Now()
		s.p.send(bytesOf(unixipc.Frame{Type: unixipc.Nack, Ref: f.Ref, Key: f.Key, Payload: fmt.Appendf(nil, `{"retry_after_ms":%d}`, delay.Milliseconds())}))
		s.p.ack(second, "")
		s.settled()
		return func() {
			f := s.p.message("c", "later")
			if d := time.Since(began); f.Flags&unixipc.Redelivered == 0 || d < delay || d > 10*delay {
				s.t.Errorf("delivered again after %v with flags %x", d, f.Flags)
			}
			s.p.ack(f, "done")
			c.expect(raw.OpText, "done")
			s.works(c)
		}
	}},
	{"frame of a link half sent", nil, func(s *scene) func() {
		c := s.open("c")
		s.works(c)
		b := bytesOf(unixipc.Frame{Type: unixipc.Send, Ref: 9, Key: []byte("c"), Payload: []byte("half by half")})
		s.settled()
		s.p.send(b[:len(b)-5])
		s.open("after") // the loop has had a turn since
		return func() {
			s.p.send(b[len(b)-5:])
			c.expect(raw.OpText, "half by half")
			if status := s.p.result("c", 9); status != unixipc.StatusOK {
				s.t.Errorf("SEND: %v", status)
			}
		}
	}},
	{"link that does not read", nil, func(s *scene) func() {
		c := s.open("c")
		s.p.ack(s.p.next(unixipc.Opened, "c"), "")
		message := strings.Repeat("m", 100<<10)
		for n := range 12 { // more than the socket takes
			c.send(raw.Text(fmt.Sprint(n, message)))
		}
		return func() {
			for n := range 12 {
				s.p.ack(s.p.message("c", fmt.Sprint(n, message)), fmt.Sprint(n))
				c.expect(raw.OpText, fmt.Sprint(n))
			}
		}
	}},
	{"link that drains", nil, func(s *scene) func() {
		c := s.open("c")
		c.send(raw.Text("mine"))
		f := s.p.message("c", "mine")
		s.settled()
		s.p.send(bytesOf(unixipc.Frame{Type: unixipc.Drain}))
		return func() {
			s.p.ack(f, "done")
			c.expect(raw.OpText, "done")
			s.p.next(unixipc.Drained, "")
		}
	}},
	{"call outstanding, another waiting behind it", nil, func(s *scene) func() {
		c := open(s.t, s.World, "c")
		s.works(c)
		asker := joinAs(s.t, s.World, unixipc.HelloBody{Name: "asker", AskOnly: true})
		asker.call(1, "c", 0, `[2,"one","Reset",{}]`)
		c.expect(raw.OpText, `[2,"one","Reset",{}]`)
		s.p.call(7, "c", 0, `[2,"two","Reset",{}]`)
		s.settled()
		return func() {
			c.send(raw.Text(`[2,"one","Heartbeat",{}]`) + raw.Text(`[3,"two",{}]`) + raw.Text(`[3,"one",{"status":"Accepted"}]`))
			asker.answered(1, "c", `[3,"one",{"status":"Accepted"}]`)
			s.p.ack(s.p.message("c", `[2,"one","Heartbeat",{}]`), "beat")
			s.p.ack(s.p.message("c", `[3,"two",{}]`), "") // not asked yet
			c.expect(raw.OpText, `[2,"two","Reset",{}]`)
			c.expect(raw.OpText, "beat")
			c.send(raw.Text(`[4,"two","NotSupported","",{}]`))
			s.p.answered(7, "c", `[4,"two","NotSupported","",{}]`)
			s.works(c)
		}
	}},
	{"call outstanding, its answer half sent", nil, func(s *scene) func() {
		c := open(s.t, s.World, "c")
		s.works(c)
		s.p.call(1, "c", 0, `[2,"one","Reset",{}]`)
		c.expect(raw.OpText, `[2,"one","Reset",{}]`)
		answer := raw.Text(`[3,"one",{}]`)
		c.send(answer[:9])
		s.settled()
		return func() {
			c.send(answer[9:])
			s.p.answered(1, "c", `[3,"one",{}]`)
			s.works(c)
		}
	}},
	{"call that runs out of time", nil, func(s *scene) func() {
		const limit = 1500 * time.Millisecond
		c := open(s.t, s.World, "c")
		s.works(c)
		began := time.Now()
		s.p.call(1, "c", limit, `[2,"one","Reset",{}]`)
		s.p.call(2, "c", limit, `[2,"two","Reset",{}]`)
		c.expect(raw.OpText, `[2,"one","Reset",{}]`)
		return func() {
			if first, second := s.p.result("c", 1), s.p.result("c", 2); first != unixipc.StatusTimeout || second != unixipc.StatusTimeout {
				s.t.Errorf("%v, %v", first, second)
			}
			if d := time.Since(began); d < limit || d > 10*limit {
				s.t.Errorf("it was over after %v", d)
			}
		}
	}},
	{"call that has run out of time", nil, func(s *scene) func() {
		c := open(s.t, s.World, "c")
		s.works(c)
		s.p.call(1, "c", time.Millisecond, `[2,"one","Reset",{}]`)
		c.expect(raw.OpText, `[2,"one","Reset",{}]`)
		if status := s.p.result("c", 1); status != unixipc.StatusTimeout {
			s.t.Errorf("%v", status)
		}
		return func() {
			s.p.call(2, "c", 0, `[2,"one","Reset",{}]`)
			if status := s.p.result("c", 2); status != unixipc.StatusRefused {
				s.t.Errorf("the id of a CALL that may still be answered: %v", status)
			}
			c.send(raw.Text(`[3,"one",{}]`))
			f := s.p.message("c", `[3,"one",{}]`)
			if f.Flags&unixipc.Late == 0 {
				s.t.Error("not marked late")
			}
			s.p.ack(f, "")
			s.works(c)
		}
	}},
	{"call of a link that has left", nil, func(s *scene) func() {
		c := open(s.t, s.World, "c")
		s.works(c)
		asker := joinAs(s.t, s.World, unixipc.HelloBody{Name: "asker", AskOnly: true})
		asker.call(1, "c", 0, `[2,"one","Reset",{}]`)
		c.expect(raw.OpText, `[2,"one","Reset",{}]`)
		asker.call(2, "c", 0, `[2,"never","Reset",{}]`)
		asker.Close()
		awaitLog(s.t, s.World, "processor left")
		s.p.call(3, "c", 0, `[2,"two","Reset",{}]`)
		s.settled()
		return func() {
			c.send(raw.Text(`[3,"one",{}]`))
			f := s.p.message("c", `[3,"one",{}]`)
			if f.Flags&unixipc.Late == 0 {
				s.t.Error("not marked late")
			}
			s.p.ack(f, "")
			c.expect(raw.OpText, `[2,"two","Reset",{}]`)
			c.send(raw.Text(`[3,"two",{}]`))
			s.p.answered(3, "c", `[3,"two",{}]`)
			s.works(c)
		}
	}},
	{"late answer in flight", nil, func(s *scene) func() {
		c := open(s.t, s.World, "c")
		s.works(c)
		s.p.call(1, "c", time.Millisecond, `[2,"one","Reset",{}]`)
		c.expect(raw.OpText, `[2,"one","Reset",{}]`)
		s.p.result("c", 1)
		c.send(raw.Text(`[3,"one",{}]`))
		s.p.message("c", `[3,"one",{}]`)
		return func() {
			s.p.Close()
			s.p = join(s.t, s.World, "q")
			if f := s.p.message("c", `[3,"one",{}]`); f.Flags != unixipc.Late|unixipc.Redelivered {
				s.t.Errorf("flags %x", f.Flags)
			} else {
				s.p.ack(f, "")
			}
			s.works(c)
		}
	}},
	{"watched", nil, func(s *scene) func() {
		c := open(s.t, s.World, "c")
		s.works(c)
		w := joinAs(s.t, s.World, unixipc.HelloBody{Name: "watcher", AskOnly: true})
		w.send(bytesOf(unixipc.Frame{Type: unixipc.Watch, Ref: 5, Payload: []byte(`{"glob":"c"}`)}))
		w.seen("", unixipc.SeenBegin)
		w.seen("c", unixipc.SeenHeld)
		w.seen("", unixipc.SeenEnd)
		return func() {
			s.works(c)
			c.send(raw.Masked(raw.Fin|raw.OpClose, raw.Closing(1000, "")))
			w.seen("c", unixipc.SeenClosed)
			c.expectEnd(1000)
			open(s.t, s.World, "other")
			open(s.t, s.World, "c")
			w.seen("c", unixipc.SeenOpened)
		}
	}},
	{"idle", nil, func(s *scene) func() {
		c := s.open("c")
		return func() { s.works(c) }
	}},
}

func deflated(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = z.Write([]byte(s))
	if err := z.Flush(); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff") // RFC 7692 section 7.2.1
}

// split sends a message's frame up to a byte, and then the rest.
func (s *scene) split(frame string, at int) func() {
	s.t.Helper()
	c := s.open("c")
	c.send(frame[:at])
	s.settled()
	return func() {
		c.send(frame[at:])
		f := s.p.next(unixipc.Message, "c")
		if raw.Text(string(f.Payload)) != frame {
			s.t.Errorf("%d bytes came, not those sent", len(f.Payload))
		}
		s.p.ack(f, "done")
		c.expect(raw.OpText, "done")
	}
}

func (s *scene) parts(want, first, rest string) func() {
	c := s.open("c")
	c.send(first)
	s.settled()
	return func() {
		c.send(rest)
		s.p.ack(s.p.message("c", want), "done")
		c.expect(raw.OpText, "done")
	}
}

// queued sends messages while there is no processor.
func (s *scene) queued(n int) func() {
	s.p.Close()
	awaitLog(s.t, s.World, "processor left")
	c := s.open("c")
	for i := range n {
		c.send(raw.Text(fmt.Sprint("message ", i)))
	}
	return func() {
		s.p = join(s.t, s.World, "q")
		for i := range n {
			f := s.p.message("c", fmt.Sprint("message ", i))
			if f.Flags&unixipc.Redelivered != 0 {
				s.t.Errorf("message %d is flagged as redelivered", i)
			}
			s.p.ack(f, fmt.Sprint("answer ", i))
			c.expect(raw.OpText, fmt.Sprint("answer ", i))
		}
	}
}

// closed expects the CLOSED of a charger.
func (s *scene) closed(identity string, code int, by string) {
	s.t.Helper()
	f := s.p.next(unixipc.Closed, identity)
	var body unixipc.ClosedBody
	if err := json.Unmarshal(f.Payload, &body); err != nil || body.Code != code || body.By != by {
		s.t.Errorf("CLOSED %s, want %d by %s", f.Payload, code, by)
	}
	s.p.ack(f, "")
}

// take returns what was kept of a type.
func (p *processor) take(want unixipc.Type) (taken []unixipc.Frame) {
	rest := p.kept[:0:0]
	for _, f := range p.kept {
		if f.Type == want {
			taken = append(taken, f)
		} else {
			rest = append(rest, f)
		}
	}
	p.kept = rest
	return taken
}

func setScene(t *testing.T, w *harness.World, over ...suites.Suite) *scene {
	t.Helper()
	s := &scene{World: w, t: t, p: join(t, w, "p")}
	if len(over) > 0 {
		s.over = &over[0]
	}
	s.witness = open(t, w, "witness")
	s.settled()
	return s
}

// open opens the connection of a charger over what the scene is about.
func (s *scene) open(identity string, extra ...string) *charger {
	s.t.Helper()
	return openOver(s.t, s.World, s.over, identity, extra...)
}

// TestFreezeStates upgrades in each state, twice, or freezes and rolls back;
// then it goes on, and finds every byte and every answer right. So over ws, and
// over wss with the suites in turn.
func TestFreezeStates(t *testing.T) {
	harness.Faulty(t)
	for i, state := range states {
		one, two := suites.All[i%len(suites.All)], suites.All[(i+1)%len(suites.All)]
		for name, over := range map[string][]suites.Suite{"": nil, ", wss": {one}} {
			t.Run(state.name+name+", upgraded", func(t *testing.T) {
				t.Parallel()
				s := setScene(t, harness.New(t, state.args...), over...)
				end := state.begin(s)
				s.MustUpgrade()
				s.MustUpgrade()
				end()
			})
		}
		for name, over := range map[string][]suites.Suite{"": nil, ", wss": {two}} {
			t.Run(state.name+name+", rolled back", func(t *testing.T) {
				t.Parallel()
				s := setScene(t, newFailing(t, state.args...), over...)
				end := state.begin(s)
				mustRollBack(t, s.World)
				end()
			})
		}
	}
}

// TestFreezeMidHandshake: what is under way at the freeze ends in the old
// process, and follows.
func TestFreezeMidHandshake(t *testing.T) {
	t.Parallel()
	s := setScene(t, harness.New(t))
	c, q := dial(t, s.World, "c"), dialProcessor(t, s.World)
	request, join := c.request(), hello("q", "ocpp2.1") // not the subprotocol of the others
	c.send(request[:40])
	q.send(join[:10])
	s.settled()
	// The acceptors are other goroutines than the loop: they have met the two
	// when the old process waits for them.
	done := make(chan error, 1)
	before := pid(t, s.World)
	go func() {
		_, err := upgrade(t, s.World)
		done <- err
	}()
	awaitLog(t, s.World, "upgraded")
	s.settled() // served by the new process already
	c.send(request[40:] + raw.Text("early"))
	q.send(join[10:])
	c.opened()
	q.next(unixipc.Welcome, "")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if pid(t, s.World) == before {
		t.Error("no other process")
	}
	s.p.ack(s.p.message("c", "early"), "late")
	c.expect(raw.OpText, "late")
	s.works(c)
}

// TestFreezeAtEveryByte upgrades behind each byte of a message.
func TestFreezeAtEveryByte(t *testing.T) {
	t.Parallel()
	s := setScene(t, harness.New(t))
	c := open(t, s.World, "c")
	frame := raw.Masked(raw.OpText, "ä€") + raw.Masked(raw.Fin|raw.OpContinuation, "𝄞")
	for i := range len(frame) {
		c.send(frame[i : i+1])
		s.settled()
		if i+1 < len(frame) {
			s.MustUpgrade()
		}
	}
	s.p.ack(s.p.message("c", "ä€𝄞"), "done")
	c.expect(raw.OpText, "done")
}
