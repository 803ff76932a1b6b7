package upgrade

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"holdfast/cmd/holdfast/shard"
	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"
	"holdfast/unixipc/handoff"

	"golang.org/x/sys/unix"
)

// exporter is a shard's side of a hand-over in the old process. Its methods run on
// the loop, or while the loop stands still.
type exporter struct {
	*shard.Shard
	ids   *atomic.Uint32
	links map[*shard.Link]uint64 // ids of those exported
	adds  bool                   // the new process knows additions
	buf   []conn.Exported
}

// sliceSize is how many connections are exported in one turn of a loop.
const sliceSize = 128

// begin starts to keep account of changes, and exports the links. It
// runs on the loop. The fds are duplicates.
func (x *exporter) begin() (items []handoff.Item, err error) {
	x.Relay.BeginHandover()
	x.Loop.BeginHandover(x.adds)
	return x.exportLinks(nil)
}

// exportLinks exports the links that were not exported yet.
func (x *exporter) exportLinks(items []handoff.Item) (_ []handoff.Item, err error) {
	for _, l := range x.Shard.Links {
		if _, ok := x.links[l]; ok {
			continue
		}
		if items, err = x.exportLink(items, l, true); err != nil {
			return items, err
		}
	}
	return items, nil
}

func (x *exporter) exportLink(items []handoff.Item, l *shard.Link, dup bool) ([]handoff.Item, error) {
	fd, err := ownFD(l.Source.Fd(), dup)
	if err != nil {
		return items, err
	}
	id := uint64(x.ids.Add(1))
	x.links[l] = id
	return append(items, handoff.Item{ID: id, FD: fd, State: x.linkItem(l)}), nil
}

func (x *exporter) linkItem(l *shard.Link) []byte {
	return appendItem(nil, itemLink, x.Index, x.Relay.AppendLink(nil, l.Relay), nil)
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

// slice exports some connections; more tells whether there are others.
// It runs on the loop. The fds are duplicates: the loop may close its own
// before they are sent.
func (x *exporter) slice() (items []handoff.Item, more bool, err error) {
	// Chargers may belong to a link that joined after the last slice.
	if items, err = x.exportLinks(nil); err != nil {
		return items, false, err
	}
	x.buf, more = x.Loop.Export(x.buf[:0], sliceSize, x.ids)
	for _, e := range x.buf {
		fd, err := ownFD(e.FD, true)
		if err != nil {
			return items, more, err
		}
		items = append(items, handoff.Item{ID: uint64(e.ID), FD: fd, State: x.chargerItem(e)})
	}
	return items, more, nil
}

func (x *exporter) chargerItem(e conn.Exported) []byte {
	var second []byte
	if c, ok := e.Conn.User.(*relay.Charger); ok {
		second = x.Relay.AppendCharger(nil, c)
	}
	return appendItem(nil, itemCharger, x.Index, e.State, second)
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

// changes exports what has changed since the last time. It runs on the
// loop, or, the last time, while the loop stands still.
func (x *exporter) changes(last bool) (c changes, err error) {
	// First of all: it gives the others more to deliver.
	for _, l := range x.Shard.Links {
		if _, ended := l.Relay.Ended(); ended {
			l.Flush() // says why, and closes it
		}
	}
	for _, l := range x.Shard.Links {
		if id, known := x.links[l]; !known {
			if c.puts, err = x.exportLink(c.puts, l, !last); err != nil {
				return c, err
			}
		} else if last {
			c.updates = append(c.updates, handoff.Item{ID: id, FD: -1, State: x.linkItem(l)})
		}
	}
	for _, charger := range x.Relay.TakeChanged() {
		if handle, ok := charger.Conn(); ok {
			if held := x.Loop.Lookup(handle); held != nil {
				held.Touch()
			}
		}
	}
	changed, gone := x.Loop.ExportChanged(x.buf[:0], x.ids)
	x.buf = changed
	for _, id := range gone {
		c.drops = append(c.drops, uint64(id))
	}
	for _, e := range changed {
		if e.Again {
			c.updates = append(c.updates, handoff.Item{ID: uint64(e.ID), FD: -1, State: x.chargerItem(e)})
			continue
		}
		fd, err := ownFD(e.FD, !last)
		if err != nil {
			return c, err
		}
		c.more = append(c.more, handoff.Item{ID: uint64(e.ID), FD: fd, State: x.chargerItem(e)})
	}
	if !last {
		return c, nil
	}
	x.Relay.Offline(func(charger *relay.Charger) {
		c.more = append(c.more, handoff.Item{ID: uint64(x.ids.Add(1)), FD: -1, State: appendItem(nil, itemOffline, x.Index, nil, x.Relay.AppendCharger(nil, charger))})
	})
	for l, id := range x.links {
		if l.Source == nil {
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

// end undoes begin.
func (x *exporter) end() {
	x.Loop.EndHandover()
	x.Relay.EndHandover()
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

func (h *handOverLate) Open(w *shard.Shard, fd int, s conn.State, early []byte) {
	h.send(w, fd, appendItem(nil, itemLateOpen, w.Index, conn.AppendState(nil, s, early), nil), s.Identity)
}

func (h *handOverLate) Join(w *shard.Shard, fd int, hello unixipc.HelloBody, p unixipc.Peer, operator bool, rest []byte) {
	first, _ := json.Marshal(lateHello{hello, p.PID, p.UID, p.GID, operator})
	h.send(w, fd, appendItem(nil, itemLateJoin, w.Index, first, rest), hello.Name)
}

func (h *handOverLate) send(w *shard.Shard, fd int, state []byte, name string) {
	if err := h.old.Late(handoff.Item{ID: uint64(h.ids.Add(1)), FD: fd, State: state}); err != nil {
		w.Log.Error("late hand-over failed: the connection is lost", "name", name, "err", err)
	}
	_ = unix.Close(fd) // the new process has its own
}
