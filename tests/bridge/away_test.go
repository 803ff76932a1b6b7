package bridge

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/tests/central"
)

// A charger that comes back soon finds its connection to the central system, and the CALL
// that was waiting for it.
func TestLinger(t *testing.T) {
	answers := make(chan string, 10)
	w := newWorld(t, central.Config{Answered: func(_ *central.Conn, m []byte) { answers <- string(m) }})
	w.bridge("-linger", "5s")
	c := w.charger("CP1")
	c.call("a", "Heartbeat")
	connection := w.cs.Conn("CP1")
	c.conn.Close()
	time.Sleep(200 * time.Millisecond)
	if err := connection.Call("w", "Reset", struct{}{}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	c = w.charger("CP1")
	if got := c.receive(); got != `[2,"w","Reset",{}]` {
		t.Error(got)
	}
	c.send(`[3,"w",{}]`)
	if got := receive(t, answers); got != `[3,"w",{}]` {
		t.Error(got)
	}
	c.call("b", "Heartbeat")
	if w.cs.Conn("CP1") != connection || w.cs.Connections.Load() != 1 {
		t.Error("the central system has seen the outage")
	}
	c.conn.Close()
	if err := connection.Call("x", "Reset", struct{}{}); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, answers); !strings.HasPrefix(got, `[4,"x","GenericError"`) {
		t.Error(got)
	}
	w.until("the end of the connection", func() bool { return w.cs.Conn("CP1") == nil })
}

// A central system that wants a BootNotification on each connection gets the last one
// again; its answer is not the charger's. Without one, the charger is asked.
func TestBootOnRedial(t *testing.T) {
	var w *world
	boots := atomic.Int64{}
	booted := atomic.Bool{} // on this connection
	faults := make(chan string, 10)
	w = newWorld(t, central.Config{Answer: func(c *central.Conn, id, action string, m []byte) [][]byte {
		switch {
		case action == "BootNotification":
			boots.Add(1)
			booted.Store(true)
			if !strings.HasSuffix(string(m), `,"BootNotification",{"model":"x"}]`) {
				faults <- string(m)
			}
		case !booted.Load():
			faults <- action + " before BootNotification"
		}
		return [][]byte{w.cs.Usual(id, action)}
	}})
	args := []string{"-boot-on-redial", "replay"}
	b := w.bridge(args...)
	c := w.charger("CP1")
	c.send(`[2,"boot","BootNotification",{"model":"x"}]`)
	c.receive()
	for i, cut := range []func(){func() { w.cs.Conn("CP1").Cut() }, func() { w.cs.Kill(); _ = w.cs.Start() }} {
		booted.Store(false)
		cut()
		if got := c.call("h"+string(rune('0'+i)), "Heartbeat"); !strings.HasPrefix(got, `[3,"h`) {
			t.Error(got)
		}
	}
	// A new bridge knows of none.
	booted.Store(true)
	w.Terminate(b)
	w.bridge(args...)
	got := c.receive()
	if _, id := idOf(t, got); !strings.HasSuffix(got, `,"TriggerMessage",{"requestedMessage":"BootNotification"}]`) {
		t.Error(got)
	} else {
		c.send(`[3,%q,{"status":"Accepted"}]`, id)
	}
	c.send(`[2,"boot2","BootNotification",{"model":"x"}]`)
	c.receive()
	if n := boots.Load(); n != 4 {
		t.Errorf("%d BootNotifications came", n)
	}
	close(faults)
	for fault := range faults {
		t.Error(fault)
	}
}

// Answers in place of a central system that is away, for what they cannot hurt.
func TestOfflineReply(t *testing.T) {
	w := newWorld(t, central.Config{})
	w.bridge("-offline-reply", "Heartbeat,StatusNotification")
	c := w.charger("CP1")
	w.connection("CP1")
	w.cs.Kill()
	w.until("the loss", func() bool {
		return strings.Contains(c.call("h", "Heartbeat"), "currentTime") && w.cs.Seen("h") == 0
	})
	if got := c.call("s", "StatusNotification"); got != `[3,"s",{}]` {
		t.Error(got)
	}
	c.send(`[2,"m","MeterValues",{}]`)
	c.silent(300 * time.Millisecond)
	if err := w.cs.Start(); err != nil {
		t.Fatal(err)
	}
	if got := c.receive(); got != `[3,"m",{}]` || w.cs.Seen("m") != 1 || w.cs.Seen("s") != 0 {
		t.Errorf("%s; seen %d and %d times", got, w.cs.Seen("m"), w.cs.Seen("s"))
	}
}
