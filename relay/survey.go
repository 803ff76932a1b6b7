package relay

import (
	"time"

	"holdfast/unixipc"
)

// Waiting is what a charger has that no processor has acknowledged yet.
type Waiting struct {
	Messages  int // deliveries, OPENED and CLOSED among them
	Bytes     int
	InFlight  int           // those of them that its owner has
	Age       time.Duration // of the oldest
	GivenBack int           // times in a row that the oldest was given back (NACK)
	Paused    bool          // the charger is not read from because of them

	// Connections that began and of which no processor has acknowledged the OPENED,
	// those that were folded into a later one among them. More than a few are those
	// of a charger that reboots again and again.
	Connections int
}

// Survey calls f for each charger that has anything unacknowledged, in slices: it
// begins at from, which is 0 or was returned by an earlier call, and returns where
// the next slice begins; 0 after the last one. Between two slices a turn of the loop
// may pass.
func (r *Relay) Survey(from int, f func(*Charger, Waiting)) (next int) {
	stop := min(r.slots.used, from+surveySlice)
	for i := from; i < stop; i++ {
		c := r.slots.at(i)
		if c.q == nil && c.paused == reading {
			continue
		}
		if w := r.Waiting(c); w.Messages > 0 || w.Paused {
			f(c, w)
		}
	}
	if stop == r.slots.used {
		return 0
	}
	return stop
}

// surveySlice is how many slots a call of Survey looks at: some 100 µs.
const surveySlice = 8192

// Waiting returns what c has waiting.
func (r *Relay) Waiting(c *Charger) Waiting {
	w := Waiting{InFlight: int(c.inFlight), Paused: c.paused != reading}
	if q := c.q; q != nil && len(q.entries) > 0 {
		w.GivenBack = q.nacks
		w.Age = max(0, r.now.Sub(q.entries[0].came))
		for i := range q.entries {
			if e := &q.entries[i]; !e.acked {
				w.Messages++
				w.Bytes += e.size
				if e.kind == unixipc.Opened && !e.moved {
					w.Connections += 1 + e.reconnects
				}
			}
		}
	}
	return w
}

// Subprotocol is what the charger speaks, as of its latest connection.
func (c *Charger) Subprotocol() string { return c.subprotocol.Value() }

// Owner returns the link that the charger belongs to; nil if it has none.
func (c *Charger) Owner() *Link { return c.owner }

// Window returns how many deliveries the link may have in flight.
func (l *Link) Window() int { return l.window }
