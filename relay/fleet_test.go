package relay

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"holdfast/unixipc"
)

var fleetConfig = Config{
	Version: "test", Loops: 1, MaxMessage: 64 << 10, QueueMessages: 256, QueueBytes: 1 << 20, BufferBytes: 256 << 20, LinkBacklog: 64 << 20,
	Window: 256, MaxWindow: 1 << 20, ChargerWindow: 16, AckTimeout: time.Minute, MaxAttempts: 3,
	CallTimeout: 30 * time.Second, MaxCallTimeout: time.Minute, CallQueue: 4,
}

// fleet returns a relay with n connected chargers that are served by one processor,
// and nothing in flight.
func fleet(tb testing.TB, n int) (*Relay, *Link) {
	r := New(fleetConfig, nobody{})
	r.SetNow(codecNow)
	l := r.Join(unixipc.HelloBody{Name: "one", Window: 1 << 20}, false)
	for i := range n {
		r.Opened(fmt.Sprintf("CP%06d", i), "ocpp1.6", uint64(i+1), nil)
		if i%1000 == 999 || i == n-1 {
			settle(tb, r, l)
		}
	}
	if l.Chargers() != n || l.InFlight() != 0 {
		tb.Fatalf("%d chargers, %d in flight", l.Chargers(), l.InFlight())
	}
	return r, l
}

// turn is what a loop does in a turn.
func turn(r *Relay) {
	r.EndTurn()
	if at := r.Deadline(); !at.IsZero() && !at.After(r.now) {
		r.Tick()
	}
}

// settle turns r and has l acknowledge all that it gets, until nothing is left to do.
func settle(tb testing.TB, r *Relay, l *Link) {
	for {
		turn(r)
		b := l.Unwritten()
		if len(b) == 0 && r.sweep.left == 0 {
			return
		}
		acks := make([]byte, 0, len(b))
		for rest := b; len(rest) > 0; {
			f, n, err := unixipc.Parse(rest, 1<<20)
			if n == 0 || err != nil {
				tb.Fatalf("no frame: %v", err)
			}
			rest = rest[n:]
			switch f.Type {
			case unixipc.Opened, unixipc.Message, unixipc.Closed:
				acks = unixipc.Frame{Type: unixipc.Ack, Ref: f.Ref, Key: f.Key}.Append(acks)
			}
		}
		r.Wrote(l, len(b))
		r.Receive(l, acks)
	}
}

// A charger that comes and goes while nobody serves it takes bounded memory, and
// whoever serves it at last learns how often it came.
func TestReconnectsAreFolded(t *testing.T) {
	r := New(fleetConfig, nobody{})
	r.SetNow(codecNow)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const times = 100_000
	var c *Charger
	for i := range times {
		if c != nil {
			r.Closed(c, unixipc.ClosedBody{Code: 1006, Reason: "the connection broke", By: "network"})
		}
		c = r.Opened("CP", "ocpp1.6", uint64(i+1), nil)
		turn(r)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := len(c.q.entries); n != 1 || r.Queued() > 2*entryCost+1000 {
		t.Errorf("%d entries and %d bytes are queued after %d connections", n, r.Queued(), times)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	l := r.Join(unixipc.HelloBody{Name: "late"}, false)
	turn(r)
	var opened []string
	for rest := l.Unwritten(); len(rest) > 0; {
		f, n, err := unixipc.Parse(rest, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if rest = rest[n:]; f.Type == unixipc.Opened {
			opened = append(opened, string(f.Payload))
		}
	}
	if want := fmt.Sprintf(`"reconnects":%d`, times-1); len(opened) != 1 || !strings.Contains(opened[0], want) {
		t.Errorf("the processor got %q, want one OPENED with %s", opened, want)
	}
}

// A charger that sends a message with each connection that breaks is bounded, too:
// beyond twice the bound its messages are not taken, and it is counted.
func TestFlappingIsBounded(t *testing.T) {
	cfg := fleetConfig
	cfg.QueueMessages = 16
	g := &countNotTaken{}
	r := New(cfg, g)
	r.SetNow(codecNow)
	const times, size = 300, 1700
	for i := range times {
		c := r.Opened("CP", "ocpp1.6", uint64(i+1), nil)
		r.Message(c, make([]byte, size), unixipc.Binary, true)
		r.Closed(c, unixipc.ClosedBody{Code: 1006, By: "network"})
		turn(r)
	}
	c := r.Charger("CP")
	if n := len(c.q.entries); n > 2*cfg.QueueMessages+3 {
		t.Errorf("%d entries are queued at a bound of %d", n, cfg.QueueMessages)
	}
	messages := 0
	for i := range c.q.entries {
		if c.q.entries[i].kind == unixipc.Message {
			messages++
		}
	}
	if messages+g.messages != times {
		t.Errorf("%d messages are queued and %d were reported as not taken, of %d", messages, g.messages, times)
	}
}

type countNotTaken struct {
	nobody
	messages int
}

func (g *countNotTaken) NotTaken(_ string, messages int) { g.messages += messages }

// A long queue is acknowledged in time that grows with its length, not with its
// square: 100,000 entries took 27 s once.
func TestTrimOfALongQueueIsLinear(t *testing.T) {
	moved := 0
	q := new(queue)
	const n = 100_000
	for range n {
		q.push(entry{kind: unixipc.Message}, []byte("x"))
	}
	for len(q.entries) > 0 {
		first := &q.entries[0]
		q.entries[0].acked = true
		q.trim()
		if len(q.entries) > 0 && first == &q.entries[0] { // all of them have moved
			moved += len(q.entries)
		}
	}
	if moved > 10*n {
		t.Errorf("%d entries were moved to remove %d", moved, n)
	}
}

// What each event costs must not depend on how many chargers there are.
func BenchmarkFleet(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		size := fmt.Sprint(n)
		b.Run("turn/"+size, func(b *testing.B) {
			r, l := fleet(b, n)
			delayAll(b, r, l, n)
			b.ResetTimer()
			for b.Loop() {
				turn(r)
			}
		})
		b.Run("nack/"+size, func(b *testing.B) {
			r, l := fleet(b, n)
			delayAll(b, r, l, n-1)
			c := r.Charger(fmt.Sprintf("CP%06d", n-1))
			b.ResetTimer()
			for b.Loop() {
				r.Message(c, []byte("x"), unixipc.Binary, false)
				nackAll(b, r, l, 1)
				r.SetNow(r.now.Add(2 * time.Millisecond))
				settle(b, r, l)
			}
		})
		b.Run("client/"+size, func(b *testing.B) { // joins, asks, and leaves
			r, _ := fleet(b, n)
			b.ResetTimer()
			for b.Loop() {
				asker := r.Join(unixipc.HelloBody{Name: "call", AskOnly: true}, true)
				r.Receive(asker, unixipc.Frame{Type: unixipc.Call, Ref: 1, Key: []byte("CP000000"), Payload: unixipc.AppendCall(nil, 0, []byte(`[2,"1","Reset",{}]`))}.Append(nil))
				turn(r)
				r.Wrote(asker, len(asker.Unwritten()))
				r.Lost(asker)
				turn(r)
			}
		})
		b.Run("join-leave/"+size, func(b *testing.B) {
			r, l := fleet(b, n)
			b.ResetTimer()
			moved := 0
			for b.Loop() {
				two := r.Join(unixipc.HelloBody{Name: "two", Window: 1 << 20}, false)
				settle(b, r, two)
				moved += two.Chargers()
				r.Lost(two)
				settle(b, r, l)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*moved), "ns/charger")
		})
		b.Run("watch/"+size, func(b *testing.B) { // until the first slice of the list is there
			r, _ := fleet(b, n)
			b.ResetTimer()
			for b.Loop() {
				asker := r.Join(unixipc.HelloBody{Name: "watch", AskOnly: true}, true)
				r.Receive(asker, unixipc.Frame{Type: unixipc.Watch, Ref: 1, Payload: []byte(`{"glob":"*"}`)}.Append(nil))
				turn(r)
				r.Wrote(asker, len(asker.Unwritten()))
				r.Lost(asker)
			}
		})
		b.Run("list-slice/"+size, func(b *testing.B) {
			r, _ := fleet(b, n)
			b.ResetTimer()
			for b.Loop() {
				r.Survey(0, func(*Charger, Waiting) {})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*min(n, surveySlice)), "ns/charger")
		})
	}
}

// nackAll gives back what l has, with a delay of ms.
func nackAll(tb testing.TB, r *Relay, l *Link, ms int64) {
	turn(r)
	b := l.Unwritten()
	var nacks []byte
	for rest := b; len(rest) > 0; {
		f, n, err := unixipc.Parse(rest, 1<<20)
		if n == 0 || err != nil {
			tb.Fatalf("no frame: %v", err)
		}
		rest = rest[n:]
		nacks = unixipc.Frame{Type: unixipc.Nack, Ref: f.Ref, Key: f.Key, Payload: fmt.Appendf(nil, `{"retry_after_ms":%d}`, ms)}.Append(nacks)
	}
	r.Wrote(l, len(b))
	r.Receive(l, nacks)
}

// delayAll has a message of each of the first n chargers held for an hour.
func delayAll(tb testing.TB, r *Relay, l *Link, n int) {
	for i := range n {
		r.Message(r.Charger(fmt.Sprintf("CP%06d", i)), []byte("x"), unixipc.Binary, false)
		if i%1000 == 999 || i == n-1 {
			nackAll(tb, r, l, 3_600_000)
		}
	}
	if len(r.delayed) != n {
		tb.Fatalf("%d are delayed, want %d", len(r.delayed), n)
	}
}
