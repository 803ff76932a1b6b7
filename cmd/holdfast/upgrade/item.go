package upgrade

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"holdfast/unixipc"
)

// itemKind is what an item is. The state of an item, in the terms of handoff:
//
//	kind (1 byte) | loop (1) | uvarint length of the first part | first part | second part
//
// A kind has one layout for ever. A new layout gets a new kind; one that an older
// reader may leave out has the bit itemOptional.
type itemKind byte

const (
	itemLink     itemKind = 'l' // first: link state; with fd
	itemCharger  itemKind = 'c' // first: connection state; second: charger state, empty while the connection is only being ended; with fd
	itemOffline  itemKind = 'o' // second: charger state
	itemFrozen   itemKind = 'f' // see appendFrozen
	itemLateOpen itemKind = 'C' // first: state of a connection whose handshake is just done; second: its note, which an older reader leaves out; with fd
	itemLateJoin itemKind = 'L' // first: lateHello in JSON; second: bytes that followed the HELLO; with fd

	// itemOptional marks kinds, all without fd, that a reader who does not
	// know them may leave out.
	itemOptional itemKind = 0x80
	itemTickets  itemKind = itemOptional | 't' // first: keys of TLS session tickets
	itemLastLink itemKind = itemOptional | 'i' // see appendLastLinks
)

// appendItem appends an item. loop is less than 256.
func appendItem(dst []byte, kind itemKind, loop int, first, second []byte) []byte {
	dst = append(dst, byte(kind), byte(loop))
	dst = binary.AppendUvarint(dst, uint64(len(first)))
	return append(append(dst, first...), second...)
}

// parseItem decodes what appendItem has encoded. The parts are slices of b.
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

// appendFrozen appends the item with the time of the freeze (first part: Unix
// time in nanoseconds, 8 bytes, big-endian) and the counters up to it (second
// part: see metrics.AppendCounters; empty from a release that counts nothing).
func appendFrozen(dst []byte, at time.Time, counters []byte) []byte {
	return appendItem(dst, itemFrozen, 0, binary.BigEndian.AppendUint64(nil, uint64(at.UnixNano())), counters)
}

// parseFrozen decodes the first part of an itemFrozen.
func parseFrozen(first []byte) (at time.Time, err error) {
	if len(first) != 8 {
		return at, errors.New("time of the freeze is malformed")
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(first))), nil
}

// appendLastLinks appends the item with the highest id of a link that each loop has
// given (first part: uvarints, in the order of the loops). No id is used twice while
// an answer to a former link may be under way.
func appendLastLinks(dst []byte, last []uint32) []byte {
	var first []byte
	for _, id := range last {
		first = binary.AppendUvarint(first, uint64(id))
	}
	return appendItem(dst, itemLastLink, 0, first, nil)
}

// parseLastLinks decodes the first part of an itemLastLink.
func parseLastLinks(first []byte) (last []uint32, err error) {
	for len(first) > 0 {
		id, n := binary.Uvarint(first)
		if n <= 0 || id > math.MaxUint32 {
			return nil, errors.New("last links are malformed")
		}
		last, first = append(last, uint32(id)), first[n:]
	}
	return last, nil
}

// lateHello is the first part of itemLateJoin.
type lateHello struct {
	Hello unixipc.HelloBody
	PID   int
	UID   int
	GID   int

	Operator bool
}

func appendLateJoin(dst []byte, loop int, hello unixipc.HelloBody, peer unixipc.Peer, operator bool, rest []byte) []byte {
	first, _ := json.Marshal(lateHello{hello, peer.PID, peer.UID, peer.GID, operator})
	return appendItem(dst, itemLateJoin, loop, first, rest)
}
