package journal

import (
	"encoding/binary"
	"hash/crc32"
)

// An Extent holds bytes that grow at their end, such as a message that is half received:
// what came since is added, and nothing is written again. The versions of an item each name
// as much of it as they have. The zero Extent is empty.
type Extent struct {
	off  uint64 // in data
	room uint32 // size that its block was taken for, bytes
	size uint32
	sum  uint32 // CRC-32C
}

// Size is how much it holds, bytes.
func (e *Extent) Size() int { return int(e.size) }

// Extend has e hold data, of which it holds the first Size bytes already.
func (j *Journal) Extend(e *Extent, data []byte) {
	if len(data) > int(e.room) {
		old := *e
		room := len(data) + len(data)/2
		*e = Extent{off: j.blocks.take(room), room: uint32(room)}
		j.Release(old)
	}
	added := data[e.size:]
	copy(j.m[dataAt+int64(e.off)+int64(e.size):], added)
	e.sum = crc32.Update(e.sum, castagnoli, added)
	e.size = uint32(len(data))
}

// Release gives e back, from the next Commit on.
func (j *Journal) Release(e Extent) {
	if e.room > 0 {
		j.unused = append(j.unused, e)
	}
}

// extentSize is the size of an Extent at the end of a blob: offset (8 bytes), size (4), sum (4).
const extentSize = 16

// PutWith is Put for an item that has the bytes of e besides: Item.Extra.
func (j *Journal) PutWith(s Slot, blob []byte, e *Extent) {
	blob = binary.NativeEndian.AppendUint64(blob, e.off)
	blob = binary.NativeEndian.AppendUint32(blob, e.size)
	blob = binary.NativeEndian.AppendUint32(blob, e.sum)
	j.Put(s, blob)
	j.current(s).extended = 1
}

// extra cuts the extent off the blob of an item; ok: it is there, and whole.
func (l *Left) extra(blob []byte) (rest, extra []byte, ok bool) {
	if len(blob) < extentSize {
		return nil, nil, false
	}
	rest, e := blob[:len(blob)-extentSize], blob[len(blob)-extentSize:]
	off, size := binary.NativeEndian.Uint64(e), uint64(binary.NativeEndian.Uint32(e[8:]))
	if off > uint64(dataSize) || size > uint64(dataSize)-off {
		return nil, nil, false
	}
	extra = l.m[dataAt+int64(off):][:size]
	return rest, extra, crc32.Checksum(extra, castagnoli) == binary.NativeEndian.Uint32(e[12:])
}
