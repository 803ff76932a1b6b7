package journal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Slot names an item. The zero Slot is none.
type Slot uint32

// A Journal is memory that is written.
type Journal struct {
	fd     int
	m      []byte
	header *header
	reads  *[maxReads]read
	slots  *[maxSlots]slot
	turn   uint64 // the last valid one
	arena  int    // bytes of it that are used in this turn

	blocks  blocks
	used    Slot     // slots given out ever, from 1
	free    []Slot   // given out before, and committed to be free
	freeing []Slot   // dropped in this turn
	changed []Slot   // put or dropped in this turn
	unused  []Extent // released in this turn
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// New makes an empty memory.
func New() (*Journal, error) {
	fd, err := unix.MemfdCreate("holdfast", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	if err := unix.Ftruncate(fd, fileSize); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("journal: %w", err)
	}
	m, err := unix.Mmap(fd, 0, int(fileSize), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("journal: map: %w", err)
	}
	_ = unix.Madvise(m, unix.MADV_DONTDUMP) // secrets; and a core of this size
	if err := unix.Fallocate(fd, 0, 0, notes); err != nil {
		_ = unix.Munmap(m)
		_ = unix.Close(fd)
		return nil, fmt.Errorf("journal: %w", err)
	}
	clear(m[:notes])
	_ = unix.Mlock(m[:notes]) // over RLIMIT_MEMLOCK it is present all the same, unless it is swapped
	j := &Journal{
		fd: fd, m: m, header: at[header](m, headerAt),
		reads: at[[maxReads]read](m, readsAt), slots: at[[maxSlots]slot](m, slotsAt),
	}
	j.header.magic = magic
	for i := range j.reads {
		j.reads[i].note.lead()
	}
	j.header.write.lead()
	return j, nil
}

// FD is the memfd, which stays the journal's.
func (j *Journal) FD() int { return j.fd }

// Turn is the last valid turn.
func (j *Journal) Turn() uint64 { return j.turn }

// Close gives the memory up here; it lives on as long as anybody else has it.
func (j *Journal) Close() {
	_ = unix.Munmap(j.m)
	_ = unix.Close(j.fd)
}

// Void has Open refuse the memory: its owner goes on without it, and it is out of date from
// here on.
func (j *Journal) Void() { atomic.StoreUint64(&j.header.magic, 0) }

// End notes that the owner has ended in order, and that nothing is left: Open returns
// ErrEnded.
func (j *Journal) End() { atomic.StoreUint64(&j.header.magic, magicEnded) }

// Room returns how many more items there can be.
func (j *Journal) Room() int { return maxSlots - 1 - int(j.used) + len(j.free) }

// Add returns a free slot; 0: there is none.
func (j *Journal) Add() Slot {
	if j.Room() == 0 {
		return 0
	}
	if n := len(j.free); n > 0 {
		s := j.free[n-1]
		j.free = j.free[:n-1]
		return s
	}
	j.use(j.used + 1)
	return j.used
}

func (j *Journal) use(s Slot) {
	j.used = max(j.used, s)
	atomic.StoreUint64(&j.header.used, uint64(j.used))
}

// Take returns slot s, in a journal into which another one's items are taken over, each
// under the slot that it had. Call Taken when all are there.
func (j *Journal) Take(s Slot) error {
	if s == 0 || s >= maxSlots || j.current(s).size != 0 {
		return fmt.Errorf("journal: slot %d cannot be taken", s)
	}
	j.use(s)
	return nil
}

// Taken finds the slots that are free between those that were taken and put.
func (j *Journal) Taken() {
	j.free, j.freeing = j.free[:0], j.freeing[:0]
	for s := Slot(1); s <= j.used; s++ {
		if j.current(s).size == 0 {
			j.free = append(j.free, s)
		}
	}
}

// current is the newest version of s, committed or not.
func (j *Journal) current(s Slot) *version {
	v := &j.slots[s].versions
	if v[1].turn > v[0].turn {
		return &v[1]
	}
	return &v[0]
}

// next is the version of s that is written in this turn.
func (j *Journal) next(s Slot) *version {
	v := &j.slots[s].versions
	newest, other := &v[0], &v[1]
	if other.turn > newest.turn {
		newest, other = other, newest
	}
	if newest.turn > j.turn { // again in this turn
		j.blocks.release(j.m, newest.off, newest.size)
		return newest
	}
	j.changed = append(j.changed, s)
	return other
}

// Put writes down the item of s, from the next Commit on.
func (j *Journal) Put(s Slot, blob []byte) {
	v := j.next(s)
	off := j.blocks.take(len(blob))
	copy(j.m[dataAt+int64(off):], blob)
	*v = version{turn: j.turn + 1, off: off, size: uint32(len(blob)), sum: crc32.Checksum(blob, castagnoli)}
}

// Drop removes the item of s, from the next Commit on. The slot is free then.
func (j *Journal) Drop(s Slot) {
	v := j.next(s)
	*v = version{turn: j.turn + 1}
	j.freeing = append(j.freeing, s)
}

// Commit makes the turn valid.
func (j *Journal) Commit() {
	j.turn++
	atomic.StoreUint64(&j.header.turn, j.turn)
	for _, s := range j.changed {
		for i := range j.slots[s].versions {
			if v := &j.slots[s].versions[i]; v.turn < j.turn && v.size > 0 {
				j.blocks.release(j.m, v.off, v.size)
				v.size = 0
			}
		}
	}
	j.changed = j.changed[:0]
	for _, e := range j.unused {
		j.blocks.release(j.m, e.off, e.room)
	}
	j.unused = j.unused[:0]
	for _, s := range j.freeing {
		if j.current(s).size == 0 { // it was not taken again
			j.free = append(j.free, s)
		}
	}
	j.freeing = j.freeing[:0]
	j.arena = 0
}

// Pending reports whether the turn has read or changed anything.
func (j *Journal) Pending() bool { return len(j.changed) > 0 || j.arena > 0 }

// Full reports whether Read has no room until the next turn.
func (j *Journal) Full() bool {
	return j.arena >= arenaSize || j.header.readTurn == j.turn+1 && j.header.readCount == maxReads
}

// Work notes that the input of s is handled next; 0: nobody's.
func (j *Journal) Work(s Slot) { atomic.StoreUint64(&j.header.working, uint64(s)) }

// WorkAgain notes that input of s is handled next that a process had handled when it died.
func (j *Journal) WorkAgain(s Slot) { atomic.StoreUint64(&j.header.working, uint64(s)|again) }

// again marks the slot in header.working.
const again = 1 << 32

// Read reads from the non-blocking socket fd of s into b, and keeps what it has read until
// the turn is over. errno is EAGAIN when there is nothing, or no room until the next turn;
// n == 0 without errno is the end of the stream. len(b) > 0.
func (j *Journal) Read(s Slot, fd int, b []byte) (n int, errno syscall.Errno) {
	h := j.header
	if h.readTurn != j.turn+1 {
		atomic.StoreUint64(&h.readCount, 0)
		atomic.StoreUint64(&h.readTurn, j.turn+1)
	}
	count := h.readCount
	size := min(len(b), arenaSize-j.arena)
	if count == maxReads || size == 0 {
		return 0, syscall.EAGAIN
	}
	r := &j.reads[count]
	r.slot, r.off = uint64(s), uint64(j.arena)
	r.note.length = pending
	r.note.base, r.note.len = uintptr(unsafe.Pointer(&j.m[arenaAt+int64(j.arena)])), uint64(size)
	atomic.StoreUint64(&h.readCount, count+1)
	errno = do(unix.SYS_RECVMMSG, fd, &r.note, unix.MSG_DONTWAIT)
	if errno != 0 && errno != syscall.EAGAIN {
		// Unlike recv, it reports an error of the socket, once, before what came ahead of
		// that: the last messages of a charger or a processor.
		if do(unix.SYS_RECVMMSG, fd, &r.note, unix.MSG_DONTWAIT) == 0 && r.note.length != 0 {
			errno = 0
		}
	}
	if errno != 0 {
		atomic.StoreUint64(&h.readCount, count)
		return 0, errno
	}
	n = int(r.note.length)
	copy(b, j.m[arenaAt+int64(j.arena):][:n])
	j.arena += (n + 63) &^ 63
	return n, 0
}

// Write writes to the non-blocking socket fd what it takes at once of b, which is output
// of the item of s as it was committed. EAGAIN: nothing. b must not be on the stack.
func (j *Journal) Write(s Slot, fd int, b []byte) (n int, errno syscall.Errno) {
	h, v := j.header, j.current(s)
	if v.turn > j.turn || v.size == 0 {
		panic("journal: written before it is committed")
	}
	atomic.StoreUint64(&h.writeSlot, 0)
	h.writeTurn, h.writeBefore = v.turn, uint64(v.written)
	h.write.length = pending
	h.write.base, h.write.len = uintptr(unsafe.Pointer(unsafe.SliceData(b))), uint64(len(b))
	atomic.StoreUint64(&h.writeSlot, uint64(s))
	errno = do(unix.SYS_SENDMMSG, fd, &h.write, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	runtime.KeepAlive(b)
	if errno != 0 {
		return 0, errno
	}
	n = int(h.write.length)
	v.written += uint32(n)
	return n, 0
}

// do calls recvmmsg or sendmmsg for one message. Its result is in note.
func do(call uintptr, fd int, n *note, flags uintptr) syscall.Errno {
	for {
		_, _, errno := syscall.RawSyscall6(call, uintptr(fd), uintptr(unsafe.Pointer(n)), 1, flags, 0, 0)
		if errno != syscall.EINTR {
			return errno
		}
	}
}

// ErrEnded is what Open says of a memory whose owner has ended in order.
var ErrEnded = errors.New("journal: its owner has ended in order")

// errMemory is what Open says of a memory that it does not know.
var errMemory = errors.New("journal: not a memory of this release")
