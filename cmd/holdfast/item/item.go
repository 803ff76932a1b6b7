// Package item has the layout of what outlives a process of the gateway: what an upgrade
// sends to the next process, and what a keeper's memory holds for it.
package item

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Kind is what an item is. The state of an item:
//
//	kind (1 byte) | loop (1) | uvarint length of the first part | first part | second part
//
// A kind has one layout for ever. A new layout gets a new kind; one that an older
// reader may leave out has the bit Optional.
type Kind byte

// Kinds that an upgrade sends and a memory holds; each of the two has more of its own.
const (
	Link    Kind = 'l' // first: link state; with a socket
	Charger Kind = 'c' // first: connection state; second: charger state, empty while the connection is only being ended; with a socket
	Offline Kind = 'o' // second: charger state

	// Optional marks kinds that a reader who does not know them may leave out.
	Optional Kind = 0x80
)

// Append appends an item. loop is less than 256.
func Append(dst []byte, kind Kind, loop int, first, second []byte) []byte {
	dst = append(dst, byte(kind), byte(loop))
	dst = binary.AppendUvarint(dst, uint64(len(first)))
	return append(append(dst, first...), second...)
}

// lengthSize is how many bytes Begin leaves for the length of the first part: an uvarint
// that is not the shortest one.
const lengthSize = 5

// Begin begins an item whose first part the caller appends, and then ends with EndFirst.
func Begin(dst []byte, kind Kind, loop int) []byte {
	return append(dst, byte(kind), byte(loop), 0, 0, 0, 0, 0)
}

// EndFirst ends the first part of the item that begins at from. The second part follows.
func EndFirst(dst []byte, from int) []byte {
	size := uint64(len(dst) - from - 2 - lengthSize)
	at := dst[from+2:]
	for i := range lengthSize - 1 {
		at[i] = byte(size) | 0x80
		size >>= 7
	}
	at[lengthSize-1] = byte(size)
	return dst
}

// Parse decodes what Append has encoded. The parts are slices of b.
func Parse(b []byte) (kind Kind, loop int, first, second []byte, err error) {
	if len(b) < 2 {
		return 0, 0, nil, nil, errors.New("item without a kind")
	}
	kind, loop = Kind(b[0]), int(b[1])
	size, n := binary.Uvarint(b[2:])
	if n <= 0 || size > uint64(len(b)-2-n) {
		return 0, 0, nil, nil, fmt.Errorf("item of kind %q ends early", byte(kind))
	}
	first, second = b[2+n:2+n+int(size)], b[2+n+int(size):]
	return kind, loop, first, second, nil
}
