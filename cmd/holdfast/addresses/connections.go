package addresses

import (
	"encoding/binary"
	"net/netip"
	"sync"
)

// Connections counts the connections that are held from each address. It counts nothing,
// and costs nothing, without a limit.
type Connections struct {
	limits Limits

	mu sync.Mutex
	n  map[uint64]uint32 // by packed
}

// NewConnections returns an empty count.
func NewConnections(limits Limits) *Connections {
	return &Connections{limits: limits, n: map[uint64]uint32{}}
}

// Enter counts a connection from a. Leave undoes it.
func (c *Connections) Enter(a netip.Addr) { c.enter(a, false) }

// EnterIfRoom is Enter, unless there are as many as there may be.
func (c *Connections) EnterIfRoom(a netip.Addr) bool { return c.enter(a, true) }

func (c *Connections) enter(a netip.Addr, limited bool) bool {
	if !c.counts(a) {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := packed(a)
	if limited && int(c.n[k]) >= c.limits.Connections {
		return false
	}
	c.n[k]++
	return true
}

// Leave ends a connection that was counted.
func (c *Connections) Leave(a netip.Addr) {
	if !c.counts(a) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := packed(a); c.n[k] > 1 {
		c.n[k]--
	} else {
		delete(c.n, k)
	}
}

func (c *Connections) counts(a netip.Addr) bool {
	return c.limits.Connections > 0 && !c.limits.trusts(a)
}

// packed is key in 8 bytes: the first half of an IPv6 address, or an IPv4 address, which
// no IPv6 network begins with.
func packed(a netip.Addr) uint64 {
	if a = plain(a); a.Is4() {
		b := a.As4()
		return uint64(binary.BigEndian.Uint32(b[:]))
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:])
}
