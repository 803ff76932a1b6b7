package addresses

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Limits of a Table.
type Limits struct {
	Handshakes  int            // in progress from one address; 0: no limit
	Connections int            // held from one address; 0: no limit
	Trusted     []netip.Prefix // are not counted
}

func (l *Limits) trusts(a netip.Addr) bool { return In(l.Trusted, a) }

// In reports whether a is in one of the networks.
func In(networks []netip.Prefix, a netip.Addr) bool {
	a = plain(a)
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

// A Table knows each address from which something is in progress, or was wrong lately.
type Table struct {
	limits Limits

	mu      sync.Mutex
	entries map[netip.Addr]*entry
}

type entry struct {
	handshakes int
	wrong      float64 // passwords; one is forgotten each forget
	since      time.Time
}

const (
	// forget is how long it takes until one wrong password counts no more.
	forget = 10 * time.Second
	// freeWrong are answered at once: a site may have several chargers that are set up
	// wrong behind one address.
	freeWrong = 5
	// slower is how much longer each further one waits for its answer, at most slowest.
	slower  = 200 * time.Millisecond
	slowest = 5 * time.Second
	// maxEntries bounds the memory of addresses that are only remembered, to some 10 MiB.
	maxEntries = 100_000
)

// New returns an empty table.
func New(limits Limits) *Table {
	return &Table{limits: limits, entries: map[netip.Addr]*entry{}}
}

// Trusted reports whether a is not counted.
func (t *Table) Trusted(a netip.Addr) bool { return t.limits.trusts(a) }

// Enter counts a handshake from a, unless there are as many as there may be. Leave
// undoes it.
func (t *Table) Enter(a netip.Addr) bool {
	if t.Trusted(a) {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entry(a)
	if t.limits.Handshakes > 0 && e.handshakes >= t.limits.Handshakes {
		return false
	}
	e.handshakes++
	return true
}

// Leave ends a handshake for which Enter was true.
func (t *Table) Leave(a netip.Addr) {
	if t.Trusted(a) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entries[key(a)]; e != nil {
		e.handshakes--
		if e.handshakes == 0 && e.wrong == 0 {
			delete(t.entries, key(a))
		}
	}
}

// Wrong counts a wrong password from a, and returns how long the answer to it should
// wait. A right one never waits.
func (t *Table) Wrong(a netip.Addr, now time.Time) time.Duration {
	if t.Trusted(a) {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entry(a)
	e.wrong = e.left(now) + 1
	e.since = now
	return min(slowest, time.Duration(max(0, e.wrong-freeWrong)*float64(slower)))
}

// left is what of the wrong passwords still counts.
func (e *entry) left(now time.Time) float64 {
	return max(0, e.wrong-now.Sub(e.since).Seconds()/forget.Seconds())
}

// entry returns that of an address, made if there is none. Those that nothing is known
// of any more make room.
func (t *Table) entry(a netip.Addr) *entry {
	k := key(a)
	e := t.entries[k]
	if e == nil {
		if len(t.entries) >= maxEntries {
			t.shrink()
		}
		e = new(entry)
		t.entries[k] = e
	}
	return e
}

// shrink drops all that is only remembered: it costs a stranger with many addresses
// what it costs us, and nothing is lost but a delay.
func (t *Table) shrink() {
	for k, e := range t.entries {
		if e.handshakes == 0 {
			delete(t.entries, k)
		}
	}
}

// plain is an address without how it was written or which link it came over.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// key is what an address counts as.
func key(a netip.Addr) netip.Addr {
	if a = plain(a); a.Is4() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}
