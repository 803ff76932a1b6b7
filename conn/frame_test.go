package conn

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// clientFrame is a frame as a charger sends it.
type clientFrame struct {
	op      opcode
	more    bool // not the last fragment
	rsv     byte // of the first byte: rsv1Bit, rsv23
	plain   bool // not masked, a violation
	payload []byte
}

var testMask = [4]byte{0x37, 0xfa, 0x21, 0x3d} // of RFC 6455 section 5.7

func (f clientFrame) append(dst []byte) []byte {
	dst = appendClientHeader(dst, f, uint64(len(f.payload)))
	at := len(dst)
	dst = append(dst, f.payload...)
	if !f.plain {
		naiveUnmask(dst[at:], testMask, 0)
	}
	return dst
}

// appendClientHeader appends f's header for a payload of n bytes in the
// shortest form.
func appendClientHeader(dst []byte, f clientFrame, n uint64) []byte {
	b0, bit := byte(f.op)|f.rsv, byte(maskBit)
	if !f.more {
		b0 |= finBit
	}
	if f.plain {
		bit = 0
	}
	switch {
	case n < 126:
		dst = append(dst, b0, bit|byte(n))
	case n < 1<<16:
		dst = append(dst, b0, bit|126, byte(n>>8), byte(n))
	default:
		dst = append(dst, b0, bit|127)
		for shift := 56; shift >= 0; shift -= 8 {
			dst = append(dst, byte(n>>shift))
		}
	}
	if !f.plain {
		dst = append(dst, testMask[:]...)
	}
	return dst
}

func stream(frames ...clientFrame) (b []byte) {
	for _, f := range frames {
		b = f.append(b)
	}
	return b
}

func textFrame(s string) clientFrame { return clientFrame{op: opText, payload: []byte(s)} }

func closePayload(code int, reason string) []byte {
	return append([]byte{byte(code >> 8), byte(code)}, reason...)
}

func naiveUnmask(b []byte, mask [4]byte, pos uint64) {
	for i := range b {
		b[i] ^= mask[(pos+uint64(i))%4]
	}
}

// boundaries are payload lengths around which the form of the length changes.
var boundaries = []struct {
	length uint64
	size   int // of the header from a server
}{
	{0, 2}, {1, 2}, {125, 2}, {126, 4}, {127, 4}, {65535, 4}, {65536, 10}, {math.MaxInt32, 10}, {math.MaxInt64, 10},
}

func TestHeaderBoundaries(t *testing.T) {
	for _, tt := range boundaries {
		t.Run(fmt.Sprint(tt.length), func(t *testing.T) {
			if got := appendHeader(nil, opBinary, true, int(tt.length)); len(got) != tt.size {
				t.Errorf("header to a charger is %d bytes, want %d", len(got), tt.size)
			}
			b := appendClientHeader(nil, clientFrame{op: opBinary, rsv: rsv1Bit}, tt.length)
			for cut := range b {
				if _, n, fault := parseHeader(b[:cut]); n != 0 || fault != nil {
					t.Errorf("%d of %d bytes: n = %d, fault = %v", cut, len(b), n, fault)
				}
			}
			h, n, fault := parseHeader(append(b, "payload"...))
			if want := (header{opBinary, true, true, testMask, tt.length}); h != want || n != len(b) || fault != nil {
				t.Errorf("got %+v of %d bytes, fault %v; want %+v of %d", h, n, fault, want, len(b))
			}
		})
	}
}

// The header to a charger, made a client's by adding a mask, is understood.
func TestHeaderWrittenIsRead(t *testing.T) {
	for _, tt := range boundaries {
		b := appendHeader(nil, opText, false, int(tt.length))
		b[1] |= maskBit
		h, n, fault := parseHeader(append(b, testMask[:]...))
		if h.length != tt.length || h.op != opText || !h.fin || h.rsv1 || n != tt.size+4 || fault != nil {
			t.Errorf("%d: got %+v, %d, %v", tt.length, h, n, fault)
		}
	}
}

func TestHeaderFaults(t *testing.T) {
	long := func(op opcode) []byte { return appendClientHeader(nil, clientFrame{op: op}, 126) }
	for _, tt := range []struct {
		name string
		b    []byte
	}{
		{"rsv2", []byte{finBit | 0x20 | byte(opText), maskBit}},
		{"rsv3", []byte{finBit | 0x10 | byte(opText), maskBit}},
		{"opcode 3", []byte{finBit | 3, maskBit}},
		{"opcode 7", []byte{finBit | 7, maskBit}},
		{"opcode 11", []byte{finBit | 11, maskBit}},
		{"opcode 15", []byte{finBit | 15, maskBit}},
		{"unmasked text", []byte{finBit | byte(opText), 0}},
		{"unmasked close", []byte{finBit | byte(opClose), 0}},
		{"ping in fragments", []byte{byte(opPing), maskBit}},
		{"compressed pong", []byte{finBit | rsv1Bit | byte(opPong), maskBit}},
		{"close of 126 bytes", long(opClose)},
		{"ping of 126 bytes", long(opPing)},
		{"length with the top bit", []byte{finBit | byte(opBinary), maskBit | 127, 0x80, 0, 0, 0, 0, 0, 0, 0}},
	} {
		if _, n, fault := parseHeader(tt.b); n != 0 || fault == nil || fault.Code != CodeProtocolError {
			t.Errorf("%s: n = %d, fault = %v", tt.name, n, fault)
		}
	}
}

func TestUnmaskEveryAlignment(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	buf, want := make([]byte, 128), make([]byte, 128)
	for start := range 9 {
		for n := 0; n+start <= 100; n++ {
			for pos := range uint64(9) {
				for i := range buf {
					buf[i] = byte(r.Uint32())
				}
				copy(want, buf)
				unmask(buf[start:start+n], testMask, pos)
				naiveUnmask(want[start:start+n], testMask, pos)
				if !bytes.Equal(buf, want) {
					t.Fatalf("start %d, %d bytes, position %d", start, n, pos)
				}
			}
		}
	}
}
