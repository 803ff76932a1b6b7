package relay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/unixipc"
)

// stage is relays of as many loops, with gateways that remember what chargers
// were sent. Chargers are named so that the first digit is their loop.
type stage struct {
	t      *testing.T
	relays []*Relay
	now    time.Time
	sent   map[uint64][]string // by connection
	conns  uint64
	posted []func()
}

type stageGateway struct {
	*stage
	loop int
}

func (g stageGateway) Send(conn uint64, payload []byte, _ bool) (uint64, unixipc.Status) {
	g.sent[conn] = append(g.sent[conn], string(payload))
	return uint64(len(g.sent[conn])), unixipc.StatusOK
}
func (g stageGateway) Close(uint64, unixipc.CloseBody, string) {}
func (g stageGateway) Pause(uint64)                            {}
func (g stageGateway) Resume(uint64)                           {}
func (g stageGateway) Describe(uint64) unixipc.OpenedBody {
	return unixipc.OpenedBody{Subprotocol: "ocpp1.6"}
}
func (g stageGateway) LinkReady(*Link)                                   {}
func (g stageGateway) NotTaken(string, int)                              {}
func (g stageGateway) Poison(string, []byte, int)                        {}
func (g stageGateway) GivenBackAgain(string, string, int, time.Duration) {}
func (g stageGateway) Called(string, unixipc.Status, time.Duration)      {}
func (g stageGateway) Forward(loop int, f func(*Relay)) {
	g.posted = append(g.posted, func() { f(g.relays[loop]) })
}

func newStage(t *testing.T, loops int) *stage {
	s := &stage{t: t, now: time.Unix(1e9, 0), sent: map[uint64][]string{}}
	for i := range loops {
		cfg := modelConfig
		cfg.Loop, cfg.Loops = i, loops
		s.relays = append(s.relays, New(cfg, &stageGateway{s, i}))
	}
	s.advance(0)
	return s
}

func (s *stage) advance(d time.Duration) {
	s.now = s.now.Add(d)
	for _, r := range s.relays {
		r.SetNow(s.now)
		if at := r.Deadline(); !at.IsZero() && !at.After(s.now) {
			r.Tick()
		}
	}
	s.run()
}

// run does what relays have posted to each other.
func (s *stage) run() {
	for _, r := range s.relays {
		r.EndTurn()
	}
	for len(s.posted) > 0 {
		f := s.posted[0]
		s.posted = s.posted[1:]
		f()
	}
}

// stageCharger is connected.
type stageCharger struct {
	*Charger
	s *stage
	r *Relay
}

func (s *stage) open(loop int) *stageCharger {
	for n := 0; ; n++ {
		if id := fmt.Sprint("CP", s.conns, "-", n); LoopOf(id, len(s.relays)) == loop {
			s.conns++
			return &stageCharger{s.relays[loop].Opened(id, "ocpp1.6", s.conns, nil), s, s.relays[loop]}
		}
	}
}

func (c *stageCharger) sends(format string, args ...any) {
	c.r.Message(c.Charger, fmt.Appendf(nil, format, args...), 0, false)
	c.s.run()
}

func (c *stageCharger) received() []string { return c.s.sent[c.conn] }

// stageLink is a link whose frames are read at once.
type stageLink struct {
	*Link
	s *stage
	r *Relay
}

func (s *stage) join(loop int, h unixipc.HelloBody, operator bool) *stageLink {
	l := &stageLink{Link: s.relays[loop].Join(h, operator), s: s, r: s.relays[loop]}
	l.r.Tick() // moves its chargers to it
	return l
}

func (l *stageLink) order(f unixipc.Frame) {
	l.r.Receive(l.Link, f.Append(nil))
	l.s.run()
}

func (l *stageLink) call(ref uint64, c *stageCharger, limit time.Duration, message string) {
	l.order(unixipc.Frame{Type: unixipc.Call, Ref: ref, Key: []byte(c.identity), Payload: unixipc.AppendCall(nil, limit, []byte(message))})
}

// frames are those that came, but OPENED and WELCOME.
func (l *stageLink) frames() (list []unixipc.Frame) {
	in := bytes.Clone(l.Unwritten())
	l.r.Wrote(l.Link, len(in))
	for len(in) > 0 {
		f, n, err := unixipc.Parse(in, 1<<30)
		if n == 0 || err != nil {
			l.s.t.Fatalf("no frame: %v", err)
		}
		in = in[n:]
		switch f.Type {
		case unixipc.Opened, unixipc.Message, unixipc.Closed:
			l.order(unixipc.Frame{Type: unixipc.Ack, Ref: f.Ref, Key: f.Key})
			if f.Type != unixipc.Opened {
				list = append(list, f)
			}
		case unixipc.Welcome:
		default:
			list = append(list, f)
		}
	}
	return list
}

// received is what came, in short.
func (l *stageLink) received() string {
	var s []string
	for _, f := range l.frames() {
		switch {
		case f.Type == unixipc.Result && f.Flags&unixipc.Answered != 0:
			took, m, _ := unixipc.ParseAnswer(f.Payload)
			s = append(s, fmt.Sprintf("%d: %s after %v", f.Ref, m, took))
		case f.Type == unixipc.Result:
			var b unixipc.ResultBody
			_ = json.Unmarshal(f.Payload, &b)
			s = append(s, fmt.Sprintf("%d: %s sent=%v", f.Ref, b.Status, b.Sent))
		case f.Type == unixipc.Message && f.Flags&unixipc.Late != 0:
			s = append(s, "late "+string(f.Payload))
		case f.Type == unixipc.Tapped && len(f.Key) > 0:
			_, m, _ := unixipc.ParseTapped(f.Payload)
			arrow := "<"
			if f.Flags&unixipc.ToCharger != 0 {
				arrow = ">"
			}
			s = append(s, fmt.Sprintf("%d%s%s", f.Ref, arrow, m))
		case f.Type == unixipc.Tapped:
			n, _ := unixipc.ParseMissed(f.Payload)
			s = append(s, fmt.Sprintf("%d missed %d", f.Ref, n))
		case f.Type == unixipc.Seen:
			var b unixipc.SeenBody
			_ = json.Unmarshal(f.Payload, &b)
			s = append(s, b.Event+" "+string(f.Key))
		default:
			s = append(s, strings.TrimSpace(fmt.Sprintf("%v %s", f.Type, f.Payload)))
		}
	}
	return strings.Join(s, ", ")
}

func (s *stage) want(what, got, want string) {
	s.t.Helper()
	if got != want {
		s.t.Errorf("%s:\ngot  %s\nwant %s", what, got, want)
	}
}

var askOnly = unixipc.HelloBody{Name: "asker", AskOnly: true}

func TestCallsOneAfterTheOther(t *testing.T) {
	for loops := 1; loops <= 2; loops++ {
		s := newStage(t, loops)
		c := s.open(0)
		owner := s.join(0, unixipc.HelloBody{Name: "owner"}, false)
		owner.frames()
		asker := s.join(loops-1, askOnly, false)
		if asker.Chargers() != 0 {
			t.Fatal("a link that only asks owns a charger")
		}
		asker.call(1, c, 0, `[2,"a","Reset",{}]`)
		asker.call(2, c, 0, `[2, "b" ,"Reset",{"type":"Hard"}]`)
		owner.call(9, c, 0, `[2,"c","Reset",{}]`)
		s.want("before an answer", strings.Join(c.received(), " "), `[2,"a","Reset",{}]`)
		s.advance(20 * time.Millisecond)
		c.sends(`[2,"a","Heartbeat",{}]`) // ids of the two directions do not meet
		c.sends(`[3,"b",{}]`)             // not asked yet
		c.sends(`[6,"a","NotifyEvent",{}]`)
		c.sends(`[5,"a","InternalError","",{}]`)
		c.sends(` [3,"\u0061",{"status":"Accepted"}]`)
		s.want("what the asker hears", asker.received(), `1:  [3,"\u0061",{"status":"Accepted"}] after 20ms`)
		s.want("what the owner hears", owner.received(), `MESSAGE [2,"a","Heartbeat",{}], MESSAGE [3,"b",{}], MESSAGE [6,"a","NotifyEvent",{}], MESSAGE [5,"a","InternalError","",{}]`)
		c.sends(`[4,"b","NotSupported","",{}]`)
		s.want("a CALLERROR", asker.received(), `2: [4,"b","NotSupported","",{}] after 20ms`)
		c.sends(`[3,"c",{}]`)
		c.sends(`[3,"c",{}]`)
		s.want("the owner's own", owner.received(), `9: [3,"c",{}] after 20ms, MESSAGE [3,"c",{}]`)
		if c.q != nil || len(s.relays[0].deadlines) > 0 {
			t.Error("something is left")
		}
	}
}

// An answer is found whatever it comes in, and handed on as it is, also late.
func TestAnswersInAnyDress(t *testing.T) {
	for dress, flags := range map[string]unixipc.Flags{
		"[3,%q,{}]":                       unixipc.Binary,
		"[3,%q,{\"a\":\"caf\xe9\"}]":      unixipc.Binary | unixipc.Malformed,
		"\xef\xbb\xbf[3,%q,{}]":           0,
		"\x00\x00 \r\n[3,%q,{}]\x00":      0,
		"[3,%q,{\"a\":\"\x00":             0,
		"\xef\xbb\xbf[4,%q,\"\",\"\",{}]": unixipc.Binary,
	} {
		s := newStage(t, 2)
		c := s.open(0)
		asker, owner := s.join(1, askOnly, false), s.join(0, unixipc.HelloBody{Name: "owner", Subprotocols: []string{"ocpp1.6"}}, false)
		for _, late := range []bool{false, true} {
			asker.call(7, c, time.Second, `[2,"x","Reset",{}]`)
			if late {
				s.advance(2 * time.Second)
				asker.frames()
			}
			answer := strings.Replace(dress, "%q", `"x"`, 1)
			c.r.Message(c.Charger, []byte(answer), flags, false)
			s.run()
			got := asker.frames()
			if late {
				got = owner.frames()
			}
			if len(got) != 1 || got[0].Flags&(unixipc.Binary|unixipc.Malformed) != flags || !strings.HasSuffix(string(got[0].Payload), answer) {
				t.Errorf("%q, late %v: %+v", answer, late, got)
			}
		}
	}
}

func TestCallLimits(t *testing.T) {
	s := newStage(t, 1)
	c := s.open(0)
	owner := s.join(0, unixipc.HelloBody{Name: "owner"}, false)
	l := s.join(0, askOnly, false)
	l.call(1, c, 0, `[2,"a","Reset",{}]`)
	l.call(2, c, time.Second, `[2,"b","Reset",{}]`)
	l.call(3, c, time.Hour, `[2,"c","Reset",{}]`)
	l.call(4, c, 0, `[2,"c","Reset",{}]`)
	l.call(5, c, 2*time.Second, `[2,"d","Reset",{}]`)
	l.call(6, c, 0, `[2,"e","Reset",{}]`)
	s.want("at once", l.received(), "4: refused sent=false, 6: full sent=false")
	s.advance(time.Second)
	s.want("its own time-out, while it waits", l.received(), "2: timeout sent=false")
	s.advance(2 * time.Second)
	s.want("the default", l.received(), "5: timeout sent=false, 1: timeout sent=true")
	s.want("then comes the next", strings.Join(c.received(), " "), `[2,"a","Reset",{}] [2,"c","Reset",{}]`)
	l.call(7, c, 0, `[2,"a","Reset",{}]`)
	s.want("an id that may still be answered", l.received(), "7: refused sent=false")
	c.sends(`[3,"a",{}]`)
	s.want("a late answer", owner.received(), `late [3,"a",{}]`)
	l.call(8, c, 0, `[2,"a","Reset",{}]`)
	s.advance(5 * time.Second)
	s.want("the longest limit, and the one behind it", l.received(), "8: timeout sent=false, 3: timeout sent=true")
}

func TestCallsEndWithTheConnection(t *testing.T) {
	s := newStage(t, 1)
	c := s.open(0)
	l := s.join(0, askOnly, false)
	l.call(1, c, 0, `[2,"a","Reset",{}]`)
	l.call(2, c, 0, `[2,"b","Reset",{}]`)
	s.relays[0].Closed(c.Charger, unixipc.ClosedBody{Code: 1006, Reason: "gone", By: "network"})
	s.want("at the end", l.received(), "1: closed sent=true, 2: offline sent=false")
	l.call(3, c, 0, `[2,"a","Reset",{}]`)
	s.want("afterwards", l.received(), "3: offline sent=false")
}

func TestAskerDies(t *testing.T) {
	for loops := 1; loops <= 2; loops++ {
		s := newStage(t, loops)
		c := s.open(0)
		owner := s.join(0, unixipc.HelloBody{Name: "owner"}, false)
		dying, asker := s.join(loops-1, askOnly, false), s.join(loops-1, askOnly, false)
		dying.call(1, c, 0, `[2,"a","Reset",{}]`)
		dying.call(2, c, 0, `[2,"b","Reset",{}]`)
		asker.call(3, c, 0, `[2,"c","Reset",{}]`)
		dying.r.Lost(dying.Link)
		s.run()
		c.sends(`[3,"a",{}]`)
		s.want("the owner hears", owner.received(), `late [3,"a",{}]`)
		s.want("the charger hears", strings.Join(c.received(), " "), `[2,"a","Reset",{}] [2,"c","Reset",{}]`)
		c.sends(`[3,"c",{}]`)
		s.want("the next one", asker.received(), `3: [3,"c",{}] after 0s`)

		// An answer on its way to a link of another loop that ends meanwhile.
		asker.call(4, c, 0, `[2,"d","Reset",{}]`)
		c.r.Message(c.Charger, []byte(`[3,"d",{}]`), 0, false)
		asker.r.Lost(asker.Link)
		s.run()
		if loops == 2 {
			s.want("the owner hears", owner.received(), `late [3,"d",{}]`)
		}
	}
}

// An asker that does not read is let go, and the answer is the owner's.
func TestAskerDoesNotRead(t *testing.T) {
	s := newStage(t, 1)
	c := s.open(0)
	owner := s.join(0, unixipc.HelloBody{Name: "owner"}, false)
	owner.frames()
	l := s.join(0, askOnly, false)
	l.call(1, c, 0, `[2,"a","Reset",{}]`)
	l.out = append(l.out, make([]byte, s.relays[0].cfg.LinkBacklog+1)...)
	c.sends(`[3,"a",{}]`)
	if why, ended := l.Ended(); !ended || !strings.Contains(why, "read") {
		t.Errorf("%q", why)
	}
	s.want("the owner hears", owner.received(), `late [3,"a",{}]`)
}

func TestBadCalls(t *testing.T) {
	s := newStage(t, 1)
	c := s.open(0)
	l := s.join(0, askOnly, false)
	for i, message := range []string{
		"", "x", "{}", "[]", `[2]`, `[2,"a","Reset"]`, `[2,"a","Reset",{},1]`, `[3,"a",{}]`, `[6,"a","Reset",{}]`, `["2","a","Reset",{}]`,
		`[2,"","Reset",{}]`, `[2,1,"Reset",{}]`, `[2,"a",5,{}]`, `[2,"a",null,{}]`, `[2,"a","",{}]`, `[2,"a","Reset",[]]`, `[2,"a","Reset",{}`,
		"[2,\"\xff\",\"Reset\",{}]", `[2,"` + strings.Repeat("x", 37) + `","Reset",{}]`, `[2.0,"a","Reset",{}]`, `[22,"a","Reset",{}]`,
	} {
		l.call(uint64(i), c, 0, message)
		s.want(message, l.received(), fmt.Sprintf("%d: refused sent=false", i))
	}
	l.order(unixipc.Frame{Type: unixipc.Call, Ref: 1, Key: []byte(c.identity), Payload: []byte{0, 0, 1}})
	s.want("no time limit", l.received(), "1: refused sent=false")
	if len(c.received()) > 0 {
		t.Errorf("the charger hears %q", c.received())
	}
	l.call(1, c, 0, `[2,"`+strings.Repeat("ü", 36)+`","Reset",{}]`)
	s.want("36 characters", l.received(), "")
}

func TestTap(t *testing.T) {
	s := newStage(t, 1)
	a, b := s.open(0), s.open(0)
	owner := s.join(0, unixipc.HelloBody{Name: "owner"}, false)
	op := s.join(0, askOnly, true)
	tap := func(l *stageLink, ref uint64, glob string) {
		l.order(unixipc.Frame{Type: unixipc.Tap, Ref: ref, Payload: fmt.Appendf(nil, `{"glob":%q}`, glob)})
	}
	tap(owner, 1, "*")
	s.want("one who is no operator", owner.received(), "1: refused sent=false")
	tap(op, 2, "[")
	tap(op, 2, "")
	tap(op, 2, strings.Repeat("x", 513))
	s.want("bad globs", op.received(), "2: refused sent=false, 2: refused sent=false, 2: refused sent=false")
	tap(op, 3, a.identity)
	tap(op, 3, "*")
	s.want("a token twice", op.received(), "3: ok sent=false, 3: refused sent=false")
	a.sends("one")
	b.sends("two")
	op.call(4, a, 0, `[2,"a","Reset",{}]`)
	a.sends(`[3,"a",{}]`)
	s.want("both directions of one charger", op.received(), `3<one, 3>[2,"a","Reset",{}], 3<[3,"a",{}], 4: [3,"a",{}] after 0s`)

	// A tap that is not read costs no more than a count, and no message.
	owner.frames()
	long := strings.Repeat("x", maxUnwritten)
	a.sends("%s", long)
	owner.frames()
	a.sends("missed")
	a.sends("missed")
	owner.frames()
	got := op.received()
	s.want("after a stall", strings.ReplaceAll(got, long, "long"), "3<long")
	s.want("then it is told", op.received(), "3 missed 2")
	a.sends("again")
	s.want("and goes on", op.received(), "3<again")

	op.order(unixipc.Frame{Type: unixipc.Stop, Ref: 3})
	a.sends("more")
	op.order(unixipc.Frame{Type: unixipc.Stop, Ref: 3})
	s.want("stopped", op.received(), "3: ok sent=false, 3: refused sent=false")
	if s.relays[0].tapped {
		t.Error("nobody taps any more")
	}
}

func TestWatch(t *testing.T) {
	s := newStage(t, 1)
	a, b := s.open(0), s.open(0)
	l := s.join(0, askOnly, false)
	l.order(unixipc.Frame{Type: unixipc.Watch, Ref: 7, Payload: []byte(`{"glob":"CP0*"}`)})
	s.advance(0)
	s.want("the list", l.received(), "7: ok sent=false, begin , held "+a.identity+", end ")
	s.relays[0].Closed(a.Charger, unixipc.ClosedBody{Code: 1000})
	s.relays[0].Closed(b.Charger, unixipc.ClosedBody{Code: 1000})
	s.want("a change", l.received(), "closed "+a.identity)

	// Many, and a watcher that does not read: its list starts again.
	for range 3*listSlice + 1 {
		s.open(0)
	}
	l.order(unixipc.Frame{Type: unixipc.Watch, Ref: 8, Payload: []byte(`{"glob":"*"}`)})
	for range 10 {
		s.advance(0)
	}
	got := l.received()
	if n := strings.Count(got, "held "); n != 3*listSlice+1 || !strings.HasSuffix(got, "end ") || strings.Count(got, "begin") != 1 {
		t.Errorf("%d are listed: %.100s … %s", n, got, got[len(got)-50:])
	}
	l.out = append(l.out, unixipc.Frame{Type: unixipc.Drained, Payload: make([]byte, maxUnwritten)}.Append(nil)...)
	last := s.open(0)
	l.received()
	for range 10 {
		s.advance(0)
	}
	got = l.received()
	if n := strings.Count(got, "held "); n != 3*listSlice+2 || !strings.HasPrefix(got, "begin") || !strings.Contains(got, "held "+last.identity+",") {
		t.Errorf("%d are listed anew: %.100s …", n, got)
	}
}
