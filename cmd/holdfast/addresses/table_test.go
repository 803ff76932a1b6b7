package addresses

import (
	"net/netip"
	"testing"
	"time"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// One address reaches its limit, and no other does for it.
func TestHandshakes(t *testing.T) {
	table := New(Limits{Handshakes: 2, Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10")}})
	for _, tt := range []struct {
		enter string
		want  bool
	}{
		{"192.0.2.1", true},
		{"192.0.2.1", true},
		{"192.0.2.1", false},
		{"::ffff:192.0.2.1", false}, // the same one
		{"192.0.2.2", true},
		{"2001:db8::1", true},
		{"2001:db8::ffff", true},
		{"2001:db8::2", false}, // the same /64
		{"2001:db8:0:1::2", true},
		{"10.1.2.3", true},
		{"10.1.2.3", true},
		{"10.1.2.3", true},
		{"::ffff:10.1.2.3", true},
		{"fe80::1%eth0", true},
		{"fe80::1%eth0", true},
		{"fe80::1%eth0", true},
	} {
		if got := table.Enter(addr(tt.enter)); got != tt.want {
			t.Errorf("%s: %v", tt.enter, got)
		}
	}
	table.Leave(addr("192.0.2.1"))
	if !table.Enter(addr("192.0.2.1")) {
		t.Error("what has left still counts")
	}
	for _, a := range []string{"192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::7", "2001:db8::8", "2001:db8:0:1::2", "10.1.2.3"} {
		table.Leave(addr(a))
	}
	if len(table.entries) != 0 {
		t.Errorf("%d addresses are remembered for nothing", len(table.entries))
	}
}

// The first wrong passwords are answered at once, then slower and slower, and it is
// forgotten in time.
func TestWrongPasswords(t *testing.T) {
	table, now := New(Limits{}), time.Unix(1_800_000_000, 0)
	a, b := addr("192.0.2.1"), addr("192.0.2.2")
	var before time.Duration
	for n := range 100 {
		wait := table.Wrong(a, now)
		if n < freeWrong && wait != 0 || n >= freeWrong && wait <= before && wait != slowest {
			t.Fatalf("wrong password %d waits for %v, the one before for %v", n+1, wait, before)
		}
		before = wait
	}
	if before != slowest {
		t.Errorf("the last one waits for %v", before)
	}
	if wait := table.Wrong(b, now); wait != 0 {
		t.Errorf("another address waits for %v", wait)
	}
	if wait := table.Wrong(a, now.Add(100*forget)); wait != 0 {
		t.Errorf("%v after it was forgotten", wait)
	}
}

// A stranger with many addresses does not fill the memory.
func TestBounded(t *testing.T) {
	table, now := New(Limits{}), time.Unix(1_800_000_000, 0)
	busy := addr("192.0.2.1")
	table.Enter(busy)
	a := addr("10.0.0.0")
	for range maxEntries + 10 {
		table.Wrong(a, now)
		a = a.Next()
	}
	if n := len(table.entries); n > maxEntries {
		t.Errorf("%d addresses are remembered", n)
	}
	if table.entries[busy] == nil {
		t.Error("one with a handshake in progress was forgotten")
	}
}
