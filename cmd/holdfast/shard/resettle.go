package shard

import (
	"encoding/binary"

	"holdfast/cmd/holdfast/item"
	"holdfast/conn"
	"holdfast/unixipc/journal"
)

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
