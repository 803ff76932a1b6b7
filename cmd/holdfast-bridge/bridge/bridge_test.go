package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"holdfast/cmd/holdfast-bridge/route"
	"holdfast/cmd/holdfast-bridge/upstream"
	"holdfast/proc/proctest"
)

// central is a central system that answers as a test says.
type central struct {
	*httptest.Server
	dials  atomic.Int64
	refuse atomic.Bool
	answer func(message string) string

	mu    sync.Mutex
	got   []string
	conns []*websocket.Conn
}

func newCentral(t *testing.T, answer func(message string) string) *central {
	c := &central{answer: answer}
	c.Server = httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(c.CloseClientConnections)
	return c
}

func (c *central) serve(w http.ResponseWriter, r *http.Request) {
	c.dials.Add(1)
	if c.refuse.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"ocpp1.6"}})
	if err != nil {
		return
	}
	c.mu.Lock()
	c.conns = append(c.conns, ws)
	c.mu.Unlock()
	for {
		_, b, err := ws.Read(context.Background())
		if err != nil {
			return
		}
		c.mu.Lock()
		c.got = append(c.got, string(b))
		answer := c.answer(string(b))
		c.mu.Unlock()
		if answer != "" {
			_ = ws.Write(context.Background(), websocket.MessageText, []byte(answer))
		}
	}
}

// drop ends all connections.
func (c *central) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ws := range c.conns {
		_ = ws.CloseNow()
	}
	c.conns = nil
}

func (c *central) route() string {
	return "* ws" + strings.TrimPrefix(c.URL, "http") + "/{identity}"
}

// usual is a CALLRESULT.
func usual(message string) string {
	return `[3,"` + parseHead([]byte(message)).id + `",{}]`
}

func mute(string) string { return "" }

func routes(t *testing.T, to string, mirrors ...string) *route.Set {
	t.Helper()
	r, err := route.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	s := &route.Set{Routes: []route.Route{r}}
	for _, value := range mirrors {
		m, err := route.ParseMirror(value)
		if err != nil {
			t.Fatal(err)
		}
		s.Mirrors = append(s.Mirrors, m)
	}
	return s
}

// start runs a bridge at a gateway of the test's.
func start(t *testing.T, gw *proctest.Gateway, to *route.Set, change func(*Config)) *Bridge {
	t.Helper()
	q := upstream.NewQueue(upstream.NewDialer(upstream.Config{MaxMessage: 1 << 20, Timeout: 5 * time.Second}), 1000)
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	go q.Run(ctx)
	c := Config{
		Name: "bridge", Queue: q, Logger: slog.New(slog.DiscardHandler),
		Metrics:       NewMetrics(prometheus.NewRegistry(), func() float64 { return 0 }),
		AnswerTimeout: 5 * time.Second, Attempts: 3, BootOnRedial: "none", OfflineReply: map[string]bool{},
	}
	if change != nil {
		change(&c)
	}
	b := New(c, to)
	go func() { _ = b.Processor().Run(ctx, gw.Socket(), b.Handle) }()
	return b
}

// connected waits until the charger is connected to the central system.
func connected(t *testing.T, b *Bridge, identity string) *session {
	t.Helper()
	var s *session
	eventually(t, "a connection to the central system", func() (up bool) {
		if s = b.find(identity); s != nil {
			s.do(func() { up = s.up != nil })
		}
		return up
	})
	return s
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for " + what)
		}
	}
}

func reply(t *testing.T, d *proctest.Delivery) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	b, err := d.Reply(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// An answer in place of a central system keeps nobody from dialling it.
func TestOfflineReplyStillDials(t *testing.T) {
	t.Parallel()
	var silent atomic.Bool
	c := newCentral(t, func(m string) string {
		if silent.Load() {
			return ""
		}
		return usual(m)
	})
	gw := proctest.New(t)
	b := start(t, gw, routes(t, c.route()), func(c *Config) { c.OfflineReply["Heartbeat"] = true })
	gw.Open("CP1", "ocpp1.6")
	s := connected(t, b, "CP1")
	s.do(func() { s.since = s.since.Add(-time.Minute) }) // it has lasted
	silent.Store(true)
	d := gw.Message("CP1", []byte(`[2,"2","Heartbeat",{}]`))
	eventually(t, "the CALL on its way", func() (sent bool) {
		s.do(func() { sent = s.waiting != nil && s.waiting.sent })
		return sent
	})
	c.drop()
	if got := reply(t, d); !strings.Contains(got, "currentTime") {
		t.Errorf("in place of the central system: %s", got)
	}
	connected(t, b, "CP1")
}

// What was answered to a message is no answer to another one that is alike.
func TestNoOldAnswer(t *testing.T) {
	t.Parallel()
	n := 0
	c := newCentral(t, func(m string) string {
		n++
		return fmt.Sprintf(`[3,%q,{"n":%d}]`, parseHead([]byte(m)).id, n)
	})
	gw := proctest.New(t)
	start(t, gw, routes(t, c.route()), nil)
	gw.Open("CP1", "ocpp1.6")
	same := []byte(`[2,"hb","Heartbeat",{}]`)
	first := reply(t, gw.Message("CP1", same))
	c.refuse.Store(true)
	c.drop()
	d := gw.Message("CP1", same)
	eventually(t, "it to be given back", func() bool { return d.Attempts() >= 2 })
	c.refuse.Store(false)
	if got := reply(t, d); got == first {
		t.Errorf("the second has the answer to the first, %s", got)
	}
}

// The main system's answer holds while a mirror that decides is waited for, however long
// that takes.
func TestSilentMirrorThatDecides(t *testing.T) {
	t.Parallel()
	for _, cut := range []bool{false, true} {
		c, mirror := newCentral(t, usual), newCentral(t, mute)
		gw := proctest.New(t)
		b := start(t, gw, routes(t, c.route(), mirror.route()+",answers=StartTransaction"), func(c *Config) { c.AnswerTimeout, c.Attempts = time.Second, 1 })
		gw.Open("CP1", "ocpp1.6")
		reply(t, gw.Message("CP1", []byte(`[2,"0","Heartbeat",{}]`)))
		s := b.find("CP1")
		eventually(t, "the mirror", func() (there bool) {
			s.do(func() { there = s.mirrors[0].there.Load() })
			return there
		})
		d := gw.Message("CP1", []byte(`[2,"1","StartTransaction",{}]`))
		if cut {
			eventually(t, "the main system's answer", func() (came bool) {
				s.do(func() { came = s.waiting != nil && s.waiting.main != nil })
				return came
			})
			c.drop()
		}
		if got := reply(t, d); got != `[3,"1",{}]` {
			t.Errorf("cut %v: %s", cut, got)
		}
		c.mu.Lock()
		if len(c.got) != 2 {
			t.Errorf("cut %v: the main system was sent %q", cut, c.got)
		}
		c.mu.Unlock()
	}
}

// Attempts are those of one message, though another has its id.
func TestAttemptsAreOfOneMessage(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	c := newCentral(t, func(m string) string {
		if seen[m]++; seen[m] == 1 {
			return ""
		}
		return usual(m)
	})
	gw := proctest.New(t)
	start(t, gw, routes(t, c.route()), func(c *Config) { c.AnswerTimeout, c.Attempts = 300*time.Millisecond, 2 })
	gw.Open("CP1", "ocpp1.6")
	for i := range 3 {
		if got := reply(t, gw.Message("CP1", fmt.Appendf(nil, `[2,"1","MeterValues",{"n":%d}]`, i))); got != `[3,"1",{}]` {
			t.Errorf("message %d: %s", i, got)
		}
	}
}

// A mirror that calls, and does not read, is not read either.
func TestMirrorThatFloods(t *testing.T) {
	flood := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"ocpp1.6"}})
		if err != nil {
			return
		}
		message := []byte(`[2,"1","` + strings.Repeat("A", 20_000) + `",{}]`)
		for ws.Write(context.Background(), websocket.MessageText, message) == nil {
		}
	}))
	t.Cleanup(flood.CloseClientConnections)
	c := newCentral(t, usual)
	gw := proctest.New(t)
	b := start(t, gw, routes(t, c.route(), "* ws"+strings.TrimPrefix(flood.URL, "http")+"/{identity}"), nil)
	gw.Open("CP1", "ocpp1.6")
	reply(t, gw.Message("CP1", []byte(`[2,"0","Heartbeat",{}]`)))
	time.Sleep(2 * time.Second)
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	s := b.find("CP1")
	var m *mirror
	s.do(func() { m = s.mirrors[0] })
	m.mu.Lock()
	waiting := len(m.waiting)
	m.mu.Unlock()
	if waiting > maxCopies+maxMirrorCalls || memory.HeapAlloc > 256<<20 {
		t.Errorf("%d functions wait for the mirror, %d MiB", waiting, memory.HeapAlloc>>20)
	}
	if got := reply(t, gw.Message("CP1", []byte(`[2,"1","Heartbeat",{}]`))); got != `[3,"1",{}]` {
		t.Error(got)
	}
}

// A route that changes, and changes back, holds nothing up.
func TestRouteThatChangesBack(t *testing.T) {
	t.Parallel()
	c, other := newCentral(t, usual), newCentral(t, usual)
	gw := proctest.New(t)
	b := start(t, gw, routes(t, c.route()), nil)
	gw.Open("CP1", "ocpp1.6")
	reply(t, gw.Message("CP1", []byte(`[2,"1","Heartbeat",{}]`)))
	s := b.find("CP1")
	s.do(func() { s.calls["x"] = &call{} }) // a CALL is under way, so that it does not move yet
	b.Reroute(routes(t, other.route()))
	d := gw.Message("CP1", []byte(`[2,"2","Heartbeat",{}]`))
	eventually(t, "it to wait for the move", func() (waits bool) {
		s.do(func() { waits = s.waiting != nil && s.moving != nil })
		return waits
	})
	began := time.Now()
	b.Reroute(routes(t, c.route()))
	if got, took := reply(t, d), time.Since(began); got != `[3,"2",{}]` || took > 5*time.Second {
		t.Errorf("%s after %v", got, took)
	}
}
