package keep

import (
	"encoding/binary"
	"fmt"

	"holdfast/unixipc"
)

// version of the protocol: what CLAIM and STATE have.
const version = 1

const (
	// maxMessage is the longest message, in bytes.
	maxMessage = 64 << 10
	// maxDrops is how many ids a DROP has at most.
	maxDrops = 8000
	// maxReason is the longest text of a REFUSED, in bytes.
	maxReason = 1024
	idSize    = 8
)

// kind is the first byte of a message. Those of the keeper have the high bit set.
type kind byte

// Messages of the gateway.
const (
	msgClaim kind = 0x01 // version (1 byte); fd: pidfd of the claimant
	msgTook  kind = 0x02 // answers ITEMS
	msgPut   kind = 0x03 // ids (8 bytes each, big-endian); fds: one for each
	msgDrop  kind = 0x04 // ids
	msgValid kind = 0x05 // fds: memfd, pidfd of the process whose memory it is
)

// Messages of the keeper.
const (
	msgState   kind = 0x81 // version (1 byte), number of items (4, big-endian); fd: the valid memory, if any
	msgItems   kind = 0x82 // ids; fds: one for each
	msgEnd     kind = 0x83 // everything was sent, and taken
	msgRefused kind = 0x84 // reason, UTF-8
)

var kindNames = map[kind]string{
	msgClaim: "CLAIM", msgTook: "TOOK", msgPut: "PUT", msgDrop: "DROP", msgValid: "VALID",
	msgState: "STATE", msgItems: "ITEMS", msgEnd: "END", msgRefused: "REFUSED",
}

func (k kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return fmt.Sprintf("type 0x%02x", byte(k))
}

// message is one message without its file descriptors. It aliases what it was parsed from.
type message struct {
	kind    kind
	version byte   // CLAIM, STATE
	items   uint32 // STATE
	ids     idList // ITEMS, PUT, DROP
	reason  []byte // REFUSED
}

// idList is the ids of a message.
type idList []byte

func (l idList) len() int        { return len(l) / idSize }
func (l idList) at(i int) uint64 { return binary.BigEndian.Uint64(l[i*idSize:]) }

// append appends m to dst.
func (m message) append(dst []byte) []byte {
	dst = append(dst, byte(m.kind))
	switch m.kind {
	case msgClaim:
		dst = append(dst, m.version)
	case msgState:
		dst = binary.BigEndian.AppendUint32(append(dst, m.version), m.items)
	case msgItems, msgPut, msgDrop:
		dst = append(dst, m.ids...)
	case msgRefused:
		dst = append(dst, m.reason...)
	}
	return dst
}

// parse reads a message that came with a number of file descriptors.
func parse(b []byte, fds int) (m message, err error) {
	if len(b) == 0 {
		return m, errEmpty
	}
	if len(b) > maxMessage {
		return m, fmt.Errorf("a message of %d bytes is over the limit of %d", len(b), maxMessage)
	}
	m.kind = kind(b[0])
	b = b[1:]
	size, least, most := 0, 0, 0 // of the payload; of the file descriptors
	switch m.kind {
	case msgClaim:
		size, least, most = 1, 1, 1
	case msgState:
		size, most = 5, 1
	case msgTook, msgEnd:
	case msgValid:
		least, most = 2, 2
	case msgPut, msgItems, msgDrop:
		n := len(b) / idSize
		if size = n * idSize; n == 0 {
			return m, fmt.Errorf("%v without an id", m.kind)
		}
		if m.kind != msgDrop {
			least, most = n, n
		}
	case msgRefused:
		size = min(len(b), maxReason)
	default:
		return m, fmt.Errorf("unknown %v", m.kind)
	}
	switch {
	case len(b) != size:
		return m, fmt.Errorf("%v with a payload of %d bytes", m.kind, len(b))
	case fds < least || fds > most || fds > unixipc.MaxFDs:
		return m, fmt.Errorf("%v of %d bytes with %d file descriptors", m.kind, size, fds)
	}
	switch m.kind {
	case msgClaim:
		m.version = b[0]
	case msgState:
		m.version, m.items = b[0], binary.BigEndian.Uint32(b[1:])
	case msgPut, msgItems, msgDrop:
		m.ids = b
	case msgRefused:
		m.reason = b
	}
	return m, nil
}
