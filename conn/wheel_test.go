package conn

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// wheelModel is the naive wheel: a map.
type wheelModel struct {
	now   tick
	timer map[int32]tick
}

func (m *wheelModel) arm(slot int32, at tick) {
	m.timer[slot] = min(max(at, m.now+1), m.now+horizon)
}

func (m *wheelModel) next() (at tick, ok bool) {
	if len(m.timer) == 0 {
		return 0, false
	}
	return slices.Min(slices.Collect(maps.Values(m.timer))), true
}

// advance returns what is due, in order of ticks and then slots.
func (m *wheelModel) advance(now tick) (fired []int32) {
	for m.now < now {
		at, ok := m.next()
		if !ok || at > now {
			break
		}
		for _, slot := range slices.Sorted(maps.Keys(m.timer)) {
			if m.timer[slot] == at {
				fired = append(fired, slot)
				delete(m.timer, slot)
			}
		}
		m.now = at
	}
	m.now = now
	return fired
}

func TestWheelAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 7))
		var tab table
		w := newWheel(&tab)
		m := &wheelModel{timer: map[int32]tick{}}
		for range 600 {
			tab.add()
		}
		spread := []int{5, 300, 3 * wheelSize}[seed%3]
		for step := range 4000 {
			c := tab.at(r.Int32N(600))
			switch r.IntN(10) {
			case 0, 1, 2, 3, 4:
				at := m.now + tick(r.IntN(spread))
				w.arm(c, at)
				m.arm(c.slot, at)
			case 5:
				w.disarm(c)
				delete(m.timer, c.slot)
			default:
				now := w.now + tick(r.IntN(spread/4+2))
				var got []int32
				var at tick
				sorted := func() { // the order within a tick is free
					slices.Sort(got[len(got)-int(at):])
				}
				last := w.now
				w.advance(now, func(c *Conn) {
					if w.now != last {
						sorted()
						at, last = 0, w.now
					}
					got = append(got, c.slot)
					at++
				})
				sorted()
				if want := m.advance(now); !slices.Equal(got, want) {
					t.Fatalf("seed %d, step %d: fired %v, want %v", seed, step, got, want)
				}
			}
			gotAt, gotOK := w.next()
			if at, ok := m.next(); gotAt != at || gotOK != ok || w.now != m.now {
				t.Fatalf("seed %d, step %d: next is %d, %v at %d; want %d, %v at %d", seed, step, gotAt, gotOK, w.now, at, ok, m.now)
			}
		}
	}
}

// A timer armed from within another's firing is not lost, nor fired twice.
func TestWheelArmsWhileFiring(t *testing.T) {
	var tab table
	w := newWheel(&tab)
	a, b := tab.add(), tab.add()
	w.arm(a, 10)
	w.arm(b, 10)
	fired := map[int32][]tick{}
	w.advance(100, func(c *Conn) {
		fired[c.slot] = append(fired[c.slot], w.now)
		if w.now < 40 {
			w.arm(c, w.now+10)
		}
	})
	want := []tick{10, 20, 30, 40}
	if !slices.Equal(fired[b.slot], want) || !slices.Equal(fired[a.slot], want) {
		t.Error(fired)
	}
}

func TestTicksAreRoundedUp(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want tick
	}{{0, 0}, {time.Millisecond, 1}, {128 * time.Millisecond, 1}, {129 * time.Millisecond, 2}, {time.Hour, 28125}} {
		if got := ticks(tt.d); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.d, got, tt.want)
		}
	}
}

// A handle is never another connection's, however often its slot is reused.
func TestTableGenerations(t *testing.T) {
	var tab table
	l := &Loop{}
	r := rand.New(rand.NewPCG(8, 9))
	live := map[uint64]*Conn{}
	var dead []uint64
	for range 20_000 {
		if r.IntN(2) == 0 {
			c := tab.add()
			c.loop = l
			h := c.Handle()
			if live[h] != nil || slices.Contains(dead[max(0, len(dead)-1000):], h) {
				t.Fatalf("handle %x given out again", h)
			}
			live[h] = c
		} else {
			for h, c := range live {
				delete(live, h)
				dead = append(dead, h)
				tab.remove(c)
				break
			}
		}
		if tab.count != len(live) {
			t.Fatalf("%d counted, %d live", tab.count, len(live))
		}
	}
	lookup := func(h uint64) *Conn { return tab.lookup(int32(uint32(h)), uint32(h>>32)) }
	for h, c := range live {
		if lookup(h) != c {
			t.Errorf("%x is not found", h)
		}
	}
	for _, h := range dead {
		if lookup(h) != nil {
			t.Errorf("%x is found, and gone", h)
		}
	}
	for _, h := range []uint64{1<<32 - 1, 1 << 31, uint64(tab.used), 1<<64 - 1} {
		if lookup(h) != nil {
			t.Errorf("%x is found, and never was", h)
		}
	}
}
