package proc_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"holdfast/proc"
	"holdfast/proc/proctest"
	"holdfast/unixipc"
)

// events collects what callbacks report of each charger.
type events struct {
	mu   sync.Mutex
	seen map[string][]string
}

func (e *events) add(ch *proc.Charger, format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.seen == nil {
		e.seen = make(map[string][]string)
	}
	e.seen[ch.Identity()] = append(e.seen[ch.Identity()], fmt.Sprintf(format, args...))
}

func (e *events) of(identity string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.seen[identity])
}

func (e *events) wait(t *testing.T, ctx context.Context, identity string, want ...string) {
	t.Helper()
	for ctx.Err() == nil && len(e.of(identity)) < len(want) {
		time.Sleep(time.Millisecond)
	}
	if got := e.of(identity); !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", identity, got, want)
	}
}

func (e *events) config() proc.Config {
	return proc.Config{
		Opened: func(_ context.Context, ch *proc.Charger, _ proc.OpenedBody) { e.add(ch, "opened") },
		Closed: func(_ context.Context, ch *proc.Charger, c proc.ClosedBody) {
			e.add(ch, "closed %d by %s: %s", c.Code, c.By, c.Reason)
		},
		Counters: new(proc.Counters),
	}
}

const crashed = "closed 1006 by gateway: the gateway was restarted"

// What the gateway cannot report after its crash: each charger that was reported
// opened is reported closed, once, before it is opened again. That holds for a
// charger which is being worked on, and for those of all loops.
func TestRestartClosesChargers(t *testing.T) {
	const chargers = 20
	ctx, gw := testContext(t), proctest.Config{Loops: 3}.New(t)
	var e events
	began, release := make(chan bool), make(chan bool)
	c := e.config()
	stop := start(t, gw, c, func(_ context.Context, ch *proc.Charger, m proc.Message) ([]byte, error) {
		if string(m.Payload) == "block" {
			began <- true
			<-release
		}
		e.add(ch, "%s", m.Payload)
		return m.Payload, nil
	})
	for i := range chargers {
		acked(t, ctx, gw.Open(fmt.Sprint("CP", i), ""))
	}
	acked(t, ctx, gw.CloseCharger("CP1", 1000, "bye"))
	gw.Message("CP0", []byte("block"))
	receive(t, ctx, began)
	gw.Message("CP0", []byte("lost")) // not begun: nobody can deliver it again

	gw.Restart()
	gw.Open("CP0", "")
	gw.Open("CP2", "")
	acked(t, ctx, gw.Message("CP2", []byte("again")))
	if _, err := gw.WaitLinks(ctx, 3); err != nil {
		t.Fatal(err)
	}
	release <- true
	e.wait(t, ctx, "CP0", "opened", "block", crashed, "opened")
	e.wait(t, ctx, "CP1", "opened", "closed 1000 by charger: bye")
	e.wait(t, ctx, "CP2", "opened", crashed, "opened", "again")
	for i := 3; i < chargers; i++ {
		e.wait(t, ctx, fmt.Sprint("CP", i), "opened", crashed)
	}

	gw.Restart()
	if _, err := gw.WaitLinks(ctx, 3); err != nil {
		t.Fatal(err)
	}
	e.wait(t, ctx, "CP2", "opened", crashed, "opened", "again", crashed)
	if err := stop(); err != nil {
		t.Error(err)
	}
	e.wait(t, ctx, "CP3", "opened", crashed) // no second time
	if n := c.Counters.Restarts.Load(); n != 2 {
		t.Errorf("%d restarts", n)
	}
}

// A lost link is no crash.
func TestLostLinkClosesNobody(t *testing.T) {
	ctx, gw := testContext(t), proctest.Config{Loops: 2}.New(t)
	var e events
	start(t, gw, e.config(), echo)
	acked(t, ctx, gw.Open("CP1", ""))
	gw.DropLinks()
	call(t, ctx, gw, "CP1", "x")
	e.wait(t, ctx, "CP1", "opened", "opened") // it moved here
}

// The links to a gateway that is gone are read to their end before anything is
// reported of the next one, whichever loop of which comes first. A WELCOME of
// the former one that comes late is that of a dead link.
func TestFormerInstance(t *testing.T) {
	ctx := testContext(t)
	socket, gateway := mute(t)
	var e events
	c := e.config()
	joined := make(chan proc.WelcomeBody, 10)
	c.Joined = func(w proc.WelcomeBody) { joined <- w }
	stop := startOn(t, socket, c, echo)
	greet := func(c *conn, instance string) {
		c.put(unixipc.Frame{
			Type: unixipc.Welcome, Ref: unixipc.Version,
			Payload: fmt.Appendf(nil, `{"gateway":"test","instance":%q,"loops":2,"window":256,"charger_window":16,"max_message":1048576}`, instance),
		})
	}
	opened := func(c *conn, identity string) {
		c.put(unixipc.Frame{Type: unixipc.Opened, Ref: 1, Key: []byte(identity), Payload: []byte("{}")})
	}
	zero := receive(t, ctx, gateway)
	zero.hello()
	greet(zero, "a")
	one := receive(t, ctx, gateway)
	one.hello()
	greet(one, "a")
	for range 2 {
		if w := receive(t, ctx, joined); w.Instance != "a" {
			t.Errorf("joined %+v", w)
		}
	}
	opened(zero, "CP0")
	zero.get()

	// Loop 0 joins the next gateway, while a frame of the former one is unread.
	zero.Close()
	zero = receive(t, ctx, gateway)
	zero.hello()
	opened(one, "CP1")
	greet(zero, "b")
	opened(zero, "CP0")
	if f := zero.get(); f.Type != unixipc.Ack {
		t.Errorf("got %v", f.Type)
	}
	if w := receive(t, ctx, joined); w.Instance != "b" {
		t.Errorf("joined %+v", w)
	}
	e.wait(t, ctx, "CP0", "opened", crashed, "opened")
	e.wait(t, ctx, "CP1", "opened", crashed)

	// Loop 1 was welcomed by the former gateway just before its end.
	one = receive(t, ctx, gateway)
	one.hello()
	greet(one, "a")
	one = receive(t, ctx, gateway)
	one.hello()
	greet(one, "b")
	if w := receive(t, ctx, joined); w.Instance != "b" {
		t.Errorf("joined %+v", w)
	}

	// An upgrade to a release without instances, and back: no crash that is known.
	for _, instance := range []string{"", "c"} {
		zero.Close()
		zero = receive(t, ctx, gateway)
		zero.hello()
		greet(zero, instance)
		receive(t, ctx, joined)
	}
	opened(zero, "CP0")
	zero.get()
	e.wait(t, ctx, "CP0", "opened", crashed, "opened", "opened")
	if n := c.Counters.Restarts.Load(); n != 1 {
		t.Errorf("%d restarts", n)
	}
	zero.Close()
	one.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// Opened that fails gives the delivery back, as a handler does; a charger whose
// TryOpened never succeeded is not reported closed by the SDK.
func TestTryOpened(t *testing.T) {
	ctx, gw := testContext(t), proctest.New(t)
	var e events
	c, failed := e.config(), 0
	c.Opened = nil
	c.TryOpened = func(_ context.Context, ch *proc.Charger, o proc.OpenedBody) error {
		if ch.Identity() == "never" || failed < 2 {
			failed++
			e.add(ch, "failed")
			return proc.RetryAfter(errors.New("database is down"), time.Millisecond)
		}
		e.add(ch, "opened %s", o.Subprotocol)
		return nil
	}
	c.Concurrency = 1 // guards failed
	start(t, gw, c, func(_ context.Context, ch *proc.Charger, _ proc.Message) ([]byte, error) {
		e.add(ch, "message")
		return nil, nil
	})
	opened := gw.Open("CP1", "ocpp1.6")
	acked(t, ctx, opened)
	if opened.Attempts() != 3 {
		t.Errorf("%d attempts", opened.Attempts())
	}
	acked(t, ctx, gw.Message("CP1", nil))
	e.wait(t, ctx, "CP1", "failed", "failed", "opened ocpp1.6", "message")
	gw.Open("never", "")
	for len(e.of("never")) == 0 {
		time.Sleep(time.Millisecond)
	}
	gw.Restart()
	e.wait(t, ctx, "CP1", "failed", "failed", "opened ocpp1.6", "message", crashed)
	if got := e.of("never"); slices.Contains(got, crashed) {
		t.Errorf("%q", got)
	}
	if n := c.Counters.GivenBack.Load(); n < 3 {
		t.Errorf("%d given back", n)
	}
	both := proc.Config{Opened: e.config().Opened, TryOpened: c.TryOpened}
	if err := both.Run(ctx, gw.Socket(), echo); err == nil {
		t.Error("Run with both")
	}
}

// What OPENED says of connections that nobody has seen.
func TestGoneAndReconnects(t *testing.T) {
	ctx, gw := testContext(t), proctest.New(t)
	for range 3 {
		gw.Open("CP1", "ocpp1.6")
		gw.CloseCharger("CP1", 1001, "")
	}
	last := gw.Open("CP2", "ocpp1.6")
	bodies := make(chan proc.OpenedBody, 2)
	start(t, gw, proc.Config{Concurrency: 1, Opened: func(_ context.Context, ch *proc.Charger, o proc.OpenedBody) {
		if ch.Identity() == "CP1" {
			bodies <- o
		}
	}}, echo)
	acked(t, ctx, last)
	if o := receive(t, ctx, bodies); !o.Gone || o.Reconnects != 2 || o.Subprotocol != "ocpp1.6" {
		t.Errorf("%+v", o)
	}
}
