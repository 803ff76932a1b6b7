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
	for _, l := range w.links {
		if items, err = w.exportLink(items, l, ids, true); err != nil {
			return items, err
		}
	}
	return items, nil
}

func (w *world) exportLink(items []handoff.Item, l *link, ids *atomic.Uint32, dup bool) ([]handoff.Item, error) {
	fd := l.source.Fd()
	if dup {
		var err error
		if fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3); err != nil {
			return items, fmt.Errorf("duplicate link: %w", err)
		}
	}
	id := uint64(ids.Add(1))
	w.export.links[l] = id
	return append(items, handoff.Item{ID: id, FD: fd, State: appendItem(nil, itemLink, w.index, w.relay.AppendLink(nil, l.relay), nil)}), nil
}

// exportSlice exports some connections; more tells whether there are others.
// It runs on the loop. The fds are duplicates: the loop may close its own
// before they are sent.
func (w *world) exportSlice(ids *atomic.Uint32) (items []handoff.Item, more bool, err error) {
	w.relay.SetNow(w.loop.Now())
	w.export.buf, more = w.loop.Export(w.export.buf[:0], slice, ids)
	for _, e := range w.export.buf {
		fd, err := unix.FcntlInt(uintptr(e.FD), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return items, more, fmt.Errorf("duplicate connection: %w", err)
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

// exportRest hands over, while the loop stands still, what the slices have not,
// or not as it is now. The order makes sure that no charger is there twice, and
// none before its owner.
func (w *world) exportRest(o *handoff.Old, ids *atomic.Uint32) error {
	w.relay.SetNow(time.Now())
	for _, l := range w.links {
		id, again := w.export.links[l]
		if again {
			if err := o.Update(id, appendItem(nil, itemLink, w.index, w.relay.AppendLink(nil, l.relay), nil)); err != nil {
				return err
			}
			continue
		}
		items, err := w.exportLink(nil, l, ids, false)
		if err != nil {
			return err
		}
		if err := o.Put(items[0]); err != nil {
			return err
		}
	}
	for _, c := range w.relay.Changed() {
		if handle, ok := c.Conn(); ok {
			if held := w.loop.Lookup(handle); held != nil {
				held.Touch()
			}
		}
	}
	rest, gone := w.loop.ExportRest(w.export.buf[:0], ids)
	for _, id := range gone {
		if err := o.Drop(uint64(id)); err != nil {
			return err
		}
	}
	for _, again := range []bool{true, false} {
		for _, e := range rest {
			var err error
			switch {
			case e.Again != again:
			case again:
				err = o.Update(uint64(e.ID), w.chargerItem(e))
			default:
				err = o.Put(handoff.Item{ID: uint64(e.ID), FD: e.FD, State: w.chargerItem(e)})
			}
			if err != nil {
				return err
			}
		}
	}
	var failed error
	w.relay.Offline(func(c *relay.Charger) {
		if failed == nil {
			failed = o.Put(handoff.Item{ID: uint64(ids.Add(1)), FD: -1, State: appendItem(nil, itemOffline, w.index, nil, w.relay.AppendCharger(nil, c))})
		}
	})
	if failed != nil {
		return failed
	}
	for l, id := range w.export.links {
		if l.source == nil {
			if err := o.Drop(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// endExport undoes beginExport.
func (w *world) endExport() {
	w.loop.EndHandover()
	w.relay.EndHandover()
	w.export = nil
}

// frozenItem tells when the loops stopped.
func frozenItem(at time.Time, ids *atomic.Uint32) handoff.Item {
	return handoff.Item{ID: uint64(ids.Add(1)), FD: -1, State: appendItem(nil, itemFrozen, 0, binary.BigEndian.AppendUint64(nil, uint64(at.UnixNano())), nil)}
}

// lateHello is the first part of itemLateJoin.
type lateHello struct {
	Hello unixipc.HelloBody
	PID   int
	UID   int
}

// handOverLate sends what became ready after the loops had stopped.
type handOverLate struct {
	old *handoff.Old
	ids *atomic.Uint32
}

func (h *handOverLate) open(w *world, fd int, s conn.State, early []byte) {
	h.send(w, fd, appendItem(nil, itemLateOpen, w.index, conn.AppendState(nil, s, early), nil), s.Identity)
}

func (h *handOverLate) join(w *world, fd int, hello unixipc.HelloBody, p peer, rest []byte) {
	first, _ := json.Marshal(lateHello{hello, p.pid, p.uid})
	h.send(w, fd, appendItem(nil, itemLateJoin, w.index, first, rest), hello.Name)
}

func (h *handOverLate) send(w *world, fd int, state []byte, name string) {
	if err := h.old.Late(handoff.Item{ID: uint64(h.ids.Add(1)), FD: fd, State: state}); err != nil {
		w.log.Error("late hand-over failed: the connection is lost", "name", name, "err", err)
	}
	_ = unix.Close(fd) // the new process has its own
}
