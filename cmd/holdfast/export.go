package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"
	"holdfast/unixipc/handoff"

	"golang.org/x/sys/unix"
)

// export is a world's side of a hand-over in the old process.
type export struct {
	links map[*link]uint64 // ids of those exported
	buf   []conn.Exported
}

// slice is how many connections are exported in one turn of a loop.
const slice = 128

// beginExport starts to keep account of changes, and exports the links. It
// runs on the loop. The fds are duplicates.
func (w *world) beginExport(ids *atomic.Uint32) (items []handoff.Item, err error) {
	w.relay.SetNow(w.loop.Now())
	w.relay.BeginHandover()
	w.loop.BeginHandover()
	w.export = &export{links: map[*link]uint64{}}
	return w.exportLinks(nil, ids)
}

// exportLinks exports the links that were not exported yet.
func (w *world) exportLinks(items []handoff.Item, ids *atomic.Uint32) (_ []handoff.Item, err error) {
	for _, l := range w.links {
		if _, ok := w.export.links[l]; ok {
			continue
		}
		if items, err = w.exportLink(items, l, ids, true); err != nil {
			return items, err
		}
	}
	return items, nil
}

func (w *world) exportLink(items []handoff.Item, l *link, ids *atomic.Uint32, dup bool) ([]handoff.Item, error) {
	fd, err := ownFD(l.source.Fd(), dup)
	if err != nil {
		return items, err
	}
	id := uint64(ids.Add(1))
	w.export.links[l] = id
	return append(items, handoff.Item{ID: id, FD: fd, State: w.linkItem(l)}), nil
}

func (w *world) linkItem(l *link) []byte {
	return appendItem(nil, itemLink, w.index, w.relay.AppendLink(nil, l.relay), nil)
}

// ownFD is fd, or a duplicate that outlives it.
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

// exportSlice exports some connections; more tells whether there are others.
// It runs on the loop. The fds are duplicates: the loop may close its own
// before they are sent.
func (w *world) exportSlice(ids *atomic.Uint32) (items []handoff.Item, more bool, err error) {
	w.relay.SetNow(w.loop.Now())
	// Chargers may belong to a link that joined after the last slice.
	if items, err = w.exportLinks(nil, ids); err != nil {
		return items, false, err
	}
	w.export.buf, more = w.loop.Export(w.export.buf[:0], slice, ids)
	for _, e := range w.export.buf {
		fd, err := ownFD(e.FD, true)
		if err != nil {
			return items, more, err
		}
		items = append(items, handoff.Item{ID: uint64(e.ID), FD: fd, State: w.chargerItem(e)})
	}
	return items, more, nil
}

func (w *world) chargerItem(e conn.Exported) []byte {
	var second []byte
	if c, ok := e.Conn.User.(*relay.Charger); ok {
		second = w.relay.AppendCharger(nil, c)
	}
	return appendItem(nil, itemCharger, w.index, e.State, second)
}

// changes is what happened to what was exported, in the order in which it is to
// be told: no charger is there twice then, and none before its owner.
type changes struct {
	puts    []handoff.Item // new links
	drops   []uint64       // connections
	updates []handoff.Item // connections
	more    []handoff.Item // new connections, and chargers without one
	last    []uint64       // links that are gone
}

func (c *changes) len() int {
	return len(c.puts) + len(c.drops) + len(c.updates) + len(c.more) + len(c.last)
}

// exportChanges exports what has changed since the last time. It runs on the
// loop, or, the last time, while the loop stands still.
func (w *world) exportChanges(ids *atomic.Uint32, last bool) (c changes, err error) {
	w.relay.SetNow(time.Now())
	// First of all: it gives the others more to deliver.
	for _, l := range w.links {
		if _, ended := l.relay.Ended(); ended {
			l.flush() // says why, and closes it
		}
	}
	for _, l := range w.links {
		if id, known := w.export.links[l]; !known {
			if c.puts, err = w.exportLink(c.puts, l, ids, !last); err != nil {
				return c, err
			}
		} else if last {
			c.updates = append(c.updates, handoff.Item{ID: id, FD: -1, State: w.linkItem(l)})
		}
	}
	for _, charger := range w.relay.TakeChanged() {
		if handle, ok := charger.Conn(); ok {
			if held := w.loop.Lookup(handle); held != nil {
				held.Touch()
			}
		}
	}
	changed, gone := w.loop.ExportChanged(w.export.buf[:0], ids)
	w.export.buf = changed
	for _, id := range gone {
		c.drops = append(c.drops, uint64(id))
	}
	for _, e := range changed {
		if e.Again {
			c.updates = append(c.updates, handoff.Item{ID: uint64(e.ID), FD: -1, State: w.chargerItem(e)})
			continue
		}
		fd, err := ownFD(e.FD, !last)
		if err != nil {
			return c, err
		}
		c.more = append(c.more, handoff.Item{ID: uint64(e.ID), FD: fd, State: w.chargerItem(e)})
	}
	if !last {
		return c, nil
	}
	w.relay.Offline(func(charger *relay.Charger) {
		c.more = append(c.more, handoff.Item{ID: uint64(ids.Add(1)), FD: -1, State: appendItem(nil, itemOffline, w.index, nil, w.relay.AppendCharger(nil, charger))})
	})
	for l, id := range w.export.links {
		if l.source == nil {
			c.last = append(c.last, id)
		}
	}
	return c, nil
}

// send tells them to the new process.
func (c *changes) send(o *handoff.Old) error {
	for _, step := range []struct {
		items []handoff.Item
		drops []uint64
		do    func(handoff.Item) error
	}{
		{items: c.puts, do: o.Put},
		{drops: c.drops},
		{items: c.updates, do: func(it handoff.Item) error { return o.Update(it.ID, it.State) }},
		{items: c.more, do: o.Put},
		{drops: c.last},
	} {
		for _, it := range step.items {
			if err := step.do(it); err != nil {
				return err
			}
		}
		for _, id := range step.drops {
			if err := o.Drop(id); err != nil {
				return err
			}
		}
	}
	return o.Send()
}

// endExport undoes beginExport.
func (w *world) endExport() {
	w.loop.EndHandover()
	w.relay.EndHandover()
	w.export = nil
}

// frozenItem tells when the loops stopped, and what had been counted by then. A
// release that counts nothing passes over that.
func frozenItem(at time.Time, counters []byte, ids *atomic.Uint32) handoff.Item {
	return handoff.Item{ID: uint64(ids.Add(1)), FD: -1, State: appendItem(nil, itemFrozen, 0, binary.BigEndian.AppendUint64(nil, uint64(at.UnixNano())), counters)}
}

// lateHello is the first part of itemLateJoin.
type lateHello struct {
	Hello unixipc.HelloBody
	PID   int
	UID   int
	GID   int

	Operator bool
}

// handOverLate sends what became ready after the loops had stopped.
type handOverLate struct {
	old *handoff.Old
	ids *atomic.Uint32
}

func (h *handOverLate) open(w *world, fd int, s conn.State, early []byte) {
	h.send(w, fd, appendItem(nil, itemLateOpen, w.index, conn.AppendState(nil, s, early), nil), s.Identity)
}

func (h *handOverLate) join(w *world, fd int, hello unixipc.HelloBody, p unixipc.Peer, operator bool, rest []byte) {
	first, _ := json.Marshal(lateHello{hello, p.PID, p.UID, p.GID, operator})
	h.send(w, fd, appendItem(nil, itemLateJoin, w.index, first, rest), hello.Name)
}

func (h *handOverLate) send(w *world, fd int, state []byte, name string) {
	if err := h.old.Late(handoff.Item{ID: uint64(h.ids.Add(1)), FD: fd, State: state}); err != nil {
		w.log.Error("late hand-over failed: the connection is lost", "name", name, "err", err)
	}
	_ = unix.Close(fd) // the new process has its own
}
