package proctest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/proc/proctest"
	"holdfast/unixipc"
)

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// link is a processor written by hand.
type link struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, gw *proctest.Gateway) *link {
	t.Helper()
	conn, err := net.Dial("unix", gw.Socket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &link{t, conn, bufio.NewReader(conn)}
}

func join(t *testing.T, gw *proctest.Gateway, hello string) *link {
	t.Helper()
	l := dial(t, gw)
	l.put(unixipc.Hello, 1, "", hello)
	l.want(unixipc.Welcome, 1, "", "")
	return l
}

func (l *link) put(typ unixipc.Type, ref uint64, key, payload string) {
	l.t.Helper()
	if _, err := l.Write(unixipc.Frame{Type: typ, Ref: ref, Key: []byte(key), Payload: []byte(payload)}.Append(nil)); err != nil {
		l.t.Fatal(err)
	}
}

// want reads a frame and compares it; payload is a part of its payload.
func (l *link) want(typ unixipc.Type, ref uint64, key, payload string) unixipc.Frame {
	l.t.Helper()
	header, err := l.in.Peek(4)
	if err != nil {
		l.t.Fatalf("want %v, got %v", typ, err)
	}
	b := make([]byte, 4+(int(header[0])<<24|int(header[1])<<16|int(header[2])<<8|int(header[3])))
	if _, err := io.ReadFull(l.in, b); err != nil {
		l.t.Fatal(err)
	}
	f, _, err := unixipc.Parse(b, 1<<20)
	if err != nil {
		l.t.Fatal(err)
	}
	if f.Type != typ || f.Ref != ref || string(f.Key) != key || !strings.Contains(string(f.Payload), payload) {
		l.t.Fatalf("got %v ref=%d key=%s %s, want %v ref=%d key=%s %s", f.Type, f.Ref, f.Key, f.Payload, typ, ref, key, payload)
	}
	return f
}

// The session at the end of docs/protocol.md.
func TestSession(t *testing.T) {
	ctx, gw := testContext(t), proctest.New(t)
	gw.Open("CP1", "ocpp1.6")
	heartbeat := gw.Message("CP1", []byte(`[2,"a1","Heartbeat",{}]`))
	l := join(t, gw, `{"name":"p1"}`)
	l.want(unixipc.Opened, 1, "CP1", `"subprotocol":"ocpp1.6"`)
	l.want(unixipc.Message, 2, "CP1", `[2,"a1","Heartbeat",{}]`)
	l.put(unixipc.Ack, 1, "CP1", "")
	l.put(unixipc.Ack, 2, "CP1", `[3,"a1",{}]`)
	if reply, err := heartbeat.Reply(ctx); err != nil || string(reply) != `[3,"a1",{}]` {
		t.Errorf("%q, %v", reply, err)
	}
	gw.CloseCharger("CP1", 1001, "")
	l.want(unixipc.Closed, 3, "CP1", `"by":"charger"`)
	l.put(unixipc.Ack, 3, "CP1", "")
	l.put(unixipc.Drain, 0, "", "")
	l.want(unixipc.Drained, 0, "", "")
	l.Close()
	if _, err := gw.WaitLinks(ctx, 0); err != nil {
		t.Error(err)
	}
}

func TestFaults(t *testing.T) {
	for name, frame := range map[string]unixipc.Frame{
		"second HELLO":      {Type: unixipc.Hello, Ref: 1, Payload: []byte(`{"name":"p"}`)},
		"unknown type":      {Type: 0x7f},
		"a gateway's type":  {Type: unixipc.Message},
		"VERDICT":           {Type: unixipc.Verdict},
		"broken JSON":       {Type: unixipc.Nack, Key: []byte("CP1"), Payload: []byte("{")},
		"unknown flags":     {Type: unixipc.Ack, Flags: 0x80},
		"long JSON":         {Type: unixipc.Close, Payload: make([]byte, unixipc.MaxControl+1)},
		"reply over limit":  {Type: unixipc.Ack, Payload: make([]byte, 1<<20+1)},
		"message over that": {Type: unixipc.Send, Payload: make([]byte, 1<<20+1)},
	} {
		t.Run(name, func(t *testing.T) {
			l := join(t, proctest.New(t), `{"name":"p"}`)
			l.Write(frame.Append(nil)) // the gateway may close before it has read a long one
			l.want(unixipc.Refused, 0, "", "why")
			if _, err := l.in.ReadByte(); err == nil {
				t.Error("the link goes on")
			}
		})
	}
	for name, hello := range map[string]unixipc.Frame{
		"version":   {Type: unixipc.Hello, Ref: 2, Payload: []byte(`{"name":"p"}`)},
		"no name":   {Type: unixipc.Hello, Ref: 1},
		"no loop":   {Type: unixipc.Hello, Ref: 1, Payload: []byte(`{"name":"p","loop":1}`)},
		"no window": {Type: unixipc.Hello, Ref: 1, Payload: []byte(`{"name":"p","charger_window":-1}`)},
		"not HELLO": {Type: unixipc.Ack},
	} {
		t.Run(name, func(t *testing.T) {
			l := dial(t, proctest.New(t))
			l.Write(hello.Append(nil))
			f := l.want(unixipc.Refused, 0, "", "why")
			if named := strings.Contains(string(f.Payload), `"versions":[1]`); named != (name == "version") {
				t.Errorf("%s", f.Payload)
			}
		})
	}
}

// With a window of 1 the next delivery waits for the acknowledgement of the one
// before, or comes behind it when it was given back.
func TestChargerWindow(t *testing.T) {
	gw := proctest.New(t)
	gw.Warn("mind the gap")
	l := dial(t, gw)
	l.put(unixipc.Hello, unixipc.Version, "", `{"name":"p","charger_window":1}`)
	welcome := l.want(unixipc.Welcome, unixipc.Version, "", `"charger_window":1`)
	if !strings.Contains(string(welcome.Payload), `"warnings":["mind the gap"]`) {
		t.Errorf("WELCOME %s", welcome.Payload)
	}
	gw.Open("CP1", "")
	gw.Message("CP1", []byte("a"))
	gw.Message("CP1", []byte("b"))
	l.want(unixipc.Opened, 1, "CP1", "")
	l.put(unixipc.Ack, 1, "CP1", "")
	l.want(unixipc.Message, 2, "CP1", "a")
	l.put(unixipc.Nack, 2, "CP1", `{"retry_after_ms":1}`)
	l.want(unixipc.Message, 3, "CP1", "a")
	l.put(unixipc.Ack, 3, "CP1", "")
	l.want(unixipc.Message, 4, "CP1", "b")
}

// Connections that nobody has seen: the last one is reported, as gone.
func TestGone(t *testing.T) {
	ctx, gw := testContext(t), proctest.New(t)
	var deliveries []*proctest.Delivery
	for range 3 {
		deliveries = append(deliveries, gw.Open("CP1", "ocpp1.6"), gw.CloseCharger("CP1", 1001, ""))
	}
	for _, d := range deliveries[:4] {
		if _, err := d.Reply(ctx); err != nil || d.Attempts() != 0 {
			t.Errorf("%v after %d attempts", err, d.Attempts())
		}
	}
	l := join(t, gw, `{"name":"p"}`)
	f := l.want(unixipc.Opened, 1, "CP1", `"gone":true,"reconnects":2`)
	if !strings.Contains(string(f.Payload), `"ocpp1.6"`) || strings.Contains(string(f.Payload), "moved") {
		t.Errorf("OPENED %s", f.Payload)
	}
	l.want(unixipc.Closed, 2, "CP1", "")
	l.Close()
	next := join(t, gw, `{"name":"next"}`) // nothing was acknowledged
	next.want(unixipc.Opened, 3, "CP1", `"gone":true,"reconnects":2`)
	next.put(unixipc.Ack, 3, "CP1", "")
	next.want(unixipc.Closed, 4, "CP1", "")
	next.put(unixipc.Ack, 4, "CP1", "")
	gw.Open("CP1", "ocpp1.6")
	if f := next.want(unixipc.Opened, 5, "CP1", "opened"); strings.Contains(string(f.Payload), "gone") || strings.Contains(string(f.Payload), "reconnects") {
		t.Errorf("OPENED %s", f.Payload)
	}
}

func TestRestart(t *testing.T) {
	ctx, gw := testContext(t), proctest.New(t)
	l, before := join(t, gw, `{"name":"p"}`), gw.Instance()
	gw.Open("CP1", "")
	l.want(unixipc.Opened, 1, "CP1", "")
	lost := gw.Message("CP1", nil)
	gw.Restart()
	if _, err := lost.Reply(ctx); err != proctest.ErrLost {
		t.Errorf("Reply: %v", err)
	}
	if _, err := io.Copy(io.Discard, l.in); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	if gw.Instance() == before {
		t.Errorf("still %q", before)
	}
	l = join(t, gw, `{"name":"p"}`)
	gw.Open("CP1", "")
	l.want(unixipc.Opened, 1, "CP1", "")
}

func TestFailReplies(t *testing.T) {
	ctx, gw := testContext(t), proctest.New(t)
	l := join(t, gw, `{"name":"p"}`)
	gw.Open("CP1", "")
	l.want(unixipc.Opened, 1, "CP1", "")
	gw.FailReplies("CP1", proctest.StatusFull)
	d := gw.Message("CP1", nil)
	l.want(unixipc.Message, 2, "CP1", "")
	l.put(unixipc.Ack, 2, "CP1", "reply")
	l.want(unixipc.Result, 2, "CP1", "full")
	if _, err := d.Reply(ctx); err != proctest.ErrNotWritten {
		t.Errorf("Reply: %v", err)
	}
}

// What is not the sender's is answered once, by its owner.
func TestAnsweredOnce(t *testing.T) {
	ctx, gw := testContext(t), proctest.New(t)
	gw.Open("CP1", "")
	d := gw.Message("CP1", []byte("x"))
	l := join(t, gw, `{"name":"p"}`)
	l.want(unixipc.Opened, 1, "CP1", "")
	l.want(unixipc.Message, 2, "CP1", "x")
	l.put(unixipc.Ack, 2, "CP1", "first")
	l.put(unixipc.Ack, 2, "CP1", "second")
	if f := l.want(unixipc.Result, 2, "CP1", "refused"); f.Flags != unixipc.ForDelivery {
		t.Errorf("flags %d", f.Flags)
	}
	if reply, err := d.Reply(ctx); err != nil || string(reply) != "first" {
		t.Errorf("%q, %v", reply, err)
	}
	late := gw.Message("CP1", []byte("y"))
	l.want(unixipc.Message, 3, "CP1", "y")
	gw.CloseCharger("CP1", 1000, "")
	l.want(unixipc.Closed, 4, "CP1", "")
	l.put(unixipc.Ack, 3, "CP1", "late")
	l.want(unixipc.Result, 3, "CP1", "closed")
	if _, err := late.Reply(ctx); err != proctest.ErrNotWritten {
		t.Errorf("late reply: %v", err)
	}
}

// A charger moves with all it has: an OPENED first, then what is unacknowledged.
func TestMove(t *testing.T) {
	gw := proctest.Config{ChargerWindow: 2}.New(t)
	old := join(t, gw, `{"name":"old","subprotocols":["ocpp1.6"]}`)
	gw.Open("CP1", "ocpp1.6")
	old.want(unixipc.Opened, 1, "CP1", "")
	old.put(unixipc.Ack, 1, "CP1", "")
	for _, payload := range []string{"a", "b", "c"} {
		gw.Message("CP1", []byte(payload))
	}
	old.want(unixipc.Message, 2, "CP1", "a")
	old.want(unixipc.Message, 3, "CP1", "b")
	join(t, gw, `{"name":"other","subprotocols":["ocpp2.1"]}`)
	next := join(t, gw, `{"name":"next"}`)
	old.Close()
	next.want(unixipc.Opened, 4, "CP1", `"moved":true`)
	if f := next.want(unixipc.Message, 5, "CP1", "a"); f.Flags != unixipc.Redelivered {
		t.Errorf("flags %d", f.Flags)
	}
	next.put(unixipc.Ack, 4, "CP1", "")
	next.want(unixipc.Message, 6, "CP1", "b")
	next.put(unixipc.Nack, 5, "CP1", `{"retry_after_ms":1}`)
	next.want(unixipc.Message, 7, "CP1", "a")
	next.put(unixipc.Ack, 6, "CP1", "")
	if f := next.want(unixipc.Message, 8, "CP1", "c"); f.Flags != 0 {
		t.Errorf("flags %d", f.Flags)
	}
}

func TestMisusePanics(t *testing.T) {
	gw := proctest.New(t)
	gw.Open("CP1", "")
	for name, misuse := range map[string]func(){
		"message of nobody": func() { gw.Message("CP2", nil) },
		"opened twice":      func() { gw.Open("CP1", "") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			misuse()
		}()
	}
}

// The processors that documentation shows, in other languages.
func TestMinimalProcessors(t *testing.T) {
	for _, command := range [][]string{
		{"python3", "../../tests/processors/minimal.py"},
		{"node", "../../tests/processors/minimal.mjs"},
	} {
		t.Run(command[0], func(t *testing.T) {
			if _, err := exec.LookPath(command[0]); err != nil {
				t.Fatal(err)
			}
			minimalProcessor(t, command)
		})
	}
}

func minimalProcessor(t *testing.T, command []string) {
	const loops = 3
	ctx, gw := testContext(t), proctest.Config{Loops: loops}.New(t)
	processor := exec.CommandContext(ctx, command[0], append(slices.Clone(command[1:]), gw.Socket(), "minimal")...)
	processor.Stderr = os.Stderr
	if err := processor.Start(); err != nil {
		t.Fatal(err)
	}
	if hellos, err := gw.WaitLinks(ctx, loops); err != nil || hellos[0].Name != "minimal" {
		t.Fatal(hellos, err)
	}

	for c := range 10 {
		identity := fmt.Sprint("zähler-", c)
		gw.Open(identity, "ocpp1.6")
		for action, field := range map[string]string{
			"BootNotification": "interval", "Heartbeat": "currentTime", "MeterValues": "", "constructor": "",
		} {
			reply, err := gw.Call(ctx, identity, fmt.Appendf(nil, `[2,"id-é",%q,{}]`, action))
			if err != nil {
				t.Fatal(err)
			}
			var result struct {
				kind int
				id   string
				body map[string]any
			}
			if err := json.Unmarshal(reply, &[]any{&result.kind, &result.id, &result.body}); err != nil {
				t.Fatalf("%s: %q: %v", action, reply, err)
			}
			if _, ok := result.body[field]; result.kind != 3 || result.id != "id-é" || ok != (field != "") {
				t.Errorf("%s: %s", action, reply)
			}
		}
		for _, payload := range []string{
			`[3,"1",{}]`, `[4,"1","GenericError","",{}]`, "no JSON", "", "1", "null", `[2]`, `[2,{},{},{}]`,
			strings.Repeat("[", 100_000), "\xff", `["` + strings.Repeat("x", 200_000) + `"]`,
		} {
			if reply, err := gw.Call(ctx, identity, []byte(payload)); err != nil || reply != nil {
				t.Errorf("%.40q: %q, %v", payload, reply, err)
			}
		}
		if _, err := gw.CloseCharger(identity, 1000, "").Reply(ctx); err != nil {
			t.Fatal(err)
		}
	}

	processor.Process.Signal(syscall.SIGTERM)
	if err := processor.Wait(); err != nil {
		t.Errorf("left with %v", err)
	}
	if _, err := gw.WaitLinks(ctx, 0); err != nil {
		t.Error(err)
	}
}
