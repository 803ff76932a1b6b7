package conn

import (
	"math/bits"
	"time"
)

// A wheel keeps at most one timer for each connection, by slot number: a ring
// of lists, one for each tick, their links in the connections themselves. A
// timer beyond the horizon fires at the horizon, and whoever it belongs to
// sets it anew: no timer is ever moved when its connection shows life.
type wheel struct {
	table *table
	now   tick
	lists [wheelSize]int32 // first slot of each list, none when empty
	used  [wheelSize / 64]uint64
}

// tick is time in units of 128 ms, 1 when the loop began: coarse on purpose, so
// that pings of many chargers leave in one turn. 0 means never.
type tick uint32

const (
	tickShift = 7 // 128 ms
	wheelSize = 1024
	horizon   = tick(wheelSize - 1) // 131 s

	none = int32(-1)
)

// timer is a connection's place in the wheel.
type timer struct {
	at         tick  // 0: not armed
	prev, next int32 // slots in the same list
}

// tick of this turn.
func (l *Loop) tick() tick { return 1 + tick(l.now.Sub(l.began).Milliseconds()>>tickShift) }

// timeOf is when a tick begins.
func (l *Loop) timeOf(t tick) time.Time {
	return l.began.Add(time.Duration(t-1) << tickShift * time.Millisecond)
}

// ticks is d in ticks, rounded up.
func ticks(d time.Duration) tick { return tick((d.Milliseconds() + 1<<tickShift - 1) >> tickShift) }

func newWheel(t *table) *wheel {
	w := &wheel{table: t}
	for i := range w.lists {
		w.lists[i] = none
	}
	return w
}

// arm sets c's timer to fire at the tick at, or at the horizon if that is sooner.
func (w *wheel) arm(c *Conn, at tick) {
	w.disarm(c)
	at = min(max(at, w.now+1), w.now+horizon)
	i := at % wheelSize
	c.timer = timer{at: at, prev: none, next: w.lists[i]}
	if c.timer.next != none {
		w.table.at(c.timer.next).timer.prev = c.slot
	}
	w.lists[i] = c.slot
	w.used[i/64] |= 1 << (i % 64)
}

func (w *wheel) disarm(c *Conn) {
	t := &c.timer
	if t.at == 0 {
		return
	}
	i := t.at % wheelSize
	if t.prev != none {
		w.table.at(t.prev).timer.next = t.next
	} else if w.lists[i] = t.next; t.next == none {
		w.used[i/64] &^= 1 << (i % 64)
	}
	if t.next != none {
		w.table.at(t.next).timer.prev = t.prev
	}
	t.at = 0
}

// advance moves the wheel to now and calls fire for each timer that is due.
func (w *wheel) advance(now tick, fire func(*Conn)) {
	for w.now < now {
		next, ok := w.next()
		if !ok || next > now {
			w.now = now
			return
		}
		w.now = next
		for i := w.now % wheelSize; w.lists[i] != none; {
			c := w.table.at(w.lists[i])
			w.disarm(c)
			fire(c)
		}
	}
}

// next is the tick of the earliest timer.
func (w *wheel) next() (at tick, ok bool) {
	start := (w.now + 1) % wheelSize
	for i := range tick(wheelSize/64 + 1) {
		word := (start/64 + i) % (wheelSize / 64)
		set := w.used[word]
		if i == 0 {
			set &= ^uint64(0) << (start % 64)
		} else if i == wheelSize/64 {
			set &= 1<<(start%64) - 1
		}
		if set != 0 {
			slot := word*64 + tick(bits.TrailingZeros64(set))
			return w.now + 1 + (slot-start)%wheelSize, true
		}
	}
	return 0, false
}
