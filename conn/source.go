package conn

import (
	"syscall"

	"holdfast/unixipc/journal"

	"golang.org/x/sys/unix"
)

// A Source is a socket in the loop that is not a charger's: the loop reports when
// it is ready, and its owner reads and writes it.
type Source struct {
	loop       *Loop
	fd         int
	slot       int32
	generation uint32
	interest   uint32
	saved      journal.Slot
	kept       bool
	ready      func(readable, writable, hungUp bool)
}

// sources finds the Source of an event.
type sources struct {
	slots      []*Source // event slot -2-i
	generation uint32
}

func (s *sources) ready(ev unix.EpollEvent) {
	src := s.slots[-2-ev.Fd]
	if src == nil || src.generation != uint32(ev.Pad) {
		return // closed earlier in this turn
	}
	src.loop.work(src.saved)
	src.ready(ev.Events&readable != 0, ev.Events&writable != 0, ev.Events&hungUp != 0)
}

// Watch adds the non-blocking socket fd to the loop, which owns it from then
// on, unless there is an error. ready is called on the loop.
func (l *Loop) Watch(fd int, ready func(readable, writable, hungUp bool)) (*Source, error) {
	at := -1
	for i, s := range l.sources.slots {
		if s == nil {
			at = i
			break
		}
	}
	if at < 0 {
		at = len(l.sources.slots)
		l.sources.slots = append(l.sources.slots, nil)
	}
	l.sources.generation++
	s := &Source{loop: l, fd: fd, slot: int32(-2 - at), generation: l.sources.generation, interest: readable, ready: ready}
	if err := l.poller.add(fd, s.slot, s.generation, s.interest); err != nil {
		return nil, err
	}
	l.sources.slots[at] = s
	return s, nil
}

// Fd is the socket.
func (s *Source) Fd() int { return s.fd }

// Read reads once; the bytes are good until the next read of the loop. See the function
// Read.
func (s *Source) Read() ([]byte, syscall.Errno) { return s.loop.readFor(s.saved, s.kept, s.fd) }

// Write is the function Write. With a keeper, b is output that is written down.
func (s *Source) Write(b []byte) (n int, errno syscall.Errno) {
	return s.loop.writeFor(s.saved, s.kept, s.fd, b)
}

// Settle gives the socket a slot of the journal that its owner writes its state to. kept:
// a keeper has a duplicate of it.
func (s *Source) Settle(slot journal.Slot, kept bool) { s.saved, s.kept = slot, kept }

// Slot is what Settle was called with; 0: it was not.
func (s *Source) Slot() journal.Slot { return s.saved }

// Kept reports whether a keeper has a duplicate of the socket.
func (s *Source) Kept() bool { return s.kept }

// Want sets which kinds of readiness to report.
func (s *Source) Want(read, write bool) error {
	var interest uint32
	if read {
		interest |= readable
	}
	if write {
		interest |= writable
	}
	if interest == s.interest {
		return nil
	}
	s.interest = interest
	return s.loop.poller.modify(s.fd, s.slot, s.generation, interest)
}

// Release takes the socket out of the loop and closes it, but leaves the
// connection to another process that holds it.
func (s *Source) Release() {
	s.loop.sources.slots[-2-s.slot] = nil
	_ = s.loop.poller.remove(s.fd)
	_ = unix.Close(s.fd)
}

// Close takes the socket out of the loop and closes it. The connection ends
// even if another process holds a duplicate.
func (s *Source) Close() {
	s.loop.sources.slots[-2-s.slot] = nil
	_ = s.loop.poller.remove(s.fd)
	_ = unix.Shutdown(s.fd, unix.SHUT_RDWR)
	_ = unix.Close(s.fd)
}
