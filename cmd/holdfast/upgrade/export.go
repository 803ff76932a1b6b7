package upgrade

import (
	"fmt"
	"sync/atomic"

	"holdfast/cmd/holdfast/item"
	"holdfast/cmd/holdfast/shard"
	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc/handoff"
	"holdfast/unixipc/journal"

	"golang.org/x/sys/unix"
)

// An exporter reads what one shard hands over. Its methods run on the loop, or
// while the loop is frozen.
type exporter struct {
	shard *shard.Shard
	ids   *atomic.Uint32         // of items, shared by all shards
	links map[*shard.Link]uint64 // ids of those exported
	to    handoff.Hello          // of the new process
	size  int                    // connections that are exported in one turn of the loop
	buf   []conn.Exported
}

func newExporter(s *shard.Shard, ids *atomic.Uint32, size int) *exporter {
	return &exporter{shard: s, ids: ids, size: size, links: map[*shard.Link]uint64{}}
}

// begin starts to keep account of changes, and exports the links. The fds are
// duplicates.
func (e *exporter) begin() (items []handoff.Item, err error) {
	e.shard.Relay.BeginHandover()
	e.shard.Loop.BeginHandover(e.to.Knows(featureAdditions))
	if e.toKeeper() {
		fd, err := ownFD(e.shard.KeeperFD(), true)
		if err != nil {
			return nil, err
		}
		items = append(items, handoff.Item{ID: uint64(e.ids.Add(1)), FD: fd, State: item.Append(nil, itemKeeper, e.shard.Index, nil, nil)})
	}
	return e.exportLinks(items)
}

// toKeeper reports whether the new process goes on with the connection to the keeper.
func (e *exporter) toKeeper() bool { return e.shard.Kept() && e.to.Knows(featureKeeper) }

// slots appends the item that says which slots the keeper has for those before it.
func (e *exporter) slots(items []handoff.Item, slots map[uint64]journal.Slot) []handoff.Item {
	if len(slots) == 0 || !e.toKeeper() {
		return items
	}
	return append(items, handoff.Item{ID: uint64(e.ids.Add(1)), FD: -1, State: appendSlots(nil, slots)})
}

// end undoes begin.
func (e *exporter) end() {
	e.shard.Loop.EndHandover()
	e.shard.Relay.EndHandover()
}

// exportLinks exports the links that were not exported yet.
func (e *exporter) exportLinks(items []handoff.Item) (_ []handoff.Item, err error) {
	for _, l := range e.shard.Links() {
		if _, ok := e.links[l]; ok {
			continue
		}
		if items, err = e.exportLink(items, l, true); err != nil {
			return items, err
		}
	}
	return items, nil
}

func (e *exporter) exportLink(items []handoff.Item, l *shard.Link, dup bool) ([]handoff.Item, error) {
	if err := checkFeatures(e.to, l.Relay); err != nil {
		return items, err
	}
	fd, err := ownFD(l.FD(), dup)
	if err != nil {
		return items, err
	}
	id := uint64(e.ids.Add(1))
	e.links[l] = id
	items = append(items, handoff.Item{ID: id, FD: fd, State: e.linkItem(l)})
	if slot, kept := l.Slot(); kept {
		items = e.slots(items, map[uint64]journal.Slot{id: slot})
	}
	return items, nil
}

func (e *exporter) linkItem(l *shard.Link) []byte {
	return item.Append(nil, itemLink, e.shard.Index, e.shard.Relay.AppendLink(nil, l.Relay), nil)
}

// ownFD returns fd, or with dup a duplicate that outlives it.
func ownFD(fd int, dup bool) (int, error) {
	if !dup {
		return fd, nil
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return -1, fmt.Errorf("duplicate socket: %w", err)
	}
	return own, nil
}

// slice exports some connections; more reports whether there are others. The fds
// are duplicates: the loop may close its own before they are sent.
func (e *exporter) slice() (items []handoff.Item, more bool, err error) {
	// Chargers may belong to a link that joined after the last slice.
	if items, err = e.exportLinks(nil); err != nil {
		return items, false, err
	}
	e.buf, more = e.shard.Loop.Export(e.buf[:0], e.size, e.ids)
	slots := map[uint64]journal.Slot{}
	for _, c := range e.buf {
		fd, err := ownFD(c.FD, true)
		if err != nil {
			return items, more, err
		}
		items = append(items, handoff.Item{ID: uint64(c.ID), FD: fd, State: e.chargerItem(c)})
		if c.Conn.Kept() {
			slots[uint64(c.ID)] = c.Conn.Slot()
		}
	}
	return e.slots(items, slots), more, nil
}

func (e *exporter) chargerItem(c conn.Exported) []byte {
	var second []byte
	if charger, ok := c.Conn.User.(*relay.Charger); ok {
		second = e.shard.Relay.AppendCharger(nil, charger)
	}
	return item.Append(nil, itemCharger, e.shard.Index, c.State, second)
}

// changes is what happened to what was exported, in the order in which it is
// sent: no charger is there twice then, and none before its owner.
type changes struct {
	newLinks    []handoff.Item
	gone        []uint64       // connections
	updates     []handoff.Item // connections; at the freeze links, too
	newChargers []handoff.Item // with a connection, or without
	goneLinks   []uint64
}

func (c *changes) len() int {
	return len(c.newLinks) + len(c.gone) + len(c.updates) + len(c.newChargers) + len(c.goneLinks)
}

// changes exports what has changed since the last time. last is true at the
// freeze: the fds are the shard's own then.
func (e *exporter) changes(last bool) (c changes, err error) {
	e.shard.FlushEnded() // before all else: other links then have more to deliver
	slots := map[uint64]journal.Slot{}
	for _, l := range e.shard.Links() {
		if id, known := e.links[l]; !known {
			if c.newLinks, err = e.exportLink(c.newLinks, l, !last); err != nil {
				return c, err
			}
		} else if last {
			c.updates = append(c.updates, handoff.Item{ID: id, FD: -1, State: e.linkItem(l)})
			if slot, kept := l.Slot(); kept { // perhaps since it was exported
				slots[id] = slot
			}
		}
	}
	if last {
		c.newLinks = e.slots(c.newLinks, slots)
	}
	if err := e.changedConnections(&c, last); err != nil || !last {
		return c, err
	}
	e.shard.Relay.Offline(func(charger *relay.Charger) {
		state := item.Append(nil, itemOffline, e.shard.Index, nil, e.shard.Relay.AppendCharger(nil, charger))
		c.newChargers = append(c.newChargers, handoff.Item{ID: uint64(e.ids.Add(1)), FD: -1, State: state})
	})
	for l, id := range e.links {
		if l.Closed() {
			c.goneLinks = append(c.goneLinks, id)
		}
	}
	return c, nil
}

func (e *exporter) changedConnections(c *changes, last bool) error {
	for _, charger := range e.shard.Relay.TakeChanged() {
		if handle, ok := charger.Conn(); ok {
			if held := e.shard.Loop.Lookup(handle); held != nil {
				held.Touch()
			}
		}
	}
	changed, gone := e.shard.Loop.ExportChanged(e.buf[:0], e.ids)
	e.buf = changed
	for _, id := range gone {
		c.gone = append(c.gone, uint64(id))
	}
	slots := map[uint64]journal.Slot{}
	for _, held := range changed {
		if held.Conn.Kept() { // perhaps since it was exported
			slots[uint64(held.ID)] = held.Conn.Slot()
		}
		if held.Again {
			c.updates = append(c.updates, handoff.Item{ID: uint64(held.ID), FD: -1, State: e.chargerItem(held)})
			continue
		}
		fd, err := ownFD(held.FD, !last)
		if err != nil {
			return err
		}
		c.newChargers = append(c.newChargers, handoff.Item{ID: uint64(held.ID), FD: fd, State: e.chargerItem(held)})
	}
	c.newChargers = e.slots(c.newChargers, slots)
	return nil
}

// send sends the changes to the new process.
func (c *changes) send(old *handoff.Old) error {
	for _, step := range []struct {
		items []handoff.Item
		drops []uint64
		do    func(handoff.Item) error
	}{
		{items: c.newLinks, do: old.Put},
		{drops: c.gone},
		{items: c.updates, do: func(it handoff.Item) error { return old.Update(it.ID, it.State) }},
		{items: c.newChargers, do: old.Put},
		{drops: c.goneLinks},
	} {
		for _, it := range step.items {
			if err := step.do(it); err != nil {
				return err
			}
		}
		for _, id := range step.drops {
			if err := old.Drop(id); err != nil {
				return err
			}
		}
	}
	return old.Send()
}
