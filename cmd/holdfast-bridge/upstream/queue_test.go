package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// server is a central system that accepts, and may refuse.
type server struct {
	*httptest.Server
	status atomic.Int32
	mu     sync.Mutex
	came   []string // paths, in their order
	times  []time.Time
}

func newServer(t *testing.T) *server {
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.came, s.times = append(s.came, r.URL.Path), append(s.times, time.Now())
		s.mu.Unlock()
		if status := s.status.Load(); status != 0 {
			w.WriteHeader(int(status))
			return
		}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"ocpp1.6"}})
		if err == nil {
			_, _, _ = c.Read(context.Background())
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.came...)
}

func newQueue(t *testing.T, perSecond float64) *Queue {
	q := NewQueue(NewDialer(Config{MaxMessage: 1 << 20, Timeout: 5 * time.Second}), perSecond)
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	go q.Run(ctx)
	return q
}

func request(url string, urgent bool, done func(*Conn, error)) *Request {
	return &Request{Target: Target{URL: url, Subprotocol: "ocpp1.6"}, Urgent: urgent, Done: done, Context: context.Background()}
}

// All dials keep to one rate. What is urgent goes first, the newest of it before the
// rest; and a request that was withdrawn is not dialled.
func TestRateAndOrder(t *testing.T) {
	s := newServer(t)
	q := newQueue(t, 50) // bursts of 5
	ws := "ws" + strings.TrimPrefix(s.URL, "http")
	var done sync.WaitGroup
	ask := func(name string, urgent bool) *Request {
		done.Add(1)
		r := request(ws+"/"+name, urgent, func(c *Conn, err error) {
			if err != nil {
				t.Error(err)
			} else {
				c.Close(1000, "")
			}
			done.Done()
		})
		q.Ask(r)
		return r
	}
	for i := range 10 {
		ask(fmt.Sprint("first-", i), false)
	}
	for i := range 10 {
		ask(fmt.Sprint("rest-", i), false)
	}
	withdrawn := ask("withdrawn", true)
	for i := range 10 {
		ask(fmt.Sprint("urgent-", i), true)
	}
	if !withdrawn.Withdraw() || withdrawn.Withdraw() {
		t.Error("a request is withdrawn once")
	}
	done.Done() // its Done is not called
	done.Wait()
	seen := s.seen()
	s.mu.Lock()
	took := s.times[len(s.times)-1].Sub(s.times[0])
	s.mu.Unlock()
	if len(seen) != 30 || strings.Contains(fmt.Sprint(seen), "withdrawn") {
		t.Errorf("%d dials: %v", len(seen), seen)
	}
	if took < 400*time.Millisecond {
		t.Errorf("30 dials at 50 a second, 5 at once, took %v", took)
	}
	lastUrgent, lastRest := 0, 0
	for i, path := range seen {
		switch {
		case strings.HasPrefix(path, "/urgent"):
			lastUrgent = i
		case strings.HasPrefix(path, "/rest"):
			lastRest = i
		}
	}
	if lastUrgent > lastRest {
		t.Errorf("what is urgent does not go first: %v", seen)
	}
}

// While a host does not answer, one dial at a time asks; other hosts do not wait. When it
// is back, all of them connect.
func TestHostThatIsAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	there := newServer(t)
	q := newQueue(t, 10000)
	var failed, connected atomic.Int64
	var ask func(url string)
	ask = func(url string) {
		q.Ask(request(url, false, func(c *Conn, err error) {
			if err != nil {
				failed.Add(1)
				ask(url)
				return
			}
			connected.Add(1)
			c.Close(1000, "")
		}))
	}
	for i := range 300 {
		ask(fmt.Sprintf("ws://%s/%d", address, i))
	}
	time.Sleep(1500 * time.Millisecond)
	if n := failed.Load(); n < 2 || n > maxDialing+10 {
		t.Errorf("%d dials while the host is away", n)
	}
	ask("ws" + strings.TrimPrefix(there.URL, "http") + "/x")
	until(t, func() bool { return connected.Load() == 1 })
	back := &http.Server{Handler: there.Config.Handler}
	if l, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	go back.Serve(l)
	defer back.Close()
	until(t, func() bool { return connected.Load() == 301 })
}

func until(t *testing.T, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come")
		}
	}
}

// What a central system answers instead of 101 is a refusal; that it does not answer is
// none.
func TestRefusals(t *testing.T) {
	s := newServer(t)
	d := NewDialer(Config{MaxMessage: 1 << 20, Timeout: 2 * time.Second})
	target := Target{URL: "ws" + strings.TrimPrefix(s.URL, "http") + "/CP1", Subprotocol: "ocpp1.6"}
	for _, status := range []int32{301, 401, 404, 503} {
		s.status.Store(status)
		_, err := d.Dial(t.Context(), target)
		if refusal, ok := errors.AsType[*RefusalError](err); !ok || refusal.Status != int(status) {
			t.Errorf("%d: %v", status, err)
		}
	}
	s.status.Store(0)
	target.Subprotocol = "ocpp9"
	if _, err := d.Dial(t.Context(), target); !errors.As(err, new(*RefusalError)) || !strings.Contains(err.Error(), `subprotocol "", not "ocpp9"`) {
		t.Error(err)
	}
	target.URL = "ws://127.0.0.1:1/x"
	if _, err := d.Dial(t.Context(), target); err == nil || errors.As(err, new(*RefusalError)) || strings.Contains(err.Error(), "/x") {
		t.Error(err)
	}
}

// Requests that were withdrawn leave the queue, also while a host is away.
func TestWithdrawnLeave(t *testing.T) {
	var h host
	for range 10_000 {
		r := &Request{Urgent: true}
		h.add(r)
		r.Withdraw()
	}
	kept := &Request{}
	h.add(kept)
	if n := len(h.urgent); n > 2*minSweep || len(h.rest) != 1 {
		t.Errorf("%d requests that nobody wants are queued, and %d of one", n, len(h.rest))
	}
}
