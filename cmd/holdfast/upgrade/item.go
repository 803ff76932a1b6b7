package upgrade

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// What a shard hands over are items of these kinds. The layout of an item:
// kind (1 byte) | loop (1) | uvarint length of the first part | first part |
// second part.
type itemKind byte

const (
	itemLink     itemKind = 'l' // link state; with fd
	itemCharger  itemKind = 'c' // connection state, charger state (empty while only being ended); with fd
	itemOffline  itemKind = 'o' // –, charger state
	itemFrozen   itemKind = 'f' // Unix time of the freeze, nanoseconds; counters, see appendCounters
	itemLateOpen itemKind = 'C' // state of a connection whose handshake is just done; with fd
	itemLateJoin itemKind = 'L' // HELLO as JSON with its peer, bytes that followed it; with fd

	// itemOptional marks kinds, all without fd, that a reader who does not
	// know them may leave out.
	itemOptional itemKind = 0x80
	itemTickets  itemKind = itemOptional | 't' // keys of TLS session tickets
)

func appendItem(dst []byte, kind itemKind, loop int, first, second []byte) []byte {
	dst = append(dst, byte(kind), byte(loop))
	dst = binary.AppendUvarint(dst, uint64(len(first)))
	return append(append(dst, first...), second...)
}

func parseItem(b []byte) (kind itemKind, loop int, first, second []byte, err error) {
	if len(b) < 2 {
		return 0, 0, nil, nil, errors.New("item without a kind")
	}
	kind, loop = itemKind(b[0]), int(b[1])
	size, n := binary.Uvarint(b[2:])
	if n <= 0 || size > uint64(len(b)-2-n) {
		return 0, 0, nil, nil, fmt.Errorf("item of kind %q ends early", byte(kind))
	}
	first, second = b[2+n:2+n+int(size)], b[2+n+int(size):]
	return kind, loop, first, second, nil
}
