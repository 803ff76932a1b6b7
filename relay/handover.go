package relay

import (
	"fmt"
	"slices"
)

// A relay is handed over in two passes. In the first, it still runs: its links
// are exported, then its chargers. In the second, it is frozen: the links and the
// chargers that have changed since are exported again. A charger has changed as
// soon as any part of its state may have.

// BeginHandover starts to record which chargers change.
func (r *Relay) BeginHandover() {
	r.EndHandover() // of an earlier hand-over that was not ended
	r.sweepOn(r.sweep.left)
	r.tracking = true
}

// EndHandover stops recording changes, after a hand-over was rolled back.
func (r *Relay) EndHandover() {
	for _, c := range r.changed {
		c.changed = false
	}
	r.tracking, r.changed = false, nil
}

// touch records that c is about to change.
func (r *Relay) touch(c *Charger) {
	if r.tracking && !c.changed {
		c.changed = true
		r.changed = append(r.changed, c)
	}
	if r.saving && !c.unsaved {
		c.unsaved = true
		r.unsaved = append(r.unsaved, c)
	}
}

// Save starts to record for TakeUnsaved which chargers change, or stops it. All that are
// known count as changed at the start.
func (r *Relay) Save(on bool) {
	for _, c := range r.unsaved {
		c.unsaved = false
	}
	r.saving, r.unsaved = on, nil
	if !on {
		return
	}
	for i := range r.slots.used {
		if c := r.slots.at(i); c.identity != "" {
			r.touch(c)
		}
	}
}

// Unsaved reports whether TakeUnsaved would return anything.
func (r *Relay) Unsaved() bool { return len(r.unsaved) > 0 }

// TakeUnsaved appends the chargers that have changed since Save, or since it was last
// called. One of them may have been forgotten since, or stand for another identity.
func (r *Relay) TakeUnsaved(dst []*Charger) []*Charger {
	for _, c := range r.unsaved {
		c.unsaved = false
	}
	dst = append(dst, r.unsaved...)
	clear(r.unsaved)
	r.unsaved = r.unsaved[:0]
	return dst
}

// Known reports whether c is a charger, and not one that is forgotten.
func (c *Charger) Known() bool { return c.identity != "" }

// TakeChanged returns the chargers that changed since BeginHandover, or since the
// last TakeChanged. A returned *Charger may have been forgotten since, or reused
// for another identity.
func (r *Relay) TakeChanged() []*Charger {
	changed := r.changed
	r.changed = nil
	for _, c := range changed {
		c.changed = false
	}
	return changed
}

// Conn returns the handle of the charger's connection, which is valid if it is
// connected.
func (c *Charger) Conn() (conn uint64, connected bool) { return c.conn, c.connected }

// Offline calls f for each charger that is not connected.
func (r *Relay) Offline(f func(*Charger)) {
	if r.online == len(r.chargers) {
		return // the usual case, without a scan of all
	}
	for i := range r.slots.used {
		if c := r.slots.at(i); c.identity != "" && !c.connected {
			f(c)
		}
	}
}

// Charger returns the charger of an identity; nil if it is not known.
func (r *Relay) Charger(identity string) *Charger { return r.chargers[identity] }

// AdoptLink takes over a link that another process has exported. Call Activate
// when everything is adopted.
func (r *Relay) AdoptLink(state []byte) (*Link, error) {
	l, err := parseLink(state)
	if err != nil {
		return nil, err
	}
	r.staging = true
	if r.link(l.id) != nil {
		return nil, fmt.Errorf("link %d is there already", l.id)
	}
	r.links = append(r.links, l)
	r.lastLink = max(r.lastLink, l.id)
	r.noteSubscribers() // a message may come before Activate
	return l, nil
}

// LastLink returns the highest id of a link so far. Ids are not used again: an answer
// to a link that has ended may be under way in another loop.
func (r *Relay) LastLink() uint32 { return r.lastLink }

// SetLastLink notes the highest id in the process that hands over.
func (r *Relay) SetLastLink(id uint32) { r.lastLink = max(r.lastLink, id) }

// Instance returns what WELCOME names the start of the gateway.
func (r *Relay) Instance() string { return r.cfg.Instance }

// SetInstance takes over the instance of the process that hands over. No link may
// have joined yet.
func (r *Relay) SetInstance(instance string) { r.cfg.Instance = instance }

// ReadoptLink replaces the state of an adopted link, but not its chargers.
func (r *Relay) ReadoptLink(l *Link, state []byte) error {
	n, err := parseLink(state)
	if err != nil {
		return err
	}
	if n.id != l.id || n.hash != l.hash {
		return fmt.Errorf("link %d became link %d", l.id, n.id)
	}
	l.window, l.in, l.out, l.off, l.cut, l.draining, l.drained, l.retired = n.window, n.in, n.out, n.off, n.cut, n.draining, n.drained, n.retired
	l.operator, l.askOnly, l.authorizes, l.tokens, l.taps, l.watches = n.operator, n.askOnly, n.authorizes, n.tokens, n.taps, n.watches
	r.noteSubscribers()
	return nil
}

// UnadoptLink removes an adopted link.
func (r *Relay) UnadoptLink(l *Link) {
	for _, c := range r.chargers {
		if c.owner == l {
			r.takeBack(c)
			r.disown(c)
		}
	}
	i := slices.Index(r.links, l)
	r.links = slices.Delete(r.links, i, i+1)
	r.noteSubscribers()
}

// AdoptCharger takes over a charger that another process has exported. conn is
// the handle of its connection, if it is connected. Its link must have been
// adopted before.
func (r *Relay) AdoptCharger(state []byte, conn uint64) (*Charger, error) {
	parsed, owner, note, err := r.parseCharger(state)
	if err != nil {
		return nil, err
	}
	if r.chargers[parsed.identity] != nil {
		return nil, fmt.Errorf("charger %q is there already", parsed.identity)
	}
	r.staging = true
	c := r.newCharger()
	r.chargers[parsed.identity] = c
	r.setNote(c, note)
	return c, r.restore(c, parsed, owner, conn)
}

// ReadoptCharger replaces the state of an adopted charger.
func (r *Relay) ReadoptCharger(c *Charger, state []byte, conn uint64) error {
	parsed, owner, note, err := r.parseCharger(state)
	if err != nil {
		return err
	}
	if parsed.identity != c.identity {
		return fmt.Errorf("charger %q became %q", c.identity, parsed.identity)
	}
	r.unstage(c)
	r.setNote(c, note)
	return r.restore(c, parsed, owner, conn)
}

// UnadoptCharger removes an adopted charger.
func (r *Relay) UnadoptCharger(c *Charger) {
	r.unstage(c)
	delete(r.chargers, c.identity)
	r.recycle(c)
}

// unstage reverts what restore changed outside of c.
func (r *Relay) unstage(c *Charger) {
	if c.owner != nil {
		c.owner.inFlight -= int(c.inFlight)
	}
	if c.q != nil {
		r.memory.used[c.pool] -= c.q.cost
		c.q.cost = 0 // disown may change the pool
		for _, k := range c.q.calls {
			r.memory.used[moving] -= len(k.message)
			r.removeCall(k)
		}
		r.delayed.remove(c.q)
	}
	if c.connected {
		r.online--
	}
	r.disown(c)
}

// OwnerOf returns the id of the link that the charger of an encoded state belongs to; 0:
// to none.
func (r *Relay) OwnerOf(state []byte) (link uint32, err error) {
	_, link, _, err = r.parseCharger(state)
	return link, err
}

// HasLink reports whether there is a link with an id.
func (r *Relay) HasLink(id uint32) bool { return r.link(id) != nil }

// AdoptLost adopts a link of which nothing is known but its id, for the chargers that it
// had. Report it as Lost once everything is activated.
func (r *Relay) AdoptLost(id uint32) *Link {
	l := &Link{id: id, name: "lost", hash: mix(uint64(id)), draining: true, drained: true, window: 1}
	r.links = append(r.links, l)
	r.lastLink = max(r.lastLink, id)
	return l
}

// restore gives c the state s, which parseCharger has returned with owner.
func (r *Relay) restore(c *Charger, s Charger, owner uint32, conn uint64) error {
	inLine := c.inLine
	*c = s
	r.touch(c)
	c.conn, c.inLine, c.pool, c.ranked = conn, inLine, moving, r.ranking
	if owner == 0 || c.q != nil && c.q.held {
		c.pool = parked
	}
	if c.connected {
		r.online++
	}
	if q := c.q; q != nil {
		if q.held && q.notBefore.IsZero() {
			q.notBefore = r.now // the delay is over: the zero time is no deadline
		}
		if q.held {
			r.delayed.add(c)
		}
		for i := range q.entries {
			r.charge(c, q.entries[i].size+entryCost)
		}
		r.charge(c, len(q.last))
		for _, k := range q.calls {
			k.charger = c
			r.memory.used[moving] += len(k.message)
			r.addCall(k)
			if k.asker.Loop == r.cfg.Loop {
				r.lastLink = max(r.lastLink, k.asker.Link)
			}
		}
		// A new link must not get an id that this charger still refers to.
		r.lastLink = max(r.lastLink, q.avoid)
		for _, s := range q.sends {
			if s.asker.Loop == r.cfg.Loop {
				r.lastLink = max(r.lastLink, s.asker.Link)
			}
		}
	}
	if owner != 0 {
		l := r.link(owner)
		if l == nil {
			return fmt.Errorf("charger %q belongs to link %d, which does not exist", c.identity, owner)
		}
		c.enlist(l)
		l.inFlight += int(c.inFlight)
	}
	if c.q != nil || c.announce || c.paused != reading || c.moving || c.owner == nil {
		r.staged = append(r.staged, c)
	}
	return nil
}

// link returns the link with an id; nil if there is none.
func (r *Relay) link(id uint32) *Link {
	if i := slices.IndexFunc(r.links, func(l *Link) bool { return l.id == id }); i >= 0 {
		return r.links[i]
	}
	return nil
}

// Activate starts the work on what was adopted.
func (r *Relay) Activate() {
	r.staging = false
	staged := r.staged
	r.staged = nil
	for _, l := range r.links {
		l.checkAt = r.now // checkHung computes it
		r.wake(l)
	}
	for _, c := range staged {
		if r.chargers[c.identity] != c {
			continue // forgotten meanwhile
		}
		if c.owner == nil || c.moving {
			r.assignOwner(c)
		}
		// An offline charger may have nothing left but a delay.
		r.release(c)
		if r.forget(c); r.chargers[c.identity] != c {
			continue
		}
		r.noteFlying(c)
		r.review(c)
		r.offer(c)
	}
	for _, l := range r.links {
		r.checkDrained(l)
	}
}
