package shard

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"golang.org/x/sys/unix"

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

// maxNew is how many sockets a commit gives to the keeper: the others wait for the next,
// so that a keeper that has just started does not hold up the chargers.
const maxNew = 512

// maxBusy is how many milliseconds a keeper may be too busy to take a VALID.
const maxBusy = 1000

// laterInterval is when a commit looks again after sockets that the keeper has not got.
const laterInterval = 2 * time.Millisecond

// KeepWith has the shard's state written down in j, and its sockets kept by owner. unkept
// is called once if that ends because the keeper is gone. The loop stands still, or runs
// this itself.
func (s *Shard) KeepWith(j *journal.Journal, owner *keep.Owner, unkept func(error)) error {
	fd, err := unix.FcntlInt(uintptr(owner.FD()), unix.F_DUPFD_CLOEXEC, 3) // the loop closes its own
	if err != nil {
		return err
	}
	watch, err := s.Loop.Watch(fd, func(bool, bool, bool) { s.hearKeeper() })
	if err != nil {
		_ = unix.Close(fd)
		return err
	}
	s.saving = saving{
		journal: j, owner: owner, watch: watch, unkept: unkept,
		offline: map[*relay.Charger]journal.Slot{}, links: map[*Link]bool{},
		meta: Meta{Instance: s.Relay.Instance()},
	}
	s.Relay.Save(true)
	s.Loop.Save(j, s.commit)
	for _, l := range s.links.all {
		l.source.Settle(0, false)
		s.saving.links[l] = true
	}
	return nil
}

// KeeperFD is the connection to the keeper, which stays the shard's.
func (s *Shard) KeeperFD() int { return s.saving.owner.FD() }

// LinkChanged has a staged link written down.
func (s *Shard) LinkChanged(l *Link) {
	if s.Kept() && l.Kept() {
		s.saving.links[l] = true
	}
}

// Slot is where the link is written down; kept: it is, and a keeper has its socket.
func (l *Link) Slot() (slot journal.Slot, kept bool) { return l.source.Slot(), l.Kept() }

// Kept reports whether a keeper has a duplicate of the socket.
func (l *Link) Kept() bool { return l.source != nil && l.source.Kept() }

// Unkept is how many connections the keeper has not got yet; kept: there is one.
func (s *Shard) Unkept() (n int, kept bool) {
	s.Loop.All(func(c *conn.Conn) {
		if !c.Kept() {
			n++
		}
	})
	return n, s.Kept()
}

// LeaveBehind stops the loop in a turn that notes that the process ends by order, and
// leaves everything to the keeper. It reports whether there is one.
func (s *Shard) LeaveBehind() bool {
	if !s.Kept() {
		return false
	}
	s.saving.meta.Left, s.saving.metaOld = true, true
	s.Loop.Again()
	s.Loop.Stop()
	return true
}

// Kept reports whether the state is written down.
func (s *Shard) Kept() bool { return s.saving.journal != nil }

// hearKeeper finds out that the keeper is gone.
func (s *Shard) hearKeeper() {
	if err := s.saving.owner.Err(); err != nil {
		s.loseKeeper(err)
	}
}

// loseKeeper goes on without.
func (s *Shard) loseKeeper(why error) {
	v := &s.saving
	if v.journal == nil {
		return
	}
	v.journal.Void() // before anything is written that it does not know of
	for _, l := range s.links.all {
		l.source.Settle(0, false)
	}
	s.Loop.Save(nil, nil)
	s.Relay.Save(false)
	v.watch.Release()
	v.journal.Close()
	_ = v.owner.Close()
	unkept := v.unkept
	s.saving = saving{}
	unkept(why)
}

// Leave has the keeper drop everything: this process ends in order, or another one goes on
// without a keeper. The loop has ended, or stands still.
func (s *Shard) Leave() {
	v := &s.saving
	if v.journal == nil {
		return
	}
	var all []uint64
	s.Loop.All(func(c *conn.Conn) {
		if c.Kept() {
			all = append(all, uint64(c.Slot()))
		}
	})
	for _, l := range s.links.all {
		if l.source.Kept() {
			all = append(all, uint64(l.source.Slot()))
		}
	}
	all = append(all, v.drops...)
	v.journal.End()
	for end := time.Now().Add(time.Second); len(all) > 0 && time.Now().Before(end); {
		n, err := v.owner.Drop(all)
		if err != nil {
			return
		}
		if all = all[n:]; n == 0 {
			time.Sleep(time.Millisecond)
		}
	}
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

// WriteStaged writes down what is staged so far. Nothing of it is valid yet.
func (s *Shard) WriteStaged() {
	for _, g := range s.takeChanged() {
		s.saving.journal.Drop(g.Slot)
	}
	s.putChanged()
}

// Complete makes valid what is staged, and what is to be handled before anything else; m
// is of the gateway that was before. The keeper does not know of it yet.
func (s *Shard) Complete(m Meta, inputs []journal.Input) {
	v := &s.saving
	v.meta = m
	s.WriteStaged()
	v.journal.Taken()
	if len(inputs) > 0 {
		v.inputs = v.journal.Add()
		v.journal.Put(v.inputs, item.Append(nil, ItemInputs, s.Index, appendInputs(nil, inputs), nil))
	}
	s.saveMeta()
	v.journal.Commit()
}

// Own has the keeper take what is valid here for the valid state, and this process for the
// owner.
func (s *Shard) Own() error {
	if !s.Kept() {
		return nil
	}
	err := s.saving.owner.Valid(s.saving.journal.FD())
	for tries := 0; errors.Is(err, keep.ErrBusy) && tries < maxBusy; tries++ {
		time.Sleep(time.Millisecond)
		err = s.saving.owner.Valid(s.saving.journal.FD())
	}
	if err != nil {
		s.loseKeeper(err)
	}
	return err
}

// Disown gives the connection to the keeper up: another process has it, and owns
// everything. Unless that process has the keeper, too, everything is dropped there.
func (s *Shard) Disown(toKeeper bool) {
	if !s.Kept() {
		return
	}
	if !toKeeper {
		s.Leave()
	}
	_ = s.saving.owner.Close()
	s.saving.watch.Release()
	s.saving.journal.Close()
	s.Loop.Save(nil, nil)
	s.Relay.Save(false)
	s.saving = saving{}
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

// keepNew gives the keeper what it has not got; false: it is gone.
func (s *Shard) keepNew() bool {
	v := &s.saving
	v.puts, v.putConns, v.putLinks = v.puts[:0], v.putConns[:0], v.putLinks[:0]
	for l := range v.links {
		if l.source != nil && !l.source.Kept() {
			if l.source.Slot() == 0 {
				l.source.Settle(v.journal.Add(), false)
			}
			if l.source.Slot() == 0 {
				continue
			}
			v.puts = append(v.puts, keep.Item{ID: uint64(l.source.Slot()), FD: l.source.Fd()})
			v.putLinks = append(v.putLinks, l)
		}
	}
	for _, c := range v.conns {
		if c.Kept() {
			continue
		}
		if len(v.puts) >= maxNew {
			v.later = append(v.later, c.Handle())
			continue
		}
		v.puts = append(v.puts, keep.Item{ID: uint64(c.Slot()), FD: c.FD()})
		v.putConns = append(v.putConns, c)
	}
	if len(v.puts) == 0 {
		s.retryLater()
		return true
	}
	n, err := 0, error(nil)
	if len(v.drops) == 0 { // in order: a slot that is used again is dropped first
		n, err = v.owner.Put(v.puts)
	}
	if err != nil {
		s.loseKeeper(err)
		return false
	}
	v.slow = n == 0
	for i, l := range v.putLinks {
		if i < n {
			l.source.Settle(l.source.Slot(), true)
		}
	}
	for i, c := range v.putConns {
		if len(v.putLinks)+i < n {
			c.Keep()
		} else {
			v.later = append(v.later, c.Handle())
		}
	}
	s.retryLater()
	return true
}

// retryLater looks again after what the keeper has not got, soon.
func (s *Shard) retryLater() {
	v := &s.saving
	waiting := len(v.later) > 0
	for _, l := range v.putLinks {
		waiting = waiting || !l.source.Kept()
	}
	if !waiting || v.retry {
		return
	}
	v.retry = true
	after := laterInterval
	if v.slow {
		after *= 25
	}
	time.AfterFunc(after, func() {
		s.Loop.Post(func() {
			v := &s.saving
			n := min(len(v.later), maxNew)
			later := v.later[:n]
			v.later, v.retry = v.later[n:], false
			for _, handle := range later {
				if c := s.Loop.Lookup(handle); c != nil && v.journal != nil {
					c.Save()
				}
			}
		})
	})
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

// Forsake has the keeper drop a socket that is not taken over.
func (s *Shard) Forsake(slot journal.Slot) {
	s.saving.drops = append(s.saving.drops, uint64(slot))
}

// ResettleConn puts a staged connection into the slot that it had in the memory of a
// process that has died; of its output n bytes are written.
func (s *Shard) ResettleConn(c *conn.Conn, slot journal.Slot, n int) error {
	if err := s.saving.journal.Take(slot); err != nil {
		return err
	}
	c.Resettle(slot, n)
	return nil
}

// ResettleLink is ResettleConn for a link.
func (s *Shard) ResettleLink(l *Link, slot journal.Slot, n int) error {
	if err := s.saving.journal.Take(slot); err != nil {
		return err
	}
	l.source.Settle(slot, true)
	s.Relay.Wrote(l.Relay, min(n, len(l.Relay.Unwritten())))
	s.saving.links[l] = true
	return nil
}

// Replayed notes that those inputs are handled.
func (s *Shard) Replayed() {
	if v := &s.saving; v.journal != nil && v.inputs != 0 {
		v.journal.Drop(v.inputs)
		v.inputs = 0
		s.Loop.Again()
	}
}

// Unsettle gives the slot of a staged connection or link back that has ended meanwhile: in
// the process that serves, which has the keeper drop its socket, and may use the slot again.
func (s *Shard) Unsettle(slot journal.Slot, kept bool) {
	if s.Kept() && kept {
		s.saving.journal.Drop(slot)
	}
}

// Drops are the slots of sockets that the keeper is still to drop.
func (s *Shard) Drops() []uint64 { return s.saving.drops }

// ReplayLink takes what a process that has died had read from a link, and not handled for
// good.
func (s *Shard) ReplayLink(l *Link, b []byte) {
	if l.source == nil {
		return
	}
	s.linkChanged(l)
	s.saving.journal.WorkAgain(l.source.Slot())
	s.Relay.Receive(l.Relay, b)
	s.saving.journal.Work(0)
	l.watch()
}

// appendInputs encodes inputs: for each the slot (4 bytes), the length (4), and the bytes.
func appendInputs(dst []byte, inputs []journal.Input) []byte {
	for _, in := range inputs {
		dst = binary.BigEndian.AppendUint32(dst, uint32(in.Slot))
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(in.Data)))
		dst = append(dst, in.Data...)
	}
	return dst
}

// ParseInputs decodes what appendInputs has encoded. The data are slices of b.
func ParseInputs(b []byte) (inputs []journal.Input) {
	for len(b) >= 8 {
		slot, n := binary.BigEndian.Uint32(b), int(binary.BigEndian.Uint32(b[4:]))
		if n > len(b)-8 {
			break // it has a checksum: this cannot be
		}
		inputs = append(inputs, journal.Input{Slot: journal.Slot(slot), Data: b[8 : 8+n]})
		b = b[8+n:]
	}
	return inputs
}
