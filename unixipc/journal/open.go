package journal

import (
	"fmt"
	"hash/crc32"

	"golang.org/x/sys/unix"
)

// Left is what a process has left in its memory when it died.
type Left struct {
	Turn    uint64 // the last valid one
	Items   []Item
	Reads   []Input // since, in order
	Working Slot    // whose input was being handled; 0: nobody's
	Again   bool    // by WorkAgain
	Opened  int     // how many processes have opened the memory, this one included
	Broken  []Slot  // of items whose checksum fails

	m []byte
}

// Item is the state of one item in the last valid turn.
type Item struct {
	Slot    Slot
	Blob    []byte // in the memory: good until Close
	Extra   []byte // what it has in an Extent, the same
	Written int    // bytes of its output that are written since
}

// Input is what was read for an item since the last valid turn.
type Input struct {
	Slot Slot
	Data []byte // in the memory: good until Close
}

// Open reads what a process has left in the memory of fd, which stays the caller's. The
// process must be dead. That it was opened is noted there: whoever dies of that is not the
// last to try.
func Open(fd int) (*Left, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if stat.Size != fileSize {
		return nil, errMemory
	}
	m, err := unix.Mmap(fd, 0, int(fileSize), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("journal: map: %w", err)
	}
	h := at[header](m, headerAt)
	switch h.magic {
	case magic:
	case magicEnded:
		_ = unix.Munmap(m)
		return nil, ErrEnded
	default:
		_ = unix.Munmap(m)
		return nil, errMemory
	}
	h.opened++
	l := &Left{Opened: int(h.opened), Turn: h.turn, Working: Slot(h.working & (again - 1)), Again: h.working&again != 0, m: m}
	l.items(h)
	l.reads(h)
	return l, nil
}

// Close gives the memory up.
func (l *Left) Close() { _ = unix.Munmap(l.m) }

// items finds the newest version of each item that is valid.
func (l *Left) items(h *header) {
	slots := at[[maxSlots]slot](l.m, slotsAt)
	for i := 1; i <= int(min(h.used, maxSlots-1)); i++ {
		v := valid(&slots[i], h.turn)
		if v == nil || v.size == 0 {
			continue
		}
		end := v.off + uint64(v.size)
		if end > uint64(dataSize) {
			l.Broken = append(l.Broken, Slot(i))
			continue
		}
		blob := l.m[dataAt+int64(v.off) : dataAt+int64(end)]
		if crc32.Checksum(blob, castagnoli) != v.sum {
			l.Broken = append(l.Broken, Slot(i))
			continue
		}
		it := Item{Slot: Slot(i), Blob: blob, Written: int(v.written)}
		if v.extended == 1 {
			ok := false
			if it.Blob, it.Extra, ok = l.extra(blob); !ok {
				l.Broken = append(l.Broken, Slot(i))
				continue
			}
		}
		if h.writeSlot == uint64(i) && h.writeTurn == v.turn && h.write.length != pending {
			it.Written = int(h.writeBefore) + int(h.write.length)
		}
		l.Items = append(l.Items, it)
	}
}

// valid returns the newest version of s up to a turn; nil: none.
func valid(s *slot, turn uint64) (v *version) {
	for i := range s.versions {
		if w := &s.versions[i]; w.turn > 0 && w.turn <= turn && (v == nil || w.turn > v.turn) {
			v = w
		}
	}
	return v
}

// reads finds what was read since the last valid turn.
func (l *Left) reads(h *header) {
	if h.readTurn != h.turn+1 {
		return
	}
	all := at[[maxReads]read](l.m, readsAt)
	for i := range min(h.readCount, maxReads) {
		r := &all[i]
		if n := r.note.length; n != pending && n > 0 && r.off <= arenaSize && uint64(n) <= arenaSize-r.off {
			l.Reads = append(l.Reads, Input{Slot(r.slot), l.m[arenaAt+int64(r.off):][:n]})
		}
	}
}
