package proc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/proc"
	"holdfast/proc/proctest"
	"holdfast/unixipc"
)

// deadline is for what must happen soon; a test that waits so long has failed.
const deadline = 20 * time.Second

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// start runs a processor; stop ends its context and returns what Run returned.
func start(t *testing.T, gw *proctest.Gateway, c proc.Config, h proc.Handler) (stop func() error) {
	return startOn(t, gw.Socket(), c, h)
}

func startOn(t *testing.T, socket string, c proc.Config, h proc.Handler) (stop func() error) {
	t.Helper()
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, socket, h) }()
	stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(deadline):
			return errors.New("Run did not return")
		}
	})
	t.Cleanup(func() { stop() })
	return stop
}

func echo(_ context.Context, _ *proc.Charger, m proc.Message) ([]byte, error) {
	return append([]byte("re:"), m.Payload...), nil
}

func call(t *testing.T, ctx context.Context, gw *proctest.Gateway, identity, payload string) string {
	t.Helper()
	reply, err := gw.Call(ctx, identity, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return string(reply)
}

func acked(t *testing.T, ctx context.Context, deliveries ...*proctest.Delivery) {
	t.Helper()
	for _, d := range deliveries {
		if _, err := d.Reply(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func receive[T any](t *testing.T, ctx context.Context, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-ctx.Done():
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func TestReplyTravelsWithAck(t *testing.T) {
	ctx, gw := testContext(t), proctest.New(t)
	start(t, gw, proc.Config{}, echo)
	gw.Open("CP1", "ocpp1.6")
	if got := call(t, ctx, gw, "CP1", "a"); got != "re:a" {
		t.Errorf("reply %q", got)
	}
	binary := gw.BinaryMessage("CP1", []byte{0, 1})
	if reply, err := binary.Reply(ctx); err != nil || string(reply) != "re:\x00\x01" || !binary.BinaryReply() {
		t.Errorf("binary reply %q (binary: %v), %v", reply, binary.BinaryReply(), err)
	}
	latin1 := gw.MalformedMessage("CP1", []byte("caf\xe9"))
	if reply, err := latin1.Reply(ctx); err != nil || string(reply) != "re:caf\xe9" || latin1.BinaryReply() {
		t.Errorf("reply to malformed text %q (binary: %v), %v", reply, latin1.BinaryReply(), err)
	}
	long := strings.Repeat("x", 300_000)
	if got := call(t, ctx, gw, "CP1", long); got != "re:"+long {
		t.Errorf("long reply has %d bytes", len(got))
	}
}

func TestNoReply(t *testing.T) {
	ctx, gw := testContext(t), proctest.New(t)
	start(t, gw, proc.Config{}, func(_ context.Context, _ *proc.Charger, m proc.Message) ([]byte, error) {
		if string(m.Payload) == "too long" {
			return make([]byte, 1<<20+1), nil
		}
		return nil, nil
	})
	gw.Open("CP1", "ocpp1.6")
	for _, payload := range []string{"", "x", "too long"} {
		if got := call(t, ctx, gw, "CP1", payload); got != "" {
			t.Errorf("reply of %d bytes to %q", len(got), payload)
		}
	}
}

// A charger's deliveries arrive one at a time and in order, whatever runs beside.
func TestOrder(t *testing.T) {
	const chargers, messages = 20, 200
	ctx, gw := testContext(t), proctest.Config{Loops: 2}.New(t)
	var mu sync.Mutex
	seen := make(map[string][]string)
	busy := make(map[string]bool)
	note := func(ch *proc.Charger, what string) {
		mu.Lock()
		if busy[ch.Identity()] {
			t.Errorf("%v: two at a time", ch)
		}
		busy[ch.Identity()] = true
		seen[ch.Identity()] = append(seen[ch.Identity()], what)
		mu.Unlock()
		runtime.Gosched()
		mu.Lock()
		busy[ch.Identity()] = false
		mu.Unlock()
	}
	start(t, gw, proc.Config{
		Opened: func(_ context.Context, ch *proc.Charger, o unixipc.OpenedBody) { note(ch, "opened "+o.Subprotocol) },
		Closed: func(_ context.Context, ch *proc.Charger, c unixipc.ClosedBody) { note(ch, "closed by "+c.By) },
	}, func(_ context.Context, ch *proc.Charger, m proc.Message) ([]byte, error) {
		note(ch, string(m.Payload))
		return m.Payload, nil
	})

	want := []string{"opened ocpp1.6"}
	for m := range messages {
		want = append(want, fmt.Sprint(m))
	}
	want = append(want, "closed by charger")
	var last []*proctest.Delivery
	for c := range chargers {
		gw.Open(fmt.Sprint("CP", c), "ocpp1.6")
	}
	for m := range messages {
		for c := range chargers {
			d := gw.Message(fmt.Sprint("CP", c), fmt.Append(nil, m))
			if m == messages-1 {
				last = append(last, d)
			}
		}
	}
	acked(t, ctx, last...)
	for c := range chargers {
		acked(t, ctx, gw.CloseCharger(fmt.Sprint("CP", c), 1000, ""))
	}
	mu.Lock()
	defer mu.Unlock()
	for c := range chargers {
		if got := seen[fmt.Sprint("CP", c)]; !slices.Equal(got, want) {
			t.Errorf("CP%d: %q", c, got)
		}
	}
}

// Handlers that block occupy all workers and no more.
func TestConcurrency(t *testing.T) {
	const limit = 5
	ctx, gw := testContext(t), proctest.New(t)
	var running, most atomic.Int32
	arrived, release := make(chan bool, 100), make(chan bool)
	start(t, gw, proc.Config{Concurrency: limit}, func(context.Context, *proc.Charger, proc.Message) ([]byte, error) {
		if n := running.Add(1); n > most.Load() {
			most.Store(n)
		}
		arrived <- true
		<-release
		running.Add(-1)
		return nil, nil
	})
	var messages []*proctest.Delivery
	for c := range 3 * limit {
		identity := fmt.Sprint("CP", c)
		gw.Open(identity, "")
		messages = append(messages, gw.Message(identity, nil))
	}
	for range limit {
		receive(t, ctx, arrived)
	}
	close(release)
	acked(t, ctx, messages...)
	if most.Load() != limit {
		t.Errorf("%d at once, want %d", most.Load(), limit)
	}
}

// Acknowledgements are written together, but never wait for a handler that
// came in with them and blocks.
func TestAckDoesNotWait(t *testing.T) {
	const quick = 10
	for _, concurrency := range []int{1, 2, 8} {
		ctx := testContext(t)
		socket, gateway := mute(t)
		release := make(chan bool)
		stop := startOn(t, socket, proc.Config{Concurrency: concurrency}, func(_ context.Context, _ *proc.Charger, m proc.Message) ([]byte, error) {
			if string(m.Payload) == "block" {
				<-release
			}
			return m.Payload, nil
		})
		conn := receive(t, ctx, gateway)
		conn.welcome()
		for range 20 {
			var batch []byte
			for c := range quick {
				batch = unixipc.Frame{Type: unixipc.Message, Key: fmt.Append(nil, "CP", c), Payload: []byte("quick")}.Append(batch)
			}
			conn.Write(unixipc.Frame{Type: unixipc.Message, Key: []byte("last"), Payload: []byte("block")}.Append(batch))
			for range quick {
				if f := conn.get(); string(f.Payload) != "quick" {
					t.Fatalf("got %+v", f)
				}
			}
			release <- true
			if f := conn.get(); string(f.Key) != "last" {
				t.Fatalf("got %+v", f)
			}
		}
		conn.Close()
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestGiveBack(t *testing.T) {
	ctx, gw := testContext(t), proctest.New(t)
	var first atomic.Bool
	start(t, gw, proc.Config{}, func(_ context.Context, _ *proc.Charger, m proc.Message) ([]byte, error) {
		if string(m.Payload) == "later" && first.CompareAndSwap(false, true) {
			return nil, proc.RetryAfter(errors.New("database is down"), 20*time.Millisecond)
		}
		return fmt.Appendf(nil, "redelivered: %v", m.Redelivered), nil
	})
	gw.Open("CP1", "")
	later, behind := gw.Message("CP1", []byte("later")), gw.Message("CP1", []byte("behind"))
	acked(t, ctx, behind)
	if reply, err := later.Reply(ctx); err != nil || string(reply) != "redelivered: true" || later.Attempts() != 2 {
		t.Errorf("%q, %v, %d attempts", reply, err, later.Attempts())
	}
}

func TestRetryAfter(t *testing.T) {
	cause := errors.New("cause")
	if err := proc.RetryAfter(cause, time.Second); !errors.Is(err, cause) || err.Error() != "cause" {
		t.Errorf("%v does not wrap its cause", err)
	}
	if err := proc.RetryAfter(nil, time.Second); err != nil {
		t.Errorf("RetryAfter(nil) = %v", err)
	}
}

func TestOrders(t *testing.T) {
	ctx, gw := testContext(t), proctest.New(t)
	handles := make(chan *proc.Charger, 1)
	closed := make(chan unixipc.ClosedBody, 1)
	stop := start(t, gw, proc.Config{
		Opened: func(_ context.Context, ch *proc.Charger, _ unixipc.OpenedBody) { handles <- ch },
		Closed: func(_ context.Context, _ *proc.Charger, c unixipc.ClosedBody) { closed <- c },
	}, func(ctx context.Context, ch *proc.Charger, m proc.Message) ([]byte, error) {
		return nil, ch.Send(ctx, m.Payload, m.Binary) // an order in a handler must not wait for the handler
	})
	gw.Open("CP1", "")
	ch := receive(t, ctx, handles)

	acked(t, ctx, gw.BinaryMessage("CP1", []byte("in a handler")))
	if err := ch.Send(ctx, []byte("outside"), false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []proctest.Order{{Payload: []byte("in a handler"), Binary: true}, {Payload: []byte("outside")}} {
		if got, err := gw.Order(ctx, "CP1"); err != nil || string(got.Payload) != string(want.Payload) || got.Binary != want.Binary {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}

	for status, want := range map[unixipc.Status]error{
		unixipc.StatusOffline: proc.ErrOffline, unixipc.StatusClosed: proc.ErrClosed, unixipc.StatusFull: proc.ErrFull,
	} {
		gw.Answer("CP1", status)
		if err := ch.Send(ctx, nil, false); !errors.Is(err, want) {
			t.Errorf("Send with outcome %q: %v", status, err)
		}
	}
	gw.Answer("CP1", "")
	for what, err := range map[string]error{
		"CLOSE": ch.Close(ctx, 1006, ""),
		"SEND":  ch.Send(ctx, make([]byte, 1<<20+1), false),
	} {
		if refused, ok := errors.AsType[*proc.RefusedError](err); !ok || refused.What != what {
			t.Errorf("%s at fault: %v", what, err)
		}
	}

	if err := ch.Close(ctx, 1008, "go away"); err != nil {
		t.Fatal(err)
	}
	if got, err := gw.Order(ctx, "CP1"); err != nil || got.Close == nil || *got.Close != (unixipc.CloseBody{Code: 1008, Reason: "go away"}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got := receive(t, ctx, closed); got != (unixipc.ClosedBody{Code: 1008, Reason: "go away", By: "processor"}) {
		t.Errorf("closed with %+v", got)
	}
	if err := ch.Send(ctx, nil, false); !errors.Is(err, proc.ErrOffline) {
		t.Errorf("Send after the end: %v", err)
	}

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := ch.Send(cancelled, nil, false); !errors.Is(err, context.Canceled) {
		t.Errorf("Send with a cancelled context: %v", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := ch.Send(ctx, nil, false); !errors.Is(err, proc.ErrNoLink) {
		t.Errorf("Send after Run: %v", err)
	}
}

// A link lost under a running handler: the handler finishes, its reply goes
// nowhere, and the message comes again once the handler is done. What waited
// behind it is not handled twice.
func TestRedelivery(t *testing.T) {
	ctx, gw := testContext(t), proctest.New(t)
	began, release := make(chan string, 10), make(chan bool)
	var messages []string // the handler's own: one charger, one at a time
	start(t, gw, proc.Config{}, func(ctx context.Context, _ *proc.Charger, m proc.Message) ([]byte, error) {
		what := fmt.Sprintf("%s %v", m.Payload, m.Redelivered)
		messages = append(messages, what)
		began <- what
		<-release
		return []byte(what), ctx.Err()
	})
	gw.Open("CP1", "")
	a, b := gw.Message("CP1", []byte("a")), gw.Message("CP1", []byte("b"))
	receive(t, ctx, began)
	gw.DropLinks()
	if _, err := gw.WaitLinks(ctx, 1); err != nil {
		t.Fatal(err)
	}
	close(release)
	for d, want := range map[*proctest.Delivery]string{a: "a true", b: "b true"} {
		if reply, err := d.Reply(ctx); err != nil || string(reply) != want {
			t.Errorf("%q, %v, want %q", reply, err, want)
		}
	}
	if want := []string{"a false", "a true", "b true"}; !slices.Equal(messages, want) {
		t.Errorf("handled %q, want %q", messages, want)
	}
}

func TestSendOnLostLink(t *testing.T) {
	ctx := testContext(t)
	socket, gateway := mute(t)
	result := make(chan error, 1)
	start := startOn(t, socket, proc.Config{}, func(ctx context.Context, ch *proc.Charger, _ proc.Message) ([]byte, error) {
		result <- ch.Send(ctx, []byte("x"), false)
		return nil, nil
	})
	conn := receive(t, ctx, gateway)
	conn.welcome()
	conn.put(unixipc.Frame{Type: unixipc.Message, Ref: 1, Key: []byte("CP1"), Payload: []byte("y")})
	if f := conn.get(); f.Type != unixipc.Send {
		t.Fatalf("got %v", f.Type)
	}
	conn.Close()
	if err := receive(t, ctx, result); !errors.Is(err, proc.ErrLinkLost) {
		t.Errorf("Send: %v", err)
	}
	if err := start(); err != nil {
		t.Error(err)
	}
}

// Frames of types from a later version of the gateway are ignored, a REFUSED in
// the middle of a link is not the end, and one at HELLO is.
func TestRefused(t *testing.T) {
	ctx := testContext(t)
	socket, gateway := mute(t)
	ran := make(chan error, 1)
	go func() { ran <- proc.Run(ctx, socket, echo) }()

	conn := receive(t, ctx, gateway)
	conn.welcome()
	conn.put(unixipc.Frame{Type: 0xf0, Payload: []byte("?")})
	conn.put(unixipc.Frame{Type: unixipc.Message, Ref: 7, Key: []byte("CP1"), Payload: []byte("y")})
	if f := conn.get(); f.Type != unixipc.Ack || f.Ref != 7 || string(f.Key) != "CP1" || string(f.Payload) != "re:y" {
		t.Fatalf("got %+v", f)
	}
	conn.put(unixipc.Frame{Type: unixipc.Refused, Payload: []byte(`{"why":"you hang"}`)})

	conn = receive(t, ctx, gateway)
	conn.get()
	conn.put(unixipc.Frame{Type: unixipc.Refused, Payload: []byte(`{"why":"too old","versions":[2]}`)})
	err := receive(t, ctx, ran)
	if refused, ok := errors.AsType[*proc.RefusedError](err); !ok || refused.What != "HELLO" || refused.Why != "too old" {
		t.Errorf("Run: %v", err)
	}
}

func TestRefusedByProctest(t *testing.T) {
	gw := proctest.New(t)
	for want, c := range map[string]proc.Config{"name": {Name: "bad\nname"}, "closed today": {}} {
		if want != "name" {
			gw.Refuse(want)
		}
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
		err := c.Run(testContext(t), gw.Socket(), echo)
		if refused, ok := errors.AsType[*proc.RefusedError](err); !ok || refused.What != "HELLO" {
			t.Errorf("%s: %v", want, err)
		}
		gw.Refuse("")
	}
}

// The gateway may come later than the processor, and come back.
func TestGatewayComesAndGoes(t *testing.T) {
	ctx := testContext(t)
	socket := filepath.Join(shortDir(t), "s")
	tried := make(chan bool, 100)
	start := startOn(t, socket, proc.Config{Logger: slog.New(signal{slog.DiscardHandler, tried})}, echo)
	receive(t, ctx, tried)
	for range 3 {
		gateway := listen(t, socket)
		conn := receive(t, ctx, gateway.conns)
		conn.welcome()
		conn.put(unixipc.Frame{Type: unixipc.Opened, Ref: 1, Key: []byte("CP1"), Payload: []byte("{}")})
		if f := conn.get(); f.Type != unixipc.Ack || f.Ref != 1 {
			t.Fatalf("got %+v", f)
		}
		gateway.Close()
		conn.Close()
	}
	if err := start(); err != nil {
		t.Error(err)
	}
}

func TestHello(t *testing.T) {
	ctx, gw := testContext(t), proctest.Config{Loops: 3}.New(t)
	start(t, gw, proc.Config{Name: "billing-1", Subprotocols: []string{"ocpp1.6"}, Window: 7}, echo)
	hellos, err := gw.WaitLinks(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(hellos, func(a, b unixipc.HelloBody) int { return a.Loop - b.Loop })
	for i, h := range hellos {
		if h.Name != "billing-1" || h.Loop != i || h.Window != 7 || !slices.Equal(h.Subprotocols, []string{"ocpp1.6"}) {
			t.Errorf("HELLO %d: %+v", i, h)
		}
	}
}

// The gateway comes back with fewer loops, then with more.
func TestLoopsChange(t *testing.T) {
	ctx := testContext(t)
	socket := filepath.Join(shortDir(t), "s")
	stop := startOn(t, socket, proc.Config{}, echo)
	for _, loops := range []int{3, 1, 2} {
		gateway := listen(t, socket)
		var conns []*conn
		joined := make(map[int]bool)
		for len(joined) < loops {
			c := receive(t, ctx, gateway.conns)
			conns = append(conns, c)
			if n := c.hello(); n < loops {
				c.put(welcome(loops))
				joined[n] = true
			} else {
				c.put(unixipc.Frame{Type: unixipc.Refused, Payload: []byte(`{"why":"no such loop"}`)})
			}
		}
		gateway.Close()
		for _, c := range conns {
			c.Close()
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// At the end of Run's context what is here is finished, with a living context;
// what is not goes to the next processor.
func TestDrain(t *testing.T) {
	ctx, gw := testContext(t), proctest.Config{Loops: 2}.New(t)
	began, release := make(chan bool, 10), make(chan bool)
	stop := start(t, gw, proc.Config{Name: "old"}, func(ctx context.Context, _ *proc.Charger, _ proc.Message) ([]byte, error) {
		began <- true
		<-release
		return []byte("old"), ctx.Err()
	})
	gw.Open("CP1", "")
	first, second := gw.Message("CP1", nil), gw.Message("CP1", nil)
	receive(t, ctx, began)
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()

	// The next processor takes over what the old one has not got.
	if _, err := gw.WaitLinks(ctx, 1); err != nil { // the idle loop's link is gone: DRAIN has arrived
		t.Fatal(err)
	}
	start(t, gw, proc.Config{Name: "new"}, func(context.Context, *proc.Charger, proc.Message) ([]byte, error) {
		return []byte("new"), nil
	})
	close(release)
	for _, d := range []*proctest.Delivery{first, second} {
		if reply, err := d.Reply(ctx); err != nil || string(reply) != "old" || d.Attempts() != 1 {
			t.Errorf("%q, %v, %d attempts", reply, err, d.Attempts())
		}
	}
	if err := receive(t, ctx, stopped); err != nil {
		t.Errorf("Run: %v", err)
	}
	if got := call(t, ctx, gw, "CP1", ""); got != "new" {
		t.Errorf("reply of the %s processor", got)
	}
}

func TestDrainTimeout(t *testing.T) {
	ctx, gw := testContext(t), proctest.New(t)
	began, cause := make(chan bool, 1), make(chan error, 1)
	stop := start(t, gw, proc.Config{DrainTimeout: time.Millisecond}, func(ctx context.Context, _ *proc.Charger, _ proc.Message) ([]byte, error) {
		began <- true
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return nil, proc.RetryAfter(ctx.Err(), 0)
	})
	gw.Open("CP1", "")
	d := gw.Message("CP1", nil)
	receive(t, ctx, began)
	if err := stop(); !errors.Is(err, proc.ErrDrainTimeout) {
		t.Errorf("Run: %v", err)
	}
	if err := receive(t, ctx, cause); !errors.Is(err, proc.ErrDrainTimeout) {
		t.Errorf("the handler's context ended with %v", err)
	}
	start(t, gw, proc.Config{}, echo)
	if reply, err := d.Reply(ctx); err != nil || string(reply) != "re:" {
		t.Errorf("%q, %v", reply, err)
	}
}

// signal is a slog.Handler that reports each record.
type signal struct {
	slog.Handler
	records chan<- bool
}

func (s signal) Enabled(context.Context, slog.Level) bool { return true }
func (s signal) WithAttrs([]slog.Attr) slog.Handler       { return s }
func (s signal) Handle(context.Context, slog.Record) error {
	select {
	case s.records <- true:
	default:
	}
	return nil
}

// listener is a gateway that the test plays by hand, frame by frame.
type listener struct {
	net.Listener
	conns chan *conn
}

type conn struct {
	net.Conn
	t   *testing.T
	buf []byte
}

// mute returns a socket and the connections made to it.
func mute(t *testing.T) (socket string, conns <-chan *conn) {
	socket = filepath.Join(shortDir(t), "s")
	return socket, listen(t, socket).conns
}

func listen(t *testing.T, socket string) *listener {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	gateway := &listener{l, make(chan *conn, 10)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(deadline))
			gateway.conns <- &conn{Conn: c, t: t}
		}
	}()
	t.Cleanup(func() { l.Close() })
	return gateway
}

func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "proc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (c *conn) put(f unixipc.Frame) {
	c.t.Helper()
	if _, err := c.Write(f.Append(nil)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *conn) get() unixipc.Frame {
	c.t.Helper()
	for {
		f, n, err := unixipc.Parse(c.buf, 1<<20)
		if err != nil {
			c.t.Fatal(err)
		}
		if n > 0 {
			c.buf = slices.Clone(c.buf[n:])
			return f
		}
		chunk := make([]byte, 4096)
		m, err := c.Read(chunk)
		if err != nil {
			c.t.Fatal(err)
		}
		c.buf = append(c.buf, chunk[:m]...)
	}
}

func (c *conn) hello() (loop int) {
	c.t.Helper()
	f := c.get()
	if f.Type != unixipc.Hello || f.Ref != unixipc.Version {
		c.t.Fatalf("got %+v instead of HELLO", f)
	}
	if _, err := fmt.Sscanf(string(f.Payload[strings.Index(string(f.Payload), `"loop":`):]), `"loop":%d`, &loop); err != nil {
		c.t.Fatal(err)
	}
	return loop
}

func welcome(loops int) unixipc.Frame {
	return unixipc.Frame{
		Type: unixipc.Welcome, Ref: unixipc.Version,
		Payload: fmt.Appendf(nil, `{"gateway":"test","loops":%d,"window":256,"charger_window":16,"max_message":1048576}`, loops),
	}
}

func (c *conn) welcome() {
	c.t.Helper()
	c.hello()
	c.put(welcome(1))
}

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
