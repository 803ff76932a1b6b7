package relay

import (
	"slices"

	"holdfast/unixipc"
)

// rank returns the link that a charger should belong to: the one with the highest
// weight among those that take its subprotocol and are not leaving; nil if
// there is none. A join or a leave thus moves only the chargers it must.
func (r *Relay) rank(c *Charger) *Link {
	var best *Link
	var most uint64
	var avoid uint32
	if c.q != nil {
		avoid = c.q.avoid
	}
	subprotocol, hash := c.subprotocol.Value(), hashString(c.identity)
	for _, l := range r.links {
		if l.draining || !l.takes(subprotocol) {
			continue
		}
		weight := mix(hash ^ l.hash)
		if l.id == avoid {
			weight = 0 // only if there is no other
		}
		if best == nil || weight > most {
			best, most = l, weight
		}
	}
	return best
}

// Unserved returns the configured subprotocols of which no processor gets deliveries.
func (r *Relay) Unserved() (subprotocols []string) {
	for _, subprotocol := range r.cfg.Subprotocols {
		if !slices.ContainsFunc(r.links, func(l *Link) bool { return !l.draining && l.takes(subprotocol) }) {
			subprotocols = append(subprotocols, subprotocol)
		}
	}
	return subprotocols
}

// Orphans returns the configured subprotocols that l took, and nobody does now that it
// is gone.
func (r *Relay) Orphans(l *Link) []string {
	if l.askOnly {
		return nil
	}
	return slices.DeleteFunc(r.Unserved(), func(s string) bool { return !l.takes(s) })
}

// Served reports whether any processor gets deliveries of some configured subprotocol.
func (r *Relay) Served() bool { return len(r.Unserved()) < len(r.cfg.Subprotocols) }

// OnlyBy returns the configured subprotocols that processors of this name take and no
// other does that gets deliveries: their chargers would have nobody without it.
func (r *Relay) OnlyBy(processor string) (subprotocols []string) {
	for _, subprotocol := range r.cfg.Subprotocols {
		itself, other := false, false
		for _, l := range r.links {
			if !l.draining && l.takes(subprotocol) {
				itself = itself || l.name == processor
				other = other || l.name != processor
			}
		}
		if itself && !other {
			subprotocols = append(subprotocols, subprotocol)
		}
	}
	return subprotocols
}

// assignOwner moves c to the link that rank returns: at once if nothing of c is in
// flight, else as soon as nothing is.
func (r *Relay) assignOwner(c *Charger) {
	c.ranked = r.ranking
	to := r.rank(c)
	switch {
	case to == c.owner && !c.moving:
	case to == c.owner:
		r.touch(c)
		c.moving = false
	case c.inFlight > 0:
		r.touch(c)
		c.moving = true
		return
	default:
		if c.owner != nil {
			r.write(c.owner, unixipc.Frame{Type: unixipc.Moved, Key: []byte(c.identity)})
		}
		r.disown(c)
		r.own(c, to)
	}
	r.offer(c)
}

// own gives c, which has no owner, to l.
func (r *Relay) own(c *Charger, l *Link) {
	r.touch(c)
	c.moving = false
	if l == nil {
		return
	}
	c.enlist(l)
	r.repool(c)
	if c.q != nil {
		c.q.presentAgain()
	}
	// The new owner gets an announcement of c before anything else. It needs
	// none if an OPENED waits at the front, or if c is offline and its last
	// delivery was just acknowledged.
	if c.q == nil || len(c.q.entries) == 0 {
		c.announce = c.connected
	} else {
		c.announce = c.q.entries[0].sub == ""
	}
}

// enlist makes l the owner of c, which has none.
func (c *Charger) enlist(l *Link) {
	c.owner = l
	l.chargers++
}

// disown takes c from its owner.
func (r *Relay) disown(c *Charger) {
	l := c.owner
	if l == nil {
		return
	}
	r.touch(c)
	c.owner = nil
	c.announce = false
	c.ready = false  // pump skips its place in l.ready,
	c.flying = false // and checkHung that in l.flying
	l.chargers--
	r.repool(c)
}
