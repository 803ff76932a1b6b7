package bridge

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/tests/central"
)

// A mirror sees what the charger sends, and is nobody to it: its answers go nowhere, but
// for actions that it decides; it calls what it may; and its end is not noticed.
func TestMirror(t *testing.T) {
	w := newWorld(t, central.Config{})
	slow := atomic.Bool{}
	answers := make(chan string, 10)
	var mirror *central.Central
	mirror, err := central.New("", central.Config{
		Answer: func(_ *central.Conn, id, action string, _ []byte) [][]byte {
			if slow.Load() {
				return nil
			}
			return [][]byte{[]byte(`[3,"` + id + `",{"from":"the mirror"}]`)}
		},
		Answered: func(_ *central.Conn, m []byte) { answers <- string(m) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mirror.Kill)
	w.bridge("-mirror", routeTo("CP*", mirror)+",calls=Reset,answers=Authorize")
	c, other := w.charger("CP1"), w.charger("X1")
	w.connection("CP1")
	w.until("the mirror's connection", func() bool { return mirror.Conn("CP1") != nil })
	if got := c.call("a", "Heartbeat"); !strings.Contains(got, "currentTime") {
		t.Error(got)
	}
	if got := c.call("b", "Authorize"); got != `[3,"b",{"from":"the mirror"}]` {
		t.Error(got)
	}
	other.call("c", "Heartbeat")
	w.until("the copies", func() bool { return mirror.Seen("a") == 1 && mirror.Seen("b") == 1 })
	if mirror.Seen("c") != 0 || w.cs.Seen("a") != 1 || w.cs.Seen("b") != 1 || mirror.Conn("X1") != nil {
		t.Error("who has seen what is wrong")
	}

	// The ids of the two systems collide, and each gets its own answer.
	for _, call := range []func() error{
		func() error { return mirror.Conn("CP1").Call("1", "Reset", struct{}{}) },
		func() error { return mirror.Conn("CP1").Call("2", "UnlockConnector", struct{}{}) },
		func() error { return w.cs.Conn("CP1").Call("1", "Reset", struct{}{}) },
	} {
		if err := call(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		got := c.receive()
		_, id := idOf(t, got)
		c.send(`[3,%q,{}]`, id)
	}
	got := receive(t, answers) + receive(t, answers)
	if !strings.Contains(got, `[3,"1",{}]`) || !strings.Contains(got, `[4,"2","SecurityError"`) {
		t.Error(got)
	}
	w.until("the main system's answer", func() bool { return w.cs.Answers.Load() == 1 })

	// One that does not decide in time, and one that is away.
	slow.Store(true)
	began := time.Now()
	if got := c.call("d", "Authorize"); !strings.Contains(got, "idTagInfo") || time.Since(began) < 4*time.Second {
		t.Errorf("%s after %v", got, time.Since(began))
	}
	mirror.Kill()
	for range 200 {
		began = time.Now()
		if got := c.call("e", "Authorize"); !strings.Contains(got, "idTagInfo") {
			t.Error(got)
		}
	}
	if time.Since(began) > 3*time.Second {
		t.Errorf("without the mirror it takes %v", time.Since(began))
	}
}

// A mirror never sees the credentials that are meant for the central system.
func TestMirrorSeesNoPassword(t *testing.T) {
	w := newWorld(t, central.Config{Admit: admitting("secret")}, "-auth", "processor")
	mirror, err := central.New("", central.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mirror.Kill)
	w.bridge("-auth", "processor", "-mirror", routeTo("*", mirror))
	if _, err := w.dial("CP1", "secret"); err != nil {
		t.Fatal(err)
	}
	w.until("the mirror's connection", func() bool { return mirror.Conn("CP1") != nil })
	if got := mirror.Conn("CP1").Authorization; got != "" {
		t.Errorf("the mirror has seen %q", got)
	}
}
