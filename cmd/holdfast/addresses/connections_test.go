package addresses

import (
	"net/netip"
	"sync"
	"testing"
)

func TestConnections(t *testing.T) {
	at := netip.MustParseAddr
	c := NewConnections(Limits{Connections: 2, Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for _, tt := range []struct {
		from string
		room bool
	}{
		{"192.0.2.1", true},
		{"::ffff:192.0.2.1", true},
		{"192.0.2.1", false},
		{"192.0.2.2", true},
		{"2001:db8::1", true},
		{"2001:db8::ffff:0:0:1", true},
		{"fe80::1%eth0", true},
		{"2001:db8::2", false},
		{"2001:db8:0:1::2", true},
		{"10.0.0.1", true},
		{"10.0.0.1", true},
		{"10.0.0.1", true},
	} {
		if got := c.EnterIfRoom(at(tt.from)); got != tt.room {
			t.Errorf("%s: room %v", tt.from, got)
		}
	}
	c.Enter(at("192.0.2.1")) // takes its own place
	c.Leave(at("192.0.2.1"))
	if c.EnterIfRoom(at("192.0.2.1")) {
		t.Error("a third, though only the one too many has left")
	}
	c.Leave(at("192.0.2.1"))
	if !c.EnterIfRoom(at("192.0.2.1")) {
		t.Error("there is room again")
	}
	for range 3 { // once too often: a fault elsewhere, that must not grow
		c.Leave(at("192.0.2.2"))
	}
	if !c.EnterIfRoom(at("192.0.2.2")) || len(c.n) == 0 {
		t.Errorf("left too often: %v", c.n)
	}
	none := NewConnections(Limits{})
	none.Enter(at("192.0.2.1"))
	none.Leave(at("192.0.2.1"))
	if !none.EnterIfRoom(at("192.0.2.1")) || len(none.n) > 0 {
		t.Errorf("without a limit it counts: %v", none.n)
	}
}

func TestConnectionsFromManyGoroutines(t *testing.T) {
	c := NewConnections(Limits{Connections: 50})
	a := netip.MustParseAddr("192.0.2.1")
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			for range 1000 {
				if c.EnterIfRoom(a) {
					c.Leave(a)
				}
			}
		})
	}
	all.Wait()
	if len(c.n) > 0 {
		t.Errorf("%v is left", c.n)
	}
}
