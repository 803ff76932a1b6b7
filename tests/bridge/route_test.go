package bridge

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/tests/central"
)

// SIGHUP moves the chargers whose route has changed, and no others; dry-run says who.
// A file with a fault changes nothing.
func TestRoutesChange(t *testing.T) {
	w := newWorld(t, central.Config{})
	second, err := central.New("", central.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Kill)
	admin := filepath.Join(w.dir, "admin")
	config := w.config("admin "+admin, "route = "+w.route())
	b := w.bridge("-config", config)
	a1, a2, b1 := w.charger("A1"), w.charger("A2"), w.charger("B1")
	for _, c := range []*charger{a1, a2, b1} {
		c.call("before", "Heartbeat")
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(binary, args...).CombinedOutput()
		if err != nil && !strings.Contains(strings.Join(args, " "), "wrong") {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	status := run("status", "-admin", admin)
	if !strings.Contains(status, "connected to their central system  3") {
		t.Error(status)
	}

	w.config("admin "+admin, "route "+routeTo("A*", second), "route "+w.route())
	dry := run("-dry-run", "-config", config)
	if !strings.HasPrefix(dry, "2 chargers would move\n") || !strings.Contains(dry, "A1  ws://"+w.cs.Address()+"/cs/A1 -> ws://"+second.Address()+"/cs/A1") || strings.Contains(dry, "B1") {
		t.Error(dry)
	}
	if second.Connections.Load() != 0 {
		t.Error("dry-run has moved somebody")
	}
	connection := w.cs.Conn("B1")
	if err := b.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	w.until("the move", func() bool {
		return second.Conn("A1") != nil && second.Conn("A2") != nil && w.cs.Conn("A1") == nil && w.cs.Conn("A2") == nil
	})
	for _, c := range []*charger{a1, a2, b1} {
		c.call("after", "Heartbeat")
	}
	if second.Distinct() != 1 || second.Received.Load() != 2 || w.cs.Conn("B1") != connection {
		t.Errorf("the second system has seen %d CALLs; B1 has another connection: %v", second.Received.Load(), w.cs.Conn("B1") != connection)
	}

	w.config("admin "+admin, "route "+w.route(), "route X")
	if out := run("-dry-run", "-config", config, "-name", "wrong"); !strings.Contains(out, "bridge.conf:3: route: \"X\"") {
		t.Error(out)
	}
	if err := b.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	w.Logged(b, "the old ones hold")
	a1.call("last", "Heartbeat")

	// A charger that loses its route waits, and goes on when it has one.
	w.config("admin "+admin, "route "+routeTo("A*", second))
	if err := b.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	w.Logged(b, "no route for a charger")
	b1.send(`[2,"waits","Heartbeat",{}]`)
	b1.silent(200 * time.Millisecond)
	if s := run("status", "-admin", admin); !strings.Contains(s, "no route") {
		t.Error(s)
	}
	w.config("admin "+admin, "route "+routeTo("*", second))
	if err := b.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if got := b1.receive(); !strings.HasPrefix(got, `[3,"waits"`) {
		t.Error(got)
	}
}
