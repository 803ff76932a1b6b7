package handoff

import (
	"encoding/binary"
	"fmt"

	"holdfast/unixipc"
)

// Item is one thing to hand over.
type Item struct {
	ID    uint64 // names it in this hand-over
	FD    int    // none: -1
	State []byte
}

// op says what to do with an item.
type op uint8

const (
	opPut    op = iota // it is new
	opUpdate           // its state replaces the one before, or adds to it; no fd
	opDrop             // it is gone; no fd, no state
)

// Layout of an item within a batch: op (1 byte) | has fd (1) | id (8) | length
// of the state (4) | state.
const itemHeader = 14

const (
	maxBatch = 128 << 10 // bytes from which on a batch is sent
	// maxOutstanding batches may be on their way: their fds count against the
	// limit of open files of the user until they are received.
	maxOutstanding = 4
	maxState       = 1 << 30 // bytes of one item
)

func appendItem(dst []byte, o op, it Item) []byte {
	hasFD := byte(0)
	if it.FD >= 0 {
		hasFD = 1
	}
	dst = append(dst, byte(o), hasFD)
	dst = binary.BigEndian.AppendUint64(dst, it.ID)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(it.State)))
	return append(dst, it.State...)
}

// parseItem reads the first item of b; its fd, if it has one, is to be taken
// from those that came with the batch.
func parseItem(b []byte) (o op, hasFD bool, it Item, rest []byte, err error) {
	if len(b) < itemHeader {
		return 0, false, it, nil, fmt.Errorf("item of %d bytes", len(b))
	}
	n := binary.BigEndian.Uint32(b[10:])
	if uint64(n) > uint64(len(b)-itemHeader) {
		return 0, false, it, nil, fmt.Errorf("item ends behind its batch")
	}
	o, hasFD = op(b[0]), b[1] == 1
	if o > opDrop || b[1] > 1 || hasFD && o != opPut || o == opDrop && n > 0 {
		return 0, false, it, nil, fmt.Errorf("item with operation %d, fd %d", b[0], b[1])
	}
	it = Item{ID: binary.BigEndian.Uint64(b[2:]), FD: -1, State: b[itemHeader : itemHeader+n]}
	return o, hasFD, it, b[itemHeader+n:], nil
}

// Frames, in the numbers that processors do not use.
const (
	frameHello    unixipc.Type = 0x41 // New → Old: JSON Hello
	frameBegin    unixipc.Type = 0x42 // Old → New: JSON Begin
	frameItems    unixipc.Type = 0x43 // Old → New: ref: number of the batch; items
	frameTook     unixipc.Type = 0x44 // New → Old: ref: number of the batch
	frameSealed   unixipc.Type = 0x45 // Old → New: JSON sealed
	framePrepared unixipc.Type = 0x46 // New → Old
	frameCommit   unixipc.Type = 0x47 // Old → New
	frameActive   unixipc.Type = 0x48 // New → Old
	frameEnd      unixipc.Type = 0x49 // Old → New: no late item follows
	frameRefused  unixipc.Type = 0x4a // New → Old: the reason, text
)

var frameNames = map[unixipc.Type]string{
	frameHello: "HELLO", frameBegin: "BEGIN", frameItems: "ITEMS", frameTook: "TOOK", frameSealed: "SEALED",
	framePrepared: "PREPARED", frameCommit: "COMMIT", frameActive: "ACTIVE", frameEnd: "END", frameRefused: "REFUSED",
}

// Hello is what New says of itself.
type Hello struct {
	Program  string  `json:"program"`  // version of the program
	Versions []uint8 `json:"versions"` // of the state, that it reads

	// Features are names of what New knows beyond the versions. They are the
	// caller's own.
	Features []string `json:"features,omitempty"`
}

// Begin is what Old says of the state to come.
type Begin struct {
	Program string `json:"program"`
	Version uint8  `json:"version"` // of the state
	Note    []byte `json:"note"`    // the caller's own
}

// sealed is what New must have received.
type sealed struct {
	Items    int    `json:"items"`    // that exist in the end
	FDs      int    `json:"fds"`      // received altogether
	Bytes    int64  `json:"bytes"`    // of all batches
	Checksum uint32 `json:"checksum"` // CRC-32C of all batches
}
