package bridge

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/tests/central"
)

// The central system ends at each point of a charger's CALL. The charger gets one
// answer, and nothing else.
func TestCentralSystemEndsAmidACall(t *testing.T) {
	var fault atomic.Value
	fault.Store("")
	var w *world
	w = newWorld(t, central.Config{Answer: func(c *central.Conn, id, action string, _ []byte) [][]byte {
		usual := w.cs.Usual(id, action)
		if w.cs.Seen(id) > 1 {
			return [][]byte{usual}
		}
		switch fault.Load() {
		case "cut before the answer":
			c.Cut()
		case "cut after the answer":
			_ = c.Write(usual)
			c.Cut()
		case "1008 before the answer":
			c.Close(1008, "not you")
		case "killed":
			w.cs.Kill()
			time.AfterFunc(300*time.Millisecond, func() { _ = w.cs.Start() })
		case "twice":
			return [][]byte{usual, usual}
		case "another's first":
			return [][]byte{w.cs.Usual("nobody's", action), []byte(`[4,"","GenericError","",{}]`), usual}
		case "no OCPP first":
			return [][]byte{[]byte("hello"), []byte(`{"a":1}`), []byte(`[7,"x","y",{}]`), []byte(`[2,5]`), usual}
		default:
			return [][]byte{usual}
		}
		return nil
	}})
	b := w.bridge()
	c := w.charger("CP1")
	for i, name := range []string{"", "cut before the answer", "cut after the answer", "1008 before the answer", "killed", "twice", "another's first", "no OCPP first", ""} {
		fault.Store(name)
		id := fmt.Sprint("m", i)
		if got := c.call(id, "Heartbeat"); !strings.HasPrefix(got, fmt.Sprintf(`[3,%q,{"currentTime"`, id)) {
			t.Errorf("%s: %s", name, got)
		}
	}
	c.silent(100 * time.Millisecond)
	if !b.Log.Contains("not OCPP-J") {
		t.Error("nothing tells of what is no OCPP-J")
	}
}

// A central system that accepts and never answers: the CALL is sent again under its id,
// a late answer is taken, and at last the charger has an error. Other chargers go on.
func TestCentralSystemThatDoesNotAnswer(t *testing.T) {
	var w *world
	w = newWorld(t, central.Config{Answer: func(c *central.Conn, id, action string, _ []byte) [][]byte {
		if strings.HasPrefix(id, "mute") {
			return nil
		}
		usual := w.cs.Usual(id, action)
		if strings.HasPrefix(id, "late") {
			if w.cs.Seen(id) == 1 {
				time.AfterFunc(700*time.Millisecond, func() { _ = c.Write(usual) })
			}
			return nil
		}
		return [][]byte{usual}
	}})
	w.bridge("-answer-timeout", "500ms")
	c, other := w.charger("CP1"), w.charger("CP2")
	c.send(`[2,"mute","Authorize",{"idTag":"x"}]`)
	for i := range 3 {
		other.call(fmt.Sprint("o", i), "Heartbeat")
	}
	if got := c.receive(); !strings.HasPrefix(got, `[4,"mute","InternalError","the central system does not answer this"`) {
		t.Error(got)
	}
	if n := w.cs.Seen("mute"); n != 3 {
		t.Errorf("the CALL came %d times", n)
	}
	if got := c.call("late", "Heartbeat"); !strings.HasPrefix(got, `[3,"late",`) {
		t.Error(got)
	}
	if n := w.cs.Seen("late"); n != 1 {
		t.Errorf("the CALL that was answered late came %d times", n)
	}
}

// An answer that the charger cannot be given, because it is no text or too long, is not
// lost in silence: the charger gets an error.
func TestAnswerThatCannotBeGiven(t *testing.T) {
	var w *world
	w = newWorld(t, central.Config{Answer: func(_ *central.Conn, id, action string, _ []byte) [][]byte {
		switch id {
		case "latin":
			return [][]byte{[]byte("[3,\"latin\",{\"name\":\"M\xfcller\"}]")}
		case "long":
			return [][]byte{fmt.Appendf(nil, `[3,"long",{"text":"%s"}]`, strings.Repeat("x", 100_000))}
		}
		return [][]byte{w.cs.Usual(id, action)}
	}}, "-max-message", "64KiB")
	b := w.bridge("-answer-timeout", "500ms", "-attempts", "2")
	c := w.charger("CP1")
	if got := c.call("latin", "Authorize"); !strings.HasPrefix(got, `[4,"latin","InternalError","the central system does not answer this"`) {
		t.Error(got)
	}
	w.Logged(b, "the central system sent what is not OCPP-J: refused")
	if got := c.call("long", "Authorize"); !strings.HasPrefix(got, `[4,"long","InternalError","the answer is too long"`) {
		t.Error(got)
	}
	if n := w.cs.Seen("latin"); n != 2 {
		t.Errorf("the CALL came %d times", n)
	}
	if got := c.call("next", "Heartbeat"); !strings.HasPrefix(got, `[3,"next"`) {
		t.Error(got)
	}
}

// A central system that answers later than the gateway waits for an acknowledgement costs
// the bridge neither its link nor the charger's message.
func TestAnswerLaterThanTheGatewayWaits(t *testing.T) {
	var w *world
	w = newWorld(t, central.Config{Answer: func(c *central.Conn, id, action string, _ []byte) [][]byte {
		usual := w.cs.Usual(id, action)
		if id == "late" && w.cs.Seen(id) == 1 {
			time.AfterFunc(3*time.Second, func() { _ = c.Write(usual) })
			return nil
		}
		return [][]byte{usual}
	}}, "-ack-timeout", "2s")
	b := w.bridge("-answer-timeout", "10s")
	c := w.charger("CP1")
	if got := c.call("late", "Heartbeat"); !strings.HasPrefix(got, `[3,"late"`) {
		t.Error(got)
	}
	if got := b.Log.Tail(1 << 20); strings.Count(got, `"msg":"joined"`) != 1 {
		t.Errorf("the link was lost: %s", got)
	}
}

// A CALL that makes the central system fall over, each time: at last the charger gets an
// error, and goes on.
func TestCallThatFells(t *testing.T) {
	var w *world
	w = newWorld(t, central.Config{Answer: func(c *central.Conn, id, action string, _ []byte) [][]byte {
		if id == "fells" {
			c.Cut()
			return nil
		}
		return [][]byte{w.cs.Usual(id, action)}
	}})
	w.bridge("-attempts", "1")
	c := w.charger("CP1")
	if got := c.call("fells", "DataTransfer"); !strings.HasPrefix(got, `[4,"fells","InternalError"`) {
		t.Error(got)
	}
	if n := w.cs.Seen("fells"); n != 5 {
		t.Errorf("it came %d times", n)
	}
	if got := c.call("next", "Heartbeat"); !strings.HasPrefix(got, `[3,"next"`) {
		t.Error(got)
	}
}

// A central system that is away, refuses, or has no name: chargers stay, and get their
// answers once it is there.
func TestCentralSystemThatIsAway(t *testing.T) {
	refuse := atomic.Int32{}
	refuse.Store(http.StatusServiceUnavailable)
	w := newWorld(t, central.Config{Admit: func(string, *http.Request) int { return int(refuse.Load()) }})
	w.bridge()
	c := w.charger("CP1")
	c.send(`[2,"a","Heartbeat",{}]`)
	c.silent(time.Second)
	w.cs.Kill()
	c.silent(time.Second)
	refuse.Store(0)
	if err := w.cs.Start(); err != nil {
		t.Fatal(err)
	}
	if got := c.receive(); !strings.HasPrefix(got, `[3,"a",`) {
		t.Error(got)
	}
}

// DNS and TLS that fail, and a wrong answer to the handshake, are told and hurt no charger.
func TestNoWayToTheCentralSystem(t *testing.T) {
	w := newWorld(t, central.Config{})
	for url, why := range map[string]string{
		"ws://no-such-host.invalid/{identity}":       "no such host",
		"wss://" + w.cs.Address() + "/cs/{identity}": "server gave HTTP response to HTTPS client",
		"wss://" + w.AddrTLS + "/ocpp/{identity}":    "certificate",
		"ws://" + w.Addr + "/nowhere/{identity}":     "404",
		"ws://127.0.0.1:1/{identity}":                "connection refused",
	} {
		b := w.bridge("-name", "b"+why, "-route", "* "+url)
		c := w.charger("CP-" + strings.ReplaceAll(why, " ", "-"))
		c.send(`[2,"a","Heartbeat",{}]`)
		w.Logged(b, why)
		c.silent(50 * time.Millisecond)
		w.Kill(b)
	}
}

// Both directions cross, the charger and the central system use the same ids, and a
// central system that was restarted counts from the beginning.
func TestCallsToTheCharger(t *testing.T) {
	answers := make(chan string, 100)
	w := newWorld(t, central.Config{Answered: func(_ *central.Conn, m []byte) { answers <- string(m) }})
	b := w.bridge("-call-timeout", "700ms")
	c := w.charger("CP1")
	w.connection("CP1")
	long := strings.Repeat("x", 50)
	for _, id := range []string{"1", "2", long, "ü\"", ""} {
		if err := w.cs.Conn("CP1").Call(id, "Reset", map[string]string{"type": "Soft"}); err != nil {
			t.Fatal(err)
		}
		got := c.receive()
		kind, seen := idOf(t, got)
		if kind != 2 || !strings.HasSuffix(got, `,"Reset",{"type":"Soft"}]`) || len([]rune(id)) <= 36 && id != "" && seen != id {
			t.Errorf("%q came as %s", id, got)
		}
		if answer := c.call("1", "Heartbeat"); !strings.HasPrefix(answer, `[3,"1",{"currentTime"`) { // it crosses
			t.Error(answer)
		}
		c.send(`[3,%q,{"status":"Accepted"}]`, seen)
		if kind, back := idOf(t, receive(t, answers)); kind != 3 || back != id {
			t.Errorf("the answer to %q is %d %q", id, kind, back)
		}
	}

	// Unanswered: an error, in time; and the id may be used again.
	if err := w.cs.Conn("CP1").Call("5", "Reset", struct{}{}); err != nil {
		t.Fatal(err)
	}
	c.receive()
	if got := receive(t, answers); !strings.HasPrefix(got, `[4,"5","GenericError","charger did not answer in time`) {
		t.Error(got)
	}
	if err := w.cs.Conn("CP1").Call("5", "Reset", struct{}{}); err != nil {
		t.Fatal(err)
	}
	_, seen := idOf(t, c.receive())
	c.send(`[3,"5",{"status":"too late"}]`) // the first, whose asker has had an error
	c.send(`[3,%q,{"status":"Rejected"}]`, seen)
	if got := receive(t, answers); got != `[3,"5",{"status":"Rejected"}]` {
		t.Error(got)
	}

	// The central system ends while the charger has its CALL.
	if err := w.cs.Conn("CP1").Call("9", "Reset", struct{}{}); err != nil {
		t.Fatal(err)
	}
	c.receive()
	w.cs.Kill()
	c.send(`[3,"9",{"status":"Accepted"}]`)
	if err := w.cs.Start(); err != nil {
		t.Fatal(err)
	}
	w.connection("CP1")
	if err := w.cs.Conn("CP1").Call("9", "Reset", struct{}{}); err != nil {
		t.Fatal(err)
	}
	_, seen = idOf(t, c.receive())
	c.send(`[4,%q,"NotSupported","no",{}]`, seen)
	if got := receive(t, answers); got != `[4,"9","NotSupported","no",{}]` {
		t.Error(got)
	}
	// A charger that goes while it has one.
	if err := w.cs.Conn("CP1").Call("10", "Reset", struct{}{}); err != nil {
		t.Fatal(err)
	}
	c.receive()
	c.conn.Close()
	w.until("the end of the connection", func() bool { return w.cs.Conn("CP1") == nil })
	if b.Log.Contains(`"level":"ERROR"`) {
		t.Error("the bridge has an error in its log")
	}
}

func receive(t *testing.T, from chan string) string {
	t.Helper()
	select {
	case s := <-from:
		return s
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		return ""
	}
}

// SEND and CALLRESULTERROR of OCPP 2.1 pass both ways, and so does the answer to a message
// that nobody could read.
func TestMessagesWithoutAnAnswer(t *testing.T) {
	came := make(chan string, 10)
	w := newWorld(t, central.Config{Answered: func(_ *central.Conn, m []byte) { came <- string(m) }})
	w.bridge()
	c := w.charger("CP1")
	w.connection("CP1")
	for _, m := range []string{`[6,"a","NotifyPeriodicEventStream",{}]`, `[5,"b","InternalError","",{}]`} {
		c.send("%s", m)
		if got := receive(t, came); got != m {
			t.Errorf("%s came as %s", m, got)
		}
		if err := w.cs.Conn("CP1").Write([]byte(m)); err != nil {
			t.Fatal(err)
		}
		if got := c.receive(); got != m {
			t.Errorf("%s came as %s", m, got)
		}
	}
	c.send("what is this")
	if err := w.cs.Conn("CP1").Write([]byte(`[4,"-1","RpcFrameworkError","no JSON",{}]`)); err != nil {
		t.Fatal(err)
	}
	if got := c.receive(); got != `[4,"-1","RpcFrameworkError","no JSON",{}]` {
		t.Error(got)
	}
	c.call("after", "Heartbeat")
}
