// Package raw is a charger's side of WebSocket byte by byte, for tests that send what
// no library would, or stop amid a frame. What else writes frames takes their headers
// from here.
package raw

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
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

// Key of each request, and the answer to it: the example of RFC 6455 section 1.3.
const (
	key    = "dGhlIHNhbXBsZSBub25jZQ=="
	accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// Request is a good handshake for an identity as it stands in the target; extra are
// further header lines.
func Request(identity string, extra ...string) string {
	return strings.Join(append([]string{
		"GET /ocpp/" + identity + " HTTP/1.1", "Host: gateway", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: " + key, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: ocpp1.6",
	}, extra...), "\r\n") + "\r\n\r\n"
}

// Handshake sends a Request and reads the response; br reads what follows it. A
// response with 101 that does not fit the request is an error.
func Handshake(rw io.ReadWriter, identity string, extra ...string) (resp *http.Response, br *bufio.Reader, err error) {
	if _, err := io.WriteString(rw, Request(identity, extra...)); err != nil {
		return nil, nil, err
	}
	br = bufio.NewReader(rw)
	if resp, err = http.ReadResponse(br, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		return resp, br, err
	}
	for name, want := range map[string]string{"Sec-WebSocket-Accept": accept, "Sec-WebSocket-Protocol": "ocpp1.6"} {
		if got := resp.Header.Get(name); got != want {
			return nil, nil, fmt.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	return resp, br, nil
}

// AppendHeader appends the header of a frame with a payload of n bytes, RFC 6455
// section 5.2; b0 is its first byte. The four bytes of the mask follow, if it has one.
func AppendHeader(dst []byte, b0 byte, masked bool, n uint64) []byte {
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	switch {
	case n < 126:
		return append(dst, b0, mask|byte(n))
	case n < 1<<16:
		return append(dst, b0, mask|126, byte(n>>8), byte(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, b0, mask|127), n)
	}
}

// Header is the header of a client's frame of n bytes; b0 is its first byte, and the
// mask the last four.
func Header(b0 byte, n uint64) string {
	return string(AppendHeader(nil, b0, true, n)) + "mask"
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

// Ping is a client's ping without a payload.
func Ping() string { return Masked(Fin|OpPing, "") }

// ReadClose reads up to a Close frame, and returns its code: 0 if it has none.
func ReadClose(r io.Reader) (code int, err error) {
	for {
		op, payload, err := Read(r)
		switch {
		case err != nil:
			return 0, err
		case op == OpClose && len(payload) < 2:
			return 0, nil
		case op == OpClose:
			return int(payload[0])<<8 | int(payload[1]), nil
		}
	}
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
