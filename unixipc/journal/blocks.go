package journal

import (
	"fmt"
	"math/bits"

	"golang.org/x/sys/unix"
)

// blocks gives out blocks of the data. It is known to the process alone.
//
// The data are chunks. A chunk belongs to one size class, and is cut into blocks of that
// size; once all of them are free it belongs to none, and takes no memory. A large block is
// a run of chunks. So what all items together have taken at their worst is given back,
// whatever sizes they had.
type blocks struct {
	chunks []chunk             // that were ever used
	rooms  [classes][]uint32   // chunks of each class that may have room; some are another's by now, or full
	empty  []uint32            // chunks that belong to no class
	runs   map[uint32][]uint32 // free runs by their length, each by its first chunk
	idle   int                 // bytes of chunks without a class, and of free runs, that still take memory
}

type chunk struct {
	class int16 // none, or large
	used  uint16
	next  uint16   // blocks behind it were never used
	free  []uint16 // of the others
	idle  bool     // without a class, and it still takes memory
}

const (
	grain     = 64
	linear    = 1 << 10 // up to here classes are multiples of grain, then four to each doubling
	most      = 16 << 10
	chunkSize = 64 << 10
	classes   = linear/grain + 4*4

	none  = -1
	large = -2

	// maxIdle is how much is kept for use: giving memory back, and taking it again, costs
	// more than copying into it.
	maxIdle = 4 << 20
)

// class returns the class of a size up to most, and its block's size.
func class(size int) (at int, block int) {
	if size <= linear {
		n := max(1, (size+grain-1)/grain)
		return n - 1, n * grain
	}
	top := bits.Len(uint(size-1)) - 1 // 2^top < size <= 2^(top+1)
	step := 1 << (top - 2)
	n := (size - 1<<top + step - 1) / step // 1 to 4
	return linear/grain + 4*(top-10) + n - 1, 1<<top + n*step
}

func chunksFor(size int) uint32 { return uint32((size + chunkSize - 1) / chunkSize) }

// take returns the offset of a block for size bytes.
func (b *blocks) take(size int) (off uint64) {
	if size > most {
		return uint64(b.takeRun(chunksFor(size))) * chunkSize
	}
	c, block := class(size)
	for {
		n := len(b.rooms[c])
		if n == 0 {
			b.rooms[c] = append(b.rooms[c], b.takeChunk(c))
			continue
		}
		id := b.rooms[c][n-1]
		k := &b.chunks[id]
		if int(k.class) != c || int(k.used) == chunkSize/block {
			b.rooms[c] = b.rooms[c][:n-1]
			continue
		}
		at := k.next
		if n := len(k.free); n > 0 {
			at, k.free = k.free[n-1], k.free[:n-1]
		} else {
			k.next++
		}
		k.used++
		return uint64(id)*chunkSize + uint64(at)*uint64(block)
	}
}

// takeChunk returns a chunk that belongs to class c from now on.
func (b *blocks) takeChunk(c int) (id uint32) {
	if n := len(b.empty); n > 0 {
		id, b.empty = b.empty[n-1], b.empty[:n-1]
	} else {
		id = b.grow(1)
	}
	k := &b.chunks[id]
	if k.idle {
		b.idle -= chunkSize
	}
	*k = chunk{class: int16(c)}
	return id
}

func (b *blocks) takeRun(n uint32) (first uint32) {
	if free := b.runs[n]; len(free) > 0 {
		first, b.runs[n] = free[len(free)-1], free[:len(free)-1]
	} else {
		first = b.grow(n)
	}
	k := &b.chunks[first]
	if k.idle {
		b.idle -= int(n) * chunkSize
	}
	*k = chunk{class: large}
	return first
}

// grow returns the first of n chunks that were never used.
func (b *blocks) grow(n uint32) (first uint32) {
	first = uint32(len(b.chunks))
	for range n {
		b.chunks = append(b.chunks, chunk{class: none})
	}
	if int64(len(b.chunks))*chunkSize > dataSize {
		panic(fmt.Sprintf("journal: more than %d bytes", dataSize)) // more than any machine's memory
	}
	return first
}

// release gives the block for size bytes at off back.
func (b *blocks) release(m []byte, off uint64, size uint32) {
	if size == 0 {
		return
	}
	id := uint32(off / chunkSize)
	k := &b.chunks[id]
	if size > most {
		n := chunksFor(int(size))
		if b.runs == nil {
			b.runs = map[uint32][]uint32{}
		}
		b.runs[n] = append(b.runs[n], id)
		*k = chunk{class: none, idle: b.retire(m, id, n)}
		return
	}
	c, block := class(int(size))
	if int(k.used) == chunkSize/block {
		b.rooms[c] = append(b.rooms[c], id)
	}
	if k.used--; k.used > 0 {
		k.free = append(k.free, uint16(off%chunkSize/uint64(block)))
		return
	}
	b.empty = append(b.empty, id)
	*k = chunk{class: none, idle: b.retire(m, id, 1)}
}

// retire gives the memory of n chunks back, or keeps it for the next who takes them.
func (b *blocks) retire(m []byte, first, n uint32) (idle bool) {
	size := int(n) * chunkSize
	if b.idle+size <= maxIdle {
		b.idle += size
		return true
	}
	at := dataAt + int64(first)*chunkSize
	_ = unix.Madvise(m[at:at+int64(size)], unix.MADV_REMOVE)
	return false
}
