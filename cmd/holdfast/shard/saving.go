package shard

import (
	"encoding/json"

	"holdfast/cmd/holdfast/item"
	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc/journal"
	"holdfast/unixipc/keep"
)

// Theory of operation: what a crash leaves
//
// With a keeper, a shard writes its state down in each turn, before anything is written to
// a charger or a processor (conn/saving.go, unixipc/journal). Its items are those of an
// upgrade: each link, each connection with its charger, each charger that is not connected
// and has left something; and two more, see item kinds below. What has changed is what the
// loop and the relay say so of, and links that were read from or have something new to be
// written.
//
// A commit, in this order:
//
//  1. The keeper gets a duplicate of each new socket, under the number of its slot. Until
//     it has one, a connection is not written down: it would be found without its socket.
//  2. What has changed is written down, and the turn is made valid.
//  3. The keeper drops the sockets whose end is valid.
//
// A keeper that does not keep up gets the rest later. One that is gone costs nothing but
// what it is for: Unkept is called, the shard goes on without, and KeepWith starts again
// with all that there is.

// saving is what a shard with a keeper remembers.
type saving struct {
	journal *journal.Journal // nil: none
	owner   *keep.Owner
	watch   *conn.Source // of the owner's connection
	unkept  func(error)

	offline map[*relay.Charger]journal.Slot // written down without a connection
	links   map[*Link]bool                  // to be written down
	gone    []conn.GoneSlot                 // of links
	later   []uint64                        // handles of connections that the keeper has not got yet
	slow    bool                            // the keeper has taken nothing of late
	retry   bool                            // a look at later is under way
	drops   []uint64                        // for the keeper
	meta    Meta
	metaAt  journal.Slot
	metaOld bool         // it is to be written down
	inputs  journal.Slot // see ItemInputs; 0: none

	buf      []byte
	conns    []*conn.Conn
	chargers []*relay.Charger
	puts     []keep.Item
	putConns []*conn.Conn
	putLinks []*Link
}

// Kinds of items that only a memory has.
const (
	ItemMeta   = item.Kind('m') // first: Meta, in JSON
	ItemInputs = item.Kind('r') // first: what was read and not handled, see appendInputs
)

// Meta is what is written down of the shard itself.
type Meta struct {
	Instance string  `json:"instance"`
	LastLink uint32  `json:"last_link"`
	Crashes  []Crash `json:"crashes,omitempty"`
	Left     bool    `json:"left,omitempty"` // the process has ended by order, and has left everything
}

// A Crash is the end of a process that has left its state behind.
type Crash struct {
	At      int64        `json:"at"`                // Unix time, ms
	Working journal.Slot `json:"working,omitempty"` // whose input was being handled; 0: nobody's
	Again   bool         `json:"again,omitempty"`   // it was input that a process had died of
}

// linkChanged has a link written down.
func (s *Shard) linkChanged(l *Link) {
	if s.saving.journal != nil {
		s.saving.links[l] = true
		s.Loop.Again()
	}
}

// linkGone has the end of a link written down.
func (s *Shard) linkGone(l *Link) {
	if slot := l.source.Slot(); s.saving.journal != nil && slot != 0 {
		s.saving.gone = append(s.saving.gone, conn.GoneSlot{Slot: slot, Kept: l.source.Kept()})
		s.Loop.Again()
	}
}

// commit writes down what has changed, and makes the turn valid.
func (s *Shard) commit() {
	s.Relay.EndTurn()
	v := &s.saving
	gone := s.takeChanged()
	if !s.keepNew() {
		return // the keeper is gone
	}
	s.putChanged()
	for _, g := range gone {
		v.journal.Drop(g.Slot)
		if g.Kept {
			v.drops = append(v.drops, uint64(g.Slot))
		}
	}
	s.saveMeta()
	if v.journal.Pending() {
		v.journal.Commit()
	}
	if len(v.drops) > 0 {
		n, err := v.owner.Drop(v.drops)
		v.drops = append(v.drops[:0], v.drops[n:]...)
		if err != nil {
			s.loseKeeper(err)
		}
	}
}

// takeChanged finds what has changed, and returns the slots of what has gone.
func (s *Shard) takeChanged() (gone []conn.GoneSlot) {
	v := &s.saving
	s.takeChargers()
	v.conns, gone = s.Loop.TakeUnsaved(v.conns[:0])
	gone, v.gone = append(gone, v.gone...), v.gone[:0]
	return gone
}

// putChanged writes down what of it the keeper has.
func (s *Shard) putChanged() {
	v := &s.saving
	for _, c := range v.conns {
		if c.Kept() {
			s.putConn(c)
		}
	}
	for l := range v.links {
		switch {
		case l.source == nil:
			delete(v.links, l)
		case l.source.Kept():
			v.buf = item.Append(v.buf[:0], item.Link, s.Index, s.Relay.AppendLink(nil, l.Relay), nil)
			v.journal.Put(l.source.Slot(), v.buf)
			l.committed = len(l.Relay.Unwritten())
			delete(v.links, l)
		}
	}
}

// takeChargers has what belongs to a connection written down with it, and writes down the
// chargers that have none.
func (s *Shard) takeChargers() {
	v := &s.saving
	v.chargers = s.Relay.TakeUnsaved(v.chargers[:0])
	for _, c := range v.chargers {
		handle, connected := c.Conn()
		slot, was := v.offline[c]
		switch {
		case c.Known() && connected:
			held := s.Loop.Lookup(handle)
			if held != nil {
				held.Save()
			}
			if held != nil && !held.Kept() {
				continue // until it is: what the charger has left stays written down
			}
		case c.Known():
			if !was {
				if slot = v.journal.Add(); slot == 0 {
					continue // a million items: it is not written down
				}
				v.offline[c] = slot
			}
			v.buf = item.Append(v.buf[:0], item.Offline, s.Index, nil, s.Relay.AppendCharger(nil, c))
			v.journal.Put(slot, v.buf)
			continue
		}
		if was {
			v.journal.Drop(slot)
			delete(v.offline, c)
		}
	}
	clear(v.chargers)
}

// putConn writes down a connection with its charger.
func (s *Shard) putConn(c *conn.Conn) {
	v := &s.saving
	first, apart := c.AppendSaved(item.Begin(v.buf[:0], item.Charger, s.Index))
	v.buf = item.EndFirst(first, 0)
	if charger, ok := c.User.(*relay.Charger); ok {
		v.buf = s.Relay.AppendCharger(v.buf, charger)
		if slot, was := v.offline[charger]; was {
			v.journal.Drop(slot)
			delete(v.offline, charger)
		}
	}
	if apart != nil {
		v.journal.PutWith(c.Slot(), v.buf, apart)
		return
	}
	v.journal.Put(c.Slot(), v.buf)
}

// saveMeta writes down what belongs to nobody, if it has changed.
func (s *Shard) saveMeta() {
	v := &s.saving
	last := s.Relay.LastLink()
	if v.metaAt != 0 && v.meta.LastLink == last && !v.metaOld {
		return
	}
	v.meta.LastLink, v.metaOld = last, false
	if v.metaAt == 0 {
		v.metaAt = v.journal.Add()
	}
	first, _ := json.Marshal(v.meta)
	v.journal.Put(v.metaAt, item.Append(v.buf[:0], ItemMeta, s.Index, first, nil))
}
