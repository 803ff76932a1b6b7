package conn

import (
	"encoding/binary"
	"math/bits"
)

// opcode of a WebSocket frame, RFC 6455 section 5.2.
type opcode uint8

const (
	opContinuation opcode = 0x0
	opText         opcode = 0x1
	opBinary       opcode = 0x2
	opClose        opcode = 0x8
	opPing         opcode = 0x9
	opPong         opcode = 0xa
)

func (o opcode) control() bool { return o >= opClose }

func (o opcode) known() bool {
	return o <= opBinary || o >= opClose && o <= opPong
}

const (
	finBit  = 0x80
	rsv1Bit = 0x40
	rsv23   = 0x30
	maskBit = 0x80

	maxHeader  = 14  // 2 + 8 bytes of length + 4 of mask
	maxControl = 125 // payload of a control frame, RFC 6455 section 5.5
)

// header of one frame from a charger.
type header struct {
	op     opcode
	fin    bool
	rsv1   bool // RFC 7692: compressed
	mask   [4]byte
	length uint64 // of the payload, bytes
}

// parseHeader reads the header at the start of b and returns it with its size;
// n == 0 asks for more bytes. It refuses what no server may accept, whatever
// the state of the connection.
func parseHeader(b []byte) (h header, n int, fault *Close) {
	if len(b) < 2 {
		return h, 0, nil
	}
	h.op = opcode(b[0] & 0x0f)
	h.fin = b[0]&finBit != 0
	h.rsv1 = b[0]&rsv1Bit != 0
	switch {
	case b[0]&rsv23 != 0: // RFC 6455 section 5.2: no extension that defines them
		return h, 0, reasonReservedBit.fault()
	case !h.op.known():
		return h, 0, reasonUnknownOpcode.fault()
	case b[1]&maskBit == 0: // section 5.1
		return h, 0, reasonNotMasked.fault()
	}
	n = 2
	switch l := b[1] &^ maskBit; l {
	case 126:
		if len(b) < 4 {
			return h, 0, nil
		}
		h.length = uint64(binary.BigEndian.Uint16(b[2:]))
		n = 4
	case 127:
		if len(b) < 10 {
			return h, 0, nil
		}
		h.length = binary.BigEndian.Uint64(b[2:])
		if h.length>>63 != 0 {
			return h, 0, reasonFrameLength.fault()
		}
		n = 10
	default:
		h.length = uint64(l)
	}
	if h.op.control() {
		switch { // section 5.5
		case !h.fin:
			return h, 0, reasonFragmentedControl.fault()
		case h.length > maxControl:
			return h, 0, reasonLongControl.fault()
		case h.rsv1:
			return h, 0, reasonCompressedControl.fault()
		}
	}
	if len(b) < n+4 {
		return h, 0, nil
	}
	copy(h.mask[:], b[n:])
	return h, n + 4, nil
}

// appendHeader appends the header of an unfragmented frame of n payload bytes
// to a charger; those are never masked.
func appendHeader(dst []byte, op opcode, compressed bool, n int) []byte {
	b0 := byte(op) | finBit
	if compressed {
		b0 |= rsv1Bit
	}
	switch {
	case n < 126:
		return append(dst, b0, byte(n))
	case n < 1<<16:
		return append(dst, b0, 126, byte(n>>8), byte(n))
	}
	dst = append(dst, b0, 127)
	return binary.BigEndian.AppendUint64(dst, uint64(n))
}

// unmask decodes b in place, RFC 6455 section 5.3; b starts pos bytes into the
// payload.
func unmask(b []byte, mask [4]byte, pos uint64) {
	k := bits.RotateLeft32(binary.LittleEndian.Uint32(mask[:]), -8*int(pos&3))
	k64 := uint64(k)<<32 | uint64(k)
	for len(b) >= 32 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k64)
		binary.LittleEndian.PutUint64(b[8:], binary.LittleEndian.Uint64(b[8:])^k64)
		binary.LittleEndian.PutUint64(b[16:], binary.LittleEndian.Uint64(b[16:])^k64)
		binary.LittleEndian.PutUint64(b[24:], binary.LittleEndian.Uint64(b[24:])^k64)
		b = b[32:]
	}
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k64)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(k >> (8 * (i & 3)))
	}
}
