package credentials

import (
	"bytes"
	"testing"
	"time"
)

// Keys rotate by the age of the newest, are kept for a week, and survive being
// handed over.
func TestTickets(t *testing.T) {
	k := new(Tickets)
	var current [][32]byte
	k.changed = func(keys [][32]byte) { current = keys }
	at := time.Unix(1_800_000_000, 0)
	for day := range 10 {
		k.rotate(at)
		k.rotate(at.Add(ticketRotation - time.Second))
		if want := min(day+1, ticketKeys); len(current) != want {
			t.Fatalf("day %d: %d keys, want %d", day, len(current), want)
		}
		at = at.Add(ticketRotation)
	}
	b := k.Append(nil)
	keys, err := ParseTickets(b)
	if err != nil {
		t.Fatal(err)
	}
	next := &Tickets{keys: keys}
	if !bytes.Equal(next.Append(nil), b) || next.all()[0] != current[0] {
		t.Error("the keys changed on their way")
	}
	for n := range len(b) {
		if _, err := ParseTickets(b[:n]); err == nil && n%40 != 0 {
			t.Errorf("%d bytes of %d were taken", n, len(b))
		}
	}
	if _, err := ParseTickets(append(b, b...)); err == nil {
		t.Error("too many keys were taken")
	}
}
