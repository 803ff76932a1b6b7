package journal

import (
	"fmt"
	"math/bits"

	"golang.org/x/sys/unix"
)

// blocks gives out blocks of the data, in size classes: multiples of 64 bytes up to 1 KiB,
// then four to each doubling. It is known to the process alone.
type blocks struct {
	end  uint64 // everything behind was never used
	free [classes][]uint64
}

const (
	grain   = 64
	small   = 1 << 10
	classes = small/grain + 4*32

	// punchAt is the size of a block from which on its pages are given back when it is
	// free.
	punchAt = 64 << 10
)

// class returns the class of a size, and its block's size.
func class(size int) (at int, block uint64) {
	if size <= small {
		n := max(1, (size+grain-1)/grain)
		return n - 1, uint64(n) * grain
	}
	top := bits.Len64(uint64(size-1)) - 1 // 2^top < size <= 2^(top+1)
	step := uint64(1) << (top - 2)
	n := (uint64(size) - 1<<top + step - 1) / step // 1 to 4
	return small/grain + 4*(top-10) + int(n) - 1, 1<<top + n*step
}

// take returns the offset of a block for size bytes.
func (b *blocks) take(size int) (off uint64) {
	c, block := class(size)
	if n := len(b.free[c]); n > 0 {
		off = b.free[c][n-1]
		b.free[c] = b.free[c][:n-1]
		return off
	}
	off = b.end
	if b.end += block; b.end > uint64(dataSize) {
		panic(fmt.Sprintf("journal: more than %d bytes", dataSize)) // a hundred times any machine's memory
	}
	return off
}

// release gives the block of an item of size bytes back.
func (b *blocks) release(m []byte, off uint64, size uint32) {
	if size == 0 {
		return
	}
	c, block := class(int(size))
	b.free[c] = append(b.free[c], off)
	if block >= punchAt {
		from := (dataAt + int64(off) + 4095) &^ 4095
		to := (dataAt + int64(off) + int64(block)) &^ 4095
		_ = unix.Madvise(m[from:to], unix.MADV_REMOVE)
	}
}
