package relay

import "unsafe"

// Chargers are many, small and long-lived, so their memory comes from slabs. A
// charger keeps its slot for as long as it is known, and slots count from 0: that
// is how work on all chargers is done in slices (sweep.go, look.go, survey.go). A
// slot without a charger has an empty identity.
type slots struct {
	slabs  [][]Charger
	used   int        // slots that were ever used
	unused []*Charger // of those, the ones without a charger
}

// slabLen fills the largest size class of the allocator.
const slabLen = 32 << 10 / int(unsafe.Sizeof(Charger{}))

// at returns a slot, which must be below used.
func (s *slots) at(i int) *Charger { return &s.slabs[i/slabLen][i%slabLen] }

// take returns a slot for a new charger.
func (s *slots) take() *Charger {
	if n := len(s.unused); n > 0 {
		c := s.unused[n-1]
		s.unused = s.unused[:n-1]
		return c
	}
	if s.used == len(s.slabs)*slabLen {
		s.slabs = append(s.slabs, make([]Charger, slabLen))
	}
	s.used++
	return s.at(s.used - 1)
}

// newCharger returns a slot for a charger.
func (r *Relay) newCharger() *Charger {
	used := r.slots.used
	c := r.slots.take()
	if r.sweep.left > 0 { // it goes round by way of the new slot
		r.sweep.left += r.slots.used - used
	}
	return c
}

// recycle empties c's slot, for another charger once nothing refers to it: as long
// as c stands in a line for room, the slot is not used again.
func (r *Relay) recycle(c *Charger) {
	r.setNote(c, nil)
	*c = Charger{inLine: c.inLine}
	if c.inLine == 0 {
		r.slots.unused = append(r.slots.unused, c)
	}
}
