package upgrade

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"time"

	"holdfast/cmd/holdfast/item"
	"holdfast/unixipc"
	"holdfast/unixipc/journal"
)

type itemKind = item.Kind

// The kinds of an upgrade. See package item for the layout.
const (
	itemLink              = item.Link
	itemCharger           = item.Charger
	itemOffline           = item.Offline
	itemFrozen   itemKind = 'f' // see appendFrozen
	itemLateOpen itemKind = 'C' // first: state of a connection whose handshake is just done; second: its note, which an older reader leaves out; with fd
	itemLateJoin itemKind = 'L' // first: lateHello in JSON; second: bytes that followed the HELLO; with fd

	itemKeeper itemKind = 'k' // featureKeeper: the connection to the keeper is the fd

	// Those that may be left out have no fd.
	itemTickets  = item.Optional | 't' // first: keys of TLS session tickets
	itemLastLink = item.Optional | 'i' // see appendLastLinks
	itemSlots    = item.Optional | 's' // see appendSlots
	itemDrops    = item.Optional | 'd' // first: slots (uvarints) of sockets that the keeper is still to drop
)

// appendFrozen appends the item with the time of the freeze (first part: Unix
// time in nanoseconds, 8 bytes, big-endian) and the counters up to it (second
// part: see metrics.AppendCounters; empty from a release that counts nothing).
func appendFrozen(dst []byte, at time.Time, counters []byte) []byte {
	return item.Append(dst, itemFrozen, 0, binary.BigEndian.AppendUint64(nil, uint64(at.UnixNano())), counters)
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
	return item.Append(dst, itemLastLink, 0, first, nil)
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

// appendSlots appends the item that says under which slots the keeper has sockets (first
// part: pairs of uvarints, the id of the item and its slot).
func appendSlots(dst []byte, slots map[uint64]journal.Slot) []byte {
	var first []byte
	for id, slot := range slots {
		first = binary.AppendUvarint(binary.AppendUvarint(first, id), uint64(slot))
	}
	return item.Append(dst, itemSlots, 0, first, nil)
}

// parseSlots decodes the first part of an itemSlots.
func parseSlots(first []byte) (slots map[uint64]journal.Slot, err error) {
	slots = map[uint64]journal.Slot{}
	for len(first) > 0 {
		id, n := binary.Uvarint(first)
		slot, m := binary.Uvarint(first[max(0, n):])
		if n <= 0 || m <= 0 || slot > math.MaxUint32 {
			return nil, errors.New("slots are malformed")
		}
		slots[id], first = journal.Slot(slot), first[n+m:]
	}
	return slots, nil
}

func appendDrops(dst []byte, drops []uint64) []byte {
	var first []byte
	for _, slot := range drops {
		first = binary.AppendUvarint(first, slot)
	}
	return item.Append(dst, itemDrops, 0, first, nil)
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
	return item.Append(dst, itemLateJoin, loop, first, rest)
}
