package conn

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var testBounds = bounds{maxMessage: 70_000, compressed: true}

// decodeAll decodes pieces as a connection does, and returns what came out: a
// line for each event, and one for the fault.
func decodeAll(lim bounds, pieces ...[]byte) (got []string, held int) {
	var d decoder
	for _, p := range pieces {
		b := bytes.Clone(p) // it is unmasked in place
		for len(b) > 0 {
			ev, rest, ok, fault := d.next(b, lim)
			held = max(held, d.memory())
			if fault != nil {
				return append(got, fmt.Sprintf("fault %d", fault.Code)), held
			}
			if ok {
				got = append(got, fmt.Sprintf("%x %v %q", ev.op, ev.compressed, ev.payload))
			} else if len(rest) > 0 {
				return append(got, "bytes left without an event"), held
			}
			b = rest
		}
	}
	if d.part != nil && d.part.op == opContinuation && !d.part.inFrame && d.part.headLen == 0 {
		got = append(got, "memory kept between messages")
	}
	return got, held
}

func decoded(op opcode, s string) string { return fmt.Sprintf("%x %v %q", op, false, s) }

// samples of what a charger may send, and what is to come out.
var samples = []struct {
	name   string
	frames []clientFrame
	want   []string
}{
	{"one text", []clientFrame{textFrame("Hello")}, []string{decoded(opText, "Hello")}},
	{"empty messages", []clientFrame{textFrame(""), {op: opBinary}}, []string{decoded(opText, ""), decoded(opBinary, "")}},
	{"three in a row", []clientFrame{textFrame("a"), {op: opBinary, payload: []byte{0xff, 0}}, textFrame("κ")}, []string{decoded(opText, "a"), decoded(opBinary, "\xff\x00"), decoded(opText, "κ")}},
	{"fragments", []clientFrame{{op: opText, more: true, payload: []byte("ab")}, {more: true, payload: []byte("cd")}, {payload: []byte("ef")}, textFrame("next")}, []string{decoded(opText, "abcdef"), decoded(opText, "next")}},
	{"empty fragments", []clientFrame{{op: opText, more: true}, {more: true}, {more: true, payload: []byte("x")}, {more: true}, {}}, []string{decoded(opText, "x")}},
	{"only empty fragments", []clientFrame{{op: opBinary, more: true}, {}}, []string{decoded(opBinary, "")}},
	{"a sequence over fragments", []clientFrame{{op: opText, more: true, payload: []byte("\xf0")}, {more: true, payload: []byte("\x9f\x98")}, {payload: []byte("\x80")}}, []string{decoded(opText, "😀")}},
	{"control frames in between", []clientFrame{{op: opText, more: true, payload: []byte("\xe6\x97")}, {op: opPing, payload: []byte("p")}, {more: true}, {op: opPong}, {payload: []byte("\xa5")}}, []string{decoded(opPing, "p"), decoded(opPong, ""), decoded(opText, "日")}},
	{"full control frames", []clientFrame{{op: opPing, payload: bytes.Repeat([]byte("p"), 125)}, {op: opPong, payload: bytes.Repeat([]byte("q"), 125)}}, []string{decoded(opPing, strings.Repeat("p", 125)), decoded(opPong, strings.Repeat("q", 125))}},
	{"close amid a message", []clientFrame{{op: opBinary, more: true, payload: []byte("x")}, {op: opClose, payload: closePayload(1000, "bye")}}, []string{decoded(opClose, "\x03\xe8bye")}},
	{"compressed", []clientFrame{{op: opText, rsv: rsv1Bit, payload: []byte("\xff\x80")}, textFrame("plain")}, []string{fmt.Sprintf("1 true %q", "\xff\x80"), decoded(opText, "plain")}},
	{"compressed fragments", []clientFrame{{op: opText, rsv: rsv1Bit, more: true, payload: []byte("\xff")}, {op: opPing}, {payload: []byte("\x80")}}, []string{decoded(opPing, ""), fmt.Sprintf("1 true %q", "\xff\x80")}},
	{"126 bytes", []clientFrame{textFrame(strings.Repeat("x", 126))}, []string{decoded(opText, strings.Repeat("x", 126))}},
	{"the longest there may be", []clientFrame{{op: opBinary, more: true, payload: make([]byte, 60_000)}, {payload: make([]byte, 10_000)}}, []string{decoded(opBinary, string(make([]byte, 70_000)))}},
}

// violations and the close code for each.
var violations = []struct {
	name   string
	b      []byte
	events int // before it
	code   int
}{
	{"continuation of nothing", stream(clientFrame{payload: []byte("x")}), 0, 1002},
	{"continuation after a whole message", stream(textFrame("x"), clientFrame{}), 1, 1002},
	{"message inside a message", stream(clientFrame{op: opText, more: true}, textFrame("x")), 0, 1002},
	{"unmasked", stream(clientFrame{op: opText, plain: true, payload: []byte("x")}), 0, 1002},
	{"unmasked continuation", stream(clientFrame{op: opText, more: true}, clientFrame{plain: true}), 0, 1002},
	{"rsv2", stream(clientFrame{op: opText, rsv: 0x20}), 0, 1002},
	{"rsv3", stream(clientFrame{op: opText, rsv: 0x10}), 0, 1002},
	{"unknown opcode", stream(clientFrame{op: 3}), 0, 1002},
	{"unknown control opcode", stream(clientFrame{op: 0xb}), 0, 1002},
	{"control frame in fragments", stream(clientFrame{op: opPing, more: true}), 0, 1002},
	{"control frame too long", stream(clientFrame{op: opPing, payload: make([]byte, 126)}), 0, 1002},
	{"control frame compressed", stream(clientFrame{op: opPing, rsv: rsv1Bit}), 0, 1002},
	{"continuation with rsv1", stream(clientFrame{op: opText, rsv: rsv1Bit, more: true}, clientFrame{rsv: rsv1Bit}), 0, 1002},
	{"length with the top bit", []byte{finBit | 2, maskBit | 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, 0, 1002},
	{"not UTF-8", stream(textFrame("ok"), textFrame("\xff")), 1, 1007},
	{"UTF-8 cut short", stream(textFrame("\xe6\x97")), 0, 1007},
	{"UTF-8 cut short over fragments", stream(clientFrame{op: opText, more: true, payload: []byte("\xe6")}, clientFrame{payload: []byte("\x97")}), 0, 1007},
	{"not UTF-8 in a fragment that is not the last", stream(clientFrame{op: opText, more: true, payload: []byte("\xed\xa0")}), 0, 1007},
	{"not UTF-8 amid an unfinished frame", stream(textFrame("\xffabc"))[:7], 0, 1007},
	{"message too big", appendClientHeader(nil, clientFrame{op: opBinary}, 70_001), 0, 1009},
	{"message far too big", appendClientHeader(nil, clientFrame{op: opBinary}, 1<<62), 0, 1009},
	{"too big by fragments", append(stream(clientFrame{op: opBinary, more: true, payload: make([]byte, 69_999)}, clientFrame{more: true, payload: make([]byte, 1)}), appendClientHeader(nil, clientFrame{}, 1)...), 0, 1009},
}

// splits calls f with b cut in two at every byte (of a long b: at some), and
// byte by byte.
func splits(b []byte, f func(name string, pieces ...[]byte)) {
	for i := range b {
		if i < 40 || len(b)-i < 40 || i%997 == 0 {
			f(fmt.Sprintf("cut at %d", i), b[:i], b[i:])
		}
	}
	if len(b) < 100_000 {
		f("byte by byte", slices.Collect(slices.Chunk(b, 1))...)
	}
}

func TestDecoderEverySplit(t *testing.T) {
	for _, tt := range samples {
		t.Run(tt.name, func(t *testing.T) {
			b := stream(tt.frames...)
			if got, _ := decodeAll(testBounds, b); !slices.Equal(got, tt.want) {
				t.Fatalf("whole: got %.200q\nwant %.200q", got, tt.want)
			}
			splits(b, func(name string, pieces ...[]byte) {
				if got, _ := decodeAll(testBounds, pieces...); !slices.Equal(got, tt.want) {
					t.Errorf("%s: got %.200q\nwant %.200q", name, got, tt.want)
				}
			})
		})
	}
}

func TestDecoderViolations(t *testing.T) {
	for _, tt := range violations {
		t.Run(tt.name, func(t *testing.T) {
			check := func(name string, pieces ...[]byte) {
				got, held := decodeAll(testBounds, pieces...)
				if want := fmt.Sprintf("fault %d", tt.code); len(got) != tt.events+1 || got[len(got)-1] != want {
					t.Errorf("%s: got %.200q, want %q after %d events", name, got, want, tt.events)
				}
				if held > heldAtMost(testBounds) {
					t.Errorf("%s: %d bytes held", name, held)
				}
			}
			check("whole", tt.b)
			splits(tt.b, check)
		})
	}
}

// Without the extension negotiated, RSV1 is as reserved as the others.
func TestDecoderRefusesCompressionNotNegotiated(t *testing.T) {
	b := stream(clientFrame{op: opText, rsv: rsv1Bit, payload: []byte{0}})
	if got, _ := decodeAll(bounds{maxMessage: 100}, b); !slices.Equal(got, []string{"fault 1002"}) {
		t.Error(got)
	}
}

// A header alone makes the decoder hold nothing of what it announces.
func TestDecoderBelievesNoLength(t *testing.T) {
	var d decoder
	b := appendClientHeader(nil, clientFrame{op: opBinary}, 70_000)
	if _, _, ok, fault := d.next(append(b, 'x'), testBounds); ok || fault != nil || d.memory() > 64 {
		t.Errorf("ok %v, fault %v, %d bytes held", ok, fault, d.memory())
	}
}

// heldAtMost bounds what a decoder may hold: append grows a slice by less than
// twice what is needed, and a control frame may come on top.
func heldAtMost(lim bounds) int { return 2*lim.maxMessage + 512 }
