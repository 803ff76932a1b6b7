// Package raw is a charger's side of WebSocket byte by byte, for tests that send what
// no library would, or stop amid a frame.
package raw

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// Bits of the first byte of a frame, and opcodes, RFC 6455 section 5.2.
const (
	Fin  = 0x80
	Rsv1 = 0x40

	OpContinuation = 0x0
	OpText         = 0x1
	OpBinary       = 0x2
	OpClose        = 0x8
	OpPing         = 0x9
	OpPong         = 0xa
)

// maxPayload is more than a gateway sends in a frame, bytes.
const maxPayload = 64 << 20

// Request is a good handshake for an identity as it stands in the target; extra are
// further header lines.
func Request(identity string, extra ...string) string {
	return strings.Join(append([]string{
		"GET /ocpp/" + identity + " HTTP/1.1", "Host: gateway", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: ocpp1.6",
	}, extra...), "\r\n") + "\r\n\r\n"
}

// Header is the header of a client's frame of n bytes; b0 is its first byte, and the
// mask the last four.
func Header(b0 byte, n uint64) string {
	b := []byte{b0}
	switch {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), n)
	}
	return string(b) + "mask"
}

// Masked is a client's frame; b0 is its first byte.
func Masked(b0 byte, payload string) string {
	header := Header(b0, uint64(len(payload)))
	mask := header[len(header)-4:]
	b := []byte(header + payload)
	for i := range len(payload) {
		b[len(header)+i] ^= mask[i&3]
	}
	return string(b)
}

// Text is a client's text message in one frame.
func Text(s string) string { return Masked(Fin|OpText, s) }

// Closing is the payload of a Close frame, RFC 6455 section 5.5.1.
func Closing(code int, reason string) string {
	return string([]byte{byte(code >> 8), byte(code)}) + reason
}

// Read reads one frame of a gateway's: whole, not masked and without extensions.
func Read(r io.Reader) (op byte, payload string, err error) {
	var h [8]byte
	if _, err := io.ReadFull(r, h[:2]); err != nil {
		return 0, "", err
	}
	op = h[0] & 0x0f
	if h[0]&^0x0f != Fin || h[1]&0x80 != 0 {
		return 0, "", fmt.Errorf("bad header % x from the gateway", h[:2])
	}
	n := uint64(h[1])
	switch n {
	case 126:
		_, err = io.ReadFull(r, h[:2])
		n = uint64(binary.BigEndian.Uint16(h[:]))
	case 127:
		_, err = io.ReadFull(r, h[:8])
		n = binary.BigEndian.Uint64(h[:])
	}
	if err != nil {
		return 0, "", err
	}
	if n > maxPayload {
		return 0, "", fmt.Errorf("frame of %d bytes", n)
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r, b)
	return op, string(b), err
}
