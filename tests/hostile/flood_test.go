package hostile

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/tests/harness"
	"holdfast/tests/raw"
)

// A charger that floods, with pings or with the smallest of fragments, is served.
func TestFloods(t *testing.T) {
	w, _ := start(t)
	var pings, fragments, empties strings.Builder
	fragments.WriteString(raw.Masked(raw.OpText, "0"))
	empties.WriteString(raw.Masked(raw.OpText, ""))
	const n = 50_000
	for range n {
		pings.WriteString(raw.Masked(raw.Fin|raw.OpPing, ""))
		fragments.WriteString(raw.Masked(raw.OpContinuation, "x"))
		empties.WriteString(raw.Masked(raw.OpContinuation, ""))
	}
	fragments.WriteString(raw.Masked(raw.Fin|raw.OpContinuation, ""))
	empties.WriteString(raw.Masked(raw.Fin|raw.OpContinuation, "end"))
	pings.WriteString(raw.Text("asked"))
	for _, tt := range []struct{ name, stream, want string }{
		{"pings", pings.String(), answered("asked")},
		{"fragments", fragments.String(), answered("0%s", strings.Repeat("x", n))},
		{"empties", empties.String(), answered("end")},
	} {
		c := open(t, w, tt.name)
		go func() { _, _ = io.WriteString(c, tt.stream) }()
		pongs := 0
		for {
			op, payload, err := c.frame()
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			if op == raw.OpText {
				if payload != tt.want {
					t.Errorf("%s: got %.50q", tt.name, payload)
				}
				break
			}
			pongs++
		}
		if tt.name == "pings" && pongs < n {
			t.Errorf("%d pongs for %d pings", pongs, n)
		}
	}
}

// A charger whose frames dribble in disturbs nobody, and is served in the end.
func TestSlowFrames(t *testing.T) {
	w, _ := start(t)
	var all sync.WaitGroup
	for i := range 50 {
		c := open(t, w, fmt.Sprint("slow-", i))
		all.Go(func() {
			for _, b := range []byte(raw.Masked(raw.OpText, "d") + raw.Masked(raw.Fin|raw.OpPing, "p") + raw.Masked(raw.Fin|raw.OpContinuation, "ribble")) {
				if _, err := c.Write([]byte{b}); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(10 * time.Millisecond) // it is slow
			}
			if got, err := c.message(); err != nil || got != answered("dribble") {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	all.Wait()
}

// A charger that asks and asks and never reads is pushed back, then closed
// after -write-timeout.
func TestChargerThatNeverReads(t *testing.T) {
	const timeout = time.Second
	w, _ := start(t, "-write-timeout", timeout.String())
	c := open(t, w, "deaf")
	question := []byte(raw.Text(strings.Repeat("x", 60_000)))
	pushed := 0
	began := time.Now()
	var err error
	for ; err == nil; pushed += len(question) {
		if time.Since(began) > harness.Deadline || pushed > 256<<20 {
			t.Fatalf("%d MiB are taken from a charger that reads nothing", pushed>>20)
		}
		_ = c.SetWriteDeadline(time.Now().Add(harness.Deadline))
		_, err = c.Write(question)
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		t.Fatal("it is never closed")
	}
	if l := logged(t, w, "closed", "deaf", "did not read for 1s"); l.String("by") != "gateway" {
		t.Errorf("logged %s", l.Text)
	}
	if pss, err := harness.PSS(w.Pid()); err != nil || pss > 300<<20 {
		t.Errorf("%d bytes in use, %v", pss, err)
	}
}

// Half-sent messages are bounded by -buffer-bytes over all chargers: who hoards
// is closed with 1013, or waits its turn.
func TestHoarders(t *testing.T) {
	w, _ := start(t, "-buffer-bytes", "4MiB", "-write-timeout", "1s")
	almost := raw.Masked(raw.Fin|raw.OpBinary, strings.Repeat("x", maxMessage-3))
	var all sync.WaitGroup
	var mu sync.Mutex
	closed, served := 0, 0
	for i := range 16 {
		c := open(t, w, fmt.Sprint("hoarder-", i))
		all.Go(func() {
			_, _ = io.WriteString(c, almost[:900_000])
			harness.Until(t, "a hoarder to be closed", func() bool { return w.Log.Contains("no memory for partial messages") })
			_, _ = io.WriteString(c, almost[900_000:])
			got, err := c.message()
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && len(got) == maxMessage:
				served++
			case err != nil: // 1013, or the reset that what was unread brings
				closed++
			default:
				t.Errorf("got %.50q", got)
			}
		})
	}
	all.Wait()
	if served == 0 || closed == 0 {
		t.Errorf("%d served, %d closed", served, closed)
	}
	l, err := w.WaitLog(t.Context(), "1013", func(l harness.Line) bool { return l.Msg() == "closed" && l.Fields["code"] == 1013.0 })
	if err != nil || !strings.HasPrefix(l.String("charger"), "hoarder-") {
		t.Errorf("%v, %s", err, l.Text)
	}
}

// A charger that puts a fault behind a full queue, and then replaces itself,
// ends only itself. (It once ended the gateway.)
func TestFaultBehindAFullQueue(t *testing.T) {
	w := harness.New(t) // no processor: queues fill
	bad := raw.Masked(raw.Fin|raw.Rsv1|raw.OpText, "\xff\xff\xff\xff")
	c := open(t, w, "trap", deflate)
	c.send(strings.Repeat(raw.Text("x"), 300), bad, strings.Repeat(raw.Text("y"), 10))
	open(t, w, "trap", deflate)
	logged(t, w, "closed", "trap", "")
	p := join(t, w, "good")
	go p.answer()
	harness.Until(t, "what came before the fault", func() bool { return len(p.got("trap")) == 300 })
	c = open(t, w, "next")
	c.send(raw.Text("still there"))
	c.expect(answered("still there"))
}
