// Package ws is as much of RFC 6455 as a benchmark needs, both sides: whole
// frames in memory, no fragmentation, no extensions.
package ws

import (
	"encoding/binary"
	"errors"

	"holdfast/tests/raw"
)

// Opcodes, RFC 6455 section 5.2.
const (
	Text  = 0x1
	Bin   = 0x2
	Close = 0x8
	Ping  = 0x9
	Pong  = 0xA
)

// ErrFrame: the bytes are a frame that this package does not take.
var ErrFrame = errors.New("ws: fragmented, reserved or overlong frame")

// maxPayload bounds a frame, bytes.
const maxPayload = 1 << 20

// Frame is one final frame. Payload aliases the bytes it was parsed from, and
// is unmasked already.
type Frame struct {
	Op      byte
	Payload []byte
}

// Parse reads the frame at the start of b and unmasks it in place, so it is to
// be called once for each frame. n is 0 while b holds only a part of it.
func Parse(b []byte) (f Frame, n int, err error) {
	if len(b) < 2 {
		return Frame{}, 0, nil
	}
	if b[0]&0xf0 != 0x80 || b[0]&0xf == 0 {
		return Frame{}, 0, ErrFrame
	}
	size, head := uint64(b[1]&0x7f), 2
	switch size {
	case 126:
		if len(b) < 4 {
			return Frame{}, 0, nil
		}
		size, head = uint64(binary.BigEndian.Uint16(b[2:])), 4
	case 127:
		if len(b) < 10 {
			return Frame{}, 0, nil
		}
		size, head = binary.BigEndian.Uint64(b[2:]), 10
	}
	if size > maxPayload {
		return Frame{}, 0, ErrFrame
	}
	masked := b[1]&0x80 != 0
	if masked {
		head += 4
	}
	n = head + int(size)
	if len(b) < n {
		return Frame{}, 0, nil
	}
	f = Frame{Op: b[0] & 0xf, Payload: b[head:n:n]}
	if masked {
		Mask(f.Payload, [4]byte(b[head-4:]))
	}
	return f, n, nil
}

// Append appends a server's frame, which is not masked.
func Append(dst []byte, op byte, payload []byte) []byte {
	return append(raw.AppendHeader(dst, raw.Fin|op, false, uint64(len(payload))), payload...)
}

// AppendMasked appends a client's frame.
func AppendMasked(dst []byte, op byte, key [4]byte, payload []byte) []byte {
	dst = append(raw.AppendHeader(dst, raw.Fin|op, true, uint64(len(payload))), key[:]...)
	start := len(dst)
	dst = append(dst, payload...)
	Mask(dst[start:], key)
	return dst
}

// Mask masks or unmasks b, RFC 6455 section 5.3.
func Mask(b []byte, key [4]byte) {
	k := uint64(binary.LittleEndian.Uint32(key[:]))
	k |= k << 32
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= key[i&3]
	}
}
