package relay

// Theory of operation
//
// Each join, drain and end of a link changes the ranking, and with it the owner of
// many chargers. They may be a hundred thousand, so they are not visited at once.
// The change counts r.ranking up, and Tick visits sweepSlice slots at a time until
// all have been visited since the last change (sweep.left). Meanwhile
//
//   - a charger that does anything is visited first (visit, from Opened and
//     Message), so that only idle ones wait for the sweep;
//   - a charger of a link that has joined before keeps its owner;
//   - a charger of a link that drains gets nothing delivered (deliverable);
//   - a charger of a link that has ended still counts its deliveries in flight,
//     which visit takes back.
//
// A hand-over needs every charger at its owner: BeginHandover ends the sweep, and
// each change while it is under way is swept at once.
type sweep struct {
	next int // slot to be visited next
	left int // slots to be visited
}

// sweepSlice is how many slots are visited in one turn: some 100 µs.
const sweepSlice = 512

// rankingChanged has all chargers visited.
func (r *Relay) rankingChanged() {
	r.ranking++
	r.sweep.left = r.slots.used
	if r.tracking {
		r.sweepOn(r.sweep.left)
	}
}

// sweepOn visits at most n slots.
func (r *Relay) sweepOn(n int) {
	for n = min(n, r.sweep.left); n > 0; n-- {
		if r.sweep.next >= r.slots.used {
			r.sweep.next = 0
		}
		c := r.slots.at(r.sweep.next)
		r.sweep.next++
		r.sweep.left--
		if c.identity != "" {
			r.visit(c)
			r.release(c)
			r.forget(c)
		}
	}
}

// visit gives c the owner that it should have since the ranking has changed. It
// neither releases c's queue nor forgets c.
func (r *Relay) visit(c *Charger) {
	if c.ranked == r.ranking {
		return
	}
	if c.owner != nil && c.owner.ended != "" {
		r.takeBack(c)
		r.disown(c)
	}
	r.assignOwner(c)
}
