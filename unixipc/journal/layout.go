package journal

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The layout of the memory. Both processes run on one machine, so numbers are in its byte
// order. Whatever is changed here gets another magic: a memory is read by a release that
// knows it, or not at all.
const (
	magic      = 0x32_6c_6e_72_6a_66_68_00 // "\0hfjrnl2"
	magicEnded = magic + 1

	maxReads  = 1024             // in a turn
	arenaSize = 16 << 20         // bytes of those reads
	maxSlots  = 1 << 20          //
	dataSize  = int64(128) << 30 // of address space, not of memory

	headerAt = 0
	readsAt  = 4096
	arenaAt  = readsAt + maxReads*int64(unsafe.Sizeof(read{}))
	slotsAt  = arenaAt + arenaSize
	dataAt   = slotsAt + maxSlots*int64(unsafe.Sizeof(slot{}))
	fileSize = dataAt + dataSize

	notes = arenaAt // bytes from the beginning that must be present
)

// header is the first page.
type header struct {
	magic uint64
	turn  uint64 // the word: the last valid turn
	used  uint64 // slots behind it were never given out

	// Reads of turn readTurn, in reads[:readCount]. They count only if it is the turn
	// behind the word: the bytes were taken from sockets, and nothing came of them.
	readTurn  uint64
	readCount uint64

	// The write that is under way, or the last one: of the version of writeTurn.
	writeSlot   uint64 // 0: none
	writeTurn   uint64
	writeBefore uint64 // its version.written before
	write       note

	// opened is how many processes have gone on from this memory, or have tried to.
	opened uint64

	// working is the slot whose input is being handled, and again; 0: none.
	working uint64
}

// note is what recvmmsg and sendmmsg take, struct mmsghdr, and the struct iovec that it
// leads to: the kernel stores length. Addresses are numbers here: what the garbage
// collector took for a pointer, and found in this memory, it would follow.
type note struct {
	msg struct {
		name    uintptr
		namelen uint32
		_       uint32
		iov     uintptr
		iovlen  uint64
		control uintptr
		ctrllen uint64
		flags   int32
		_       uint32
	}
	length uint32
	_      uint32

	base uintptr
	len  uint64
}

// It is the kernel's layout, on the machines that this is built for.
var (
	_ [unsafe.Sizeof(unix.Msghdr{})]byte = [unsafe.Sizeof(note{}.msg)]byte{}
	_ [unsafe.Sizeof(unix.Iovec{})]byte  = [unsafe.Sizeof(note{}.base) + unsafe.Sizeof(note{}.len)]byte{}
)

// lead has n lead to its own iovec.
func (n *note) lead() { n.msg.iov, n.msg.iovlen = uintptr(unsafe.Pointer(&n.base)), 1 }

// pending is the length of what the kernel has not done.
const pending = ^uint32(0)

// read is one read.
type read struct {
	slot uint64
	off  uint64 // in the arena
	note note
}

// slot is an item.
type slot struct{ versions [2]version }

// version is one state of an item.
type version struct {
	turn    uint64 // in which it was written; 0: never
	off     uint64 // of the blob, in data
	size    uint32 // of the blob; 0: there is no item
	sum     uint32 // CRC-32C of the blob
	written uint32 // bytes of its output that are written since

	extended uint32 // 1: the blob ends with an Extent
}

// at returns what is at an offset of the memory.
func at[T any](m []byte, off int64) *T { return (*T)(unsafe.Pointer(&m[off])) }
