package conn

import "unsafe"

// table holds the connections of a loop in slabs: compact, at addresses that
// stay, reached by a slot number that is small enough to travel through epoll.
// The generation of a slot tells its connections apart.
type table struct {
	slabs [][]Conn
	free  []int32 // slots in use before
	used  int32   // slots handed out ever
	count int
}

// slabSize fills the largest size class of the allocator.
const slabSize = 32 << 10 / int32(unsafe.Sizeof(Conn{}))

// add hands out a zero Conn with its slot and generation set.
func (t *table) add() *Conn {
	t.count++
	if n := len(t.free); n > 0 {
		c := t.at(t.free[n-1])
		t.free = t.free[:n-1]
		return c
	}
	if t.used%slabSize == 0 {
		t.slabs = append(t.slabs, make([]Conn, slabSize))
	}
	c := t.at(t.used)
	c.slot = t.used
	t.used++
	return c
}

func (t *table) at(slot int32) *Conn { return &t.slabs[slot/slabSize][slot%slabSize] }

// lookup finds a live connection; nil when the generation has passed.
func (t *table) lookup(slot int32, generation uint32) *Conn {
	if slot < 0 || slot >= t.used {
		return nil
	}
	if c := t.at(slot); c.generation == generation && c.loop != nil {
		return c
	}
	return nil
}

// remove gives c's slot back.
func (t *table) remove(c *Conn) {
	*c = Conn{slot: c.slot, generation: c.generation + 1}
	t.free = append(t.free, c.slot)
	t.count--
}
