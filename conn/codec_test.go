package conn

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"holdfast/conn/record"
	"holdfast/unixipc/tlv"
)

// held is a state of an idle connection, to be changed.
func held(change func(*State)) State {
	s := State{
		Identity:    "CP-ü1",
		Path:        MakeName("/ocpp/"),
		Subprotocol: MakeName("ocpp1.6"),
		Opened:      1_700_000_000_123,
		Remote:      MakeRemote(netip.MustParseAddrPort("192.0.2.7:40123")),
	}
	if change != nil {
		change(&s)
	}
	return s
}

// after is an idle connection's state after it received b, in one piece and to
// the end.
func after(b []byte, deflateBits uint8) State {
	s := afterIn(bounds{70_000, deflateBits != 0, false}, b)
	s.DeflateBits = deflateBits
	return s
}

func afterIn(in bounds, b []byte) State {
	s := held(nil)
	b = bytes.Clone(b)
	for len(b) > 0 {
		_, rest, _, fault := s.decoder.next(b, in)
		if fault != nil {
			panic(fault.Reason)
		}
		b = rest
	}
	return s
}

var (
	fragments  = stream(clientFrame{op: opText, more: true, payload: []byte("ab\xe6")}, clientFrame{op: opPing, payload: []byte("ping")}, clientFrame{more: true, payload: []byte("\x97\xa5c")}, clientFrame{payload: []byte("d")})
	malformed  = stream(clientFrame{op: opText, more: true, payload: []byte("caf\xe9 a")}, clientFrame{payload: []byte("\xfc.")})
	compressed = stream(clientFrame{op: opBinary, rsv: rsv1Bit, more: true, payload: []byte("\xff\x80")}, clientFrame{payload: []byte("xyz")})
	orderly    = &Close{Code: CodeNormal, Reason: "bye", By: ByProcessor}
)

// stateSamples are one state of every kind. Their names are those of the golden
// files in testdata, which stay for ever.
var stateSamples = []struct {
	name string
	s    State
	due  tick
}{
	{"idle", held(nil), 17},
	{"idle-least", State{Identity: "x", Subprotocol: MakeName("s"), Remote: MakeRemote(netip.MustParseAddrPort("[2001:db8::1]:1"))}, 0},
	{"idle-deflate", held(func(s *State) { s.DeflateBits = 15 }), 1 << 31},
	{"header-1", after(fragments[:1], 0), 0},
	{"header-13", after(appendClientHeader(nil, clientFrame{op: opBinary}, 66_000)[:13], 0), 0},
	{"header-between-fragments", after(fragments[:12], 0), 0},
	{"payload-none-yet", after(fragments[:6], 0), 0},
	{"payload", after(fragments[:8], 0), 0},
	{"utf8", after(fragments[:9], 0), 0},
	{"control-in-message", after(fragments[:9+6+2], 0), 0},
	{"control-alone", after(fragments[9:9+6+3], 0), 0},
	{"continuation", after(fragments[:9+10+6+1], 0), 0},
	{"fragments", after(fragments[:9+10+6+4], 0), 0},
	{"empty-fragment", after(stream(clientFrame{op: opText, more: true}), 0), 0},
	{"compressed", after(compressed[:7], 12), 0},
	{"compressed-fragments", after(compressed[:8], 8), 0},
	{"paused", held(func(s *State) { s.pause = pauseQueue }), 3},
	{"paused-unread", held(func(s *State) { s.pause = pauseQueue | pauseOut; s.decoder.keep([]byte("\x81\x80unread")) }), 3},
	{"unread-in-message", func() State {
		s := after(fragments[:9], 0)
		s.pause = pauseQueue
		s.decoder.keep(fragments[9:])
		return s
	}(), 0},
	{"early", held(func(s *State) { s.decoder.keep([]byte{0x81}) }), 0},
	{"unwritten", held(func(s *State) { s.out = &outbound{buf: []byte("\x81\x05Hello")} }), 0},
	{"stalled", held(func(s *State) {
		s.pause = pauseOut
		s.out = &outbound{buf: []byte("written|unwritten"), off: 8, base: 1 << 33, last: 1<<33 + 12}
	}), 9},
	{"closing", held(func(s *State) { s.phase, s.why = phaseClosing, orderly }), 40},
	{"closing-in-message", func() State {
		s := after(fragments[:9], 0)
		s.phase, s.why = phaseClosing, &Close{Code: CodeGoingAway, Reason: "", By: ByOperator}
		s.out = &outbound{buf: appendClose(nil, CodeGoingAway, ""), off: 1}
		return s
	}(), 1},
	{"closing-without-a-frame", func() State {
		s := held(func(s *State) {
			s.phase, s.why = phaseClosing, &Close{Code: CodeAbnormal, By: ByOperator, NoFrame: true}
		})
		s.out = &outbound{buf: []byte("\x81\x05Hello"), off: 1}
		return s
	}(), 40},
	{"draining", held(func(s *State) {
		s.phase, s.why = phaseLingering, &Close{Code: CodeAbnormal, Reason: "gone", By: ByNetwork}
	}), 0},
	{"draining-unwritten", held(func(s *State) {
		s.phase, s.why = phaseLingering, orderly
		s.out = &outbound{buf: appendClose(nil, CodeNormal, "bye"), last: 4}
	}), 2},
	{"malformed", afterIn(bounds{70_000, false, true}, malformed[:12]), 0},
	{"malformed-fragments", afterIn(bounds{70_000, false, true}, malformed[:len(malformed)-1]), 0},
	{"idle-tls", heldTLS(nil, 0), 0},
	{"idle-tls12", heldTLS(nil, 2), 0},
	{"idle-tls-part", func() State {
		s := heldTLS(nil, 1)
		_, _ = s.TLS.Open([]byte{23, 3, 3, 0, 50, 1, 2, 3})
		return s
	}(), 5},
	{"tls-sealed", func() State {
		s := heldTLS(nil, 0)
		s.out = &outbound{buf: []byte("written|sealed|not yet"), off: 8, sealed: 7, base: 1 << 20, last: 1<<20 + 22}
		s.out.records = s.TLS.Seal(nil, s.out.buf[8:15])[3:]
		return s
	}(), 0},
	{"tls-alert", func() State {
		s := heldTLS(nil, 2)
		s.phase, s.why = phaseLingering, &Close{Code: CodeAbnormal, Reason: "TLS", By: ByGateway}
		_, err := s.TLS.Open([]byte{23, 3, 3, 0xff, 0xff})
		s.out = &outbound{records: s.TLS.AppendAlert(nil, err)[1:]}
		return s
	}(), 7},
	{"idle-tls-certificate", func() State {
		s := heldTLS(nil, 0)
		s.Certificate = &Certificate{"CN=CP-1,O=Maker", []string{"cp-1.example", "CP-1"}}
		return s
	}(), 0},
}

// normal leaves out of a state what is not part of it.
func normal(s State) State {
	s.pause &^= pauseMemory
	if o := s.out; o != nil {
		s.out = &outbound{buf: bytes.Clone(o.buf[o.off:]), base: o.base + uint64(o.off), last: o.last, sealed: o.sealed}
		s.out.records = append(s.out.records, o.records...)
		if len(s.out.buf) == 0 {
			s.out.buf = nil
		}
	}
	if s.TLS != nil { // but for its expanded keys
		s.TLS, _ = record.ParseState(s.TLS.AppendState(nil))
	}
	if s.decoder.part != nil {
		p := *s.decoder.part
		clear(p.head[p.headLen:])
		clear(p.utf8.tail[p.utf8.n:])
		for _, b := range []*[]byte{&p.msg, &p.control, &p.unread} {
			if *b = append([]byte(nil), *b...); len(*b) == 0 {
				*b = nil
			}
		}
		if !p.inFrame {
			p.frame, p.left = header{}, 0
		}
		s.decoder.part = &p
	}
	return s
}

func TestStateRoundTrip(t *testing.T) {
	for _, tt := range stateSamples {
		b := tt.s.append(nil, tt.due)
		before := bytes.Clone(b)
		s, due, err := parseState(b)
		if err != nil || due != tt.due || !reflect.DeepEqual(normal(s), normal(tt.s)) {
			t.Errorf("%s: became %+v, %d, %v", tt.name, s, due, err)
			continue
		}
		clear(b) // nothing of it is kept
		if again := s.append(nil, due); !bytes.Equal(again, before) {
			t.Errorf("%s: encoded anew it is\n%x, was\n%x", tt.name, again, before)
		}
	}
}

func TestStateEveryStrictPrefixIsRefused(t *testing.T) {
	for _, tt := range stateSamples {
		b := tt.s.append(nil, tt.due)
		for i := range b {
			if _, _, err := parseState(b[:i]); err == nil {
				t.Errorf("%s: passes when cut at %d of %d", tt.name, i, len(b))
			}
		}
	}
}

// goldenHex compares a state with its file in testdata, which is written only
// if HOLDFAST_GOLDEN=new and there is none.
func goldenHex(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".hex")
	want, err := os.ReadFile(path)
	if os.IsNotExist(err) && os.Getenv("HOLDFAST_GOLDEN") == "new" {
		var text strings.Builder
		for line := range slices.Chunk(got, 32) {
			fmt.Fprintf(&text, "%x\n", line)
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if b := unhex(t, want); !bytes.Equal(got, b) {
		t.Errorf("%s: version 1 is written as\n%x, was\n%x", name, got, b)
	}
}

func unhex(t *testing.T, text []byte) []byte {
	t.Helper()
	b, err := hex.DecodeString(string(bytes.Join(bytes.Fields(text), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The bytes of version 1 never change. When there is a version 2, these files
// stay, and are read only.
func TestStateGolden(t *testing.T) {
	for _, tt := range stateSamples {
		goldenHex(t, "state-v1-"+tt.name, tt.s.append(nil, tt.due))
	}
	files, err := filepath.Glob("testdata/state-v1-*.hex")
	if err != nil || len(files) != len(stateSamples) {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s, due, err := parseState(unhex(t, text))
		if err != nil {
			t.Errorf("%s cannot be read any more: %v", file, err)
			continue
		}
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "state-v1-"), ".hex")
		for _, tt := range stateSamples {
			if tt.name == name && (due != tt.due || !reflect.DeepEqual(normal(s), normal(tt.s))) {
				t.Errorf("%s is read as %+v, %d", file, s, due)
			}
		}
	}
}

// A decoder that is written down and read again behind any byte gives the same
// messages.
func TestDecoderSurvivesAtEverySplit(t *testing.T) {
	for _, tt := range samples {
		splits(stream(tt.frames...), func(name string, pieces ...[]byte) {
			if len(pieces) > 2 && len(pieces) > 2000 {
				return
			}
			s := held(func(s *State) { s.DeflateBits = 15 })
			var got []string
			for _, p := range pieces {
				b := bytes.Clone(p)
				for len(b) > 0 {
					ev, rest, ok, fault := s.decoder.next(b, testBounds)
					if fault != nil {
						t.Fatalf("%s, %s: %+v", tt.name, name, fault)
					}
					if ok {
						got = append(got, fmt.Sprintf("%x %v %q", ev.op, ev.compressed, ev.payload))
					}
					b = rest
				}
				next, _, err := parseState(s.append(nil, 0))
				if err != nil {
					t.Fatalf("%s, %s: %v", tt.name, name, err)
				}
				s = next
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s, %s: got %.200q\nwant %.200q", tt.name, name, got, tt.want)
			}
		})
	}
}

// rewrite encodes a sample with some fields replaced; an empty value leaves one out.
func rewrite(t *testing.T, name string, change map[uint32][]byte) []byte {
	t.Helper()
	i := slices.IndexFunc(stateSamples, func(s struct {
		name string
		s    State
		due  tick
	},
	) bool {
		return s.name == name
	})
	b := stateSamples[i].s.append(nil, stateSamples[i].due)
	r := tlv.NewReader("sample", b, stateMagic, StateVersion)
	fields := map[uint32][]byte{}
	for id, ok := r.Next(fieldNames); ok; id, ok = r.Next(fieldNames) {
		if id == fieldTLS {
			r.Required()
		}
		fields[id] = r.Item(1 << 20)
	}
	for id, v := range change {
		fields[id] = v
	}
	b = b[:tlv.HeaderSize:tlv.HeaderSize]
	for id := range uint32(100) {
		if len(fields[id]) > 0 && (id == fieldTLS || id >= fieldMessageKept && id <= fieldRecordsKept) {
			b = tlv.AppendRequired(b, id, fields[id])
		} else {
			b = tlv.AppendBytes(b, id, fields[id])
		}
	}
	return tlv.AppendEnd(b)
}

func number(v uint64) []byte { return binary.AppendUvarint(nil, v) }

func frameField(op opcode, flags byte, length, left uint64) []byte {
	b := append([]byte{byte(op), flags}, testMask[:]...)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, length), left)
}

// hostileStates are states that no connection can be in. With most of them a
// loop would panic, or lose or double bytes.
var hostileStates = []struct {
	name, sample string
	change       map[uint32][]byte
}{
	{"no identity", "idle", map[uint32][]byte{fieldIdentity: nil}},
	{"identity with a slash", "idle", map[uint32][]byte{fieldIdentity: []byte("a/b")}},
	{"identity that is not UTF-8", "idle", map[uint32][]byte{fieldIdentity: []byte("\xff")}},
	{"identity too long", "idle", map[uint32][]byte{fieldIdentity: bytes.Repeat([]byte("x"), 256)}},
	{"no subprotocol", "idle", map[uint32][]byte{fieldSubprotocol: nil}},
	{"no remote address", "idle", map[uint32][]byte{fieldRemote: nil}},
	{"remote address of zeros", "idle", map[uint32][]byte{fieldRemote: make([]byte, 18)}},
	{"remote address of 17 bytes", "idle", map[uint32][]byte{fieldRemote: make([]byte, 17)}},
	{"window of 7 bits", "idle", map[uint32][]byte{fieldDeflateBits: number(7)}},
	{"window of 16 bits", "idle", map[uint32][]byte{fieldDeflateBits: number(16)}},
	{"phase gone", "closing", map[uint32][]byte{fieldPhase: number(uint64(phaseGone))}},
	{"phase of 256", "closing", map[uint32][]byte{fieldPhase: number(256)}},
	{"closing without a reason", "idle", map[uint32][]byte{fieldPhase: number(1)}},
	{"open with a reason", "closing", map[uint32][]byte{fieldPhase: nil}},
	{"paused for memory", "paused", map[uint32][]byte{fieldPause: number(uint64(pauseMemory))}},
	{"paused for no known reason", "paused", map[uint32][]byte{fieldPause: number(8)}},
	{"close code of 5000", "closing", map[uint32][]byte{fieldCloseCode: number(5000)}},
	{"draining with a message", "draining", map[uint32][]byte{fieldMessageOp: number(1)}},
	{"draining with unread bytes", "draining", map[uint32][]byte{fieldUnread: []byte("x")}},
	{"header that is complete", "header-1", map[uint32][]byte{fieldHead: fragments[:6]}},
	{"header with more than a header", "header-1", map[uint32][]byte{fieldHead: fragments[:9]}},
	{"header of 14 bytes", "header-1", map[uint32][]byte{fieldHead: make([]byte, 14)}},
	{"header that is a violation", "header-1", map[uint32][]byte{fieldHead: {0xff, 0xff}}},
	{"header inside a frame", "payload", map[uint32][]byte{fieldHead: {0x81}}},
	{"frame of an unknown opcode", "payload", map[uint32][]byte{fieldFrame: frameField(3, 0, 3, 1)}},
	{"frame with unknown flags", "payload", map[uint32][]byte{fieldFrame: frameField(opText, 4, 3, 1)}},
	{"frame field cut short", "payload", map[uint32][]byte{fieldFrame: frameField(opText, 0, 3, 1)[:21]}},
	{"more left than there is", "payload", map[uint32][]byte{fieldFrame: frameField(opText, 0, 3, 4)}},
	{"nothing left", "payload", map[uint32][]byte{fieldFrame: frameField(opText, 0, 2, 0)}},
	{"frame of 2^31 bytes", "payload", map[uint32][]byte{fieldFrame: frameField(opText, 0, 1<<31, 1<<31-2)}},
	{"frame of 2^64-1 bytes", "payload", map[uint32][]byte{fieldFrame: frameField(opText, 0, 1<<64-1, 1<<64-3)}},
	{"less received than the frame says", "payload", map[uint32][]byte{fieldFrame: frameField(opText, 0, 9, 1)}},
	{"more received than the frame says", "payload", map[uint32][]byte{fieldFrame: frameField(opText, 0, 2, 1)}},
	{"frame of another opcode than its message", "payload", map[uint32][]byte{fieldFrame: frameField(opBinary, 0, 3, 1)}},
	{"compressed frame of a plain message", "payload", map[uint32][]byte{fieldFrame: frameField(opText, 2, 3, 1)}},
	{"frame without a message", "payload", map[uint32][]byte{fieldMessageOp: nil, fieldMessage: nil, fieldFrame: frameField(opContinuation, 0, 3, 3)}},
	{"text frame without a message", "payload", map[uint32][]byte{fieldMessageOp: nil, fieldMessage: nil, fieldFrame: frameField(opText, 0, 3, 3)}},
	{"compressed continuation", "continuation", map[uint32][]byte{fieldFrame: frameField(opContinuation, 2, 4, 3)}},
	{"less received than the continuation says", "continuation", map[uint32][]byte{fieldFrame: frameField(opContinuation, 0, 9, 1)}},
	{"message without an opcode", "fragments", map[uint32][]byte{fieldMessageOp: nil}},
	{"message of opcode 3", "fragments", map[uint32][]byte{fieldMessageOp: number(3)}},
	{"message of a control opcode", "fragments", map[uint32][]byte{fieldMessageOp: number(8)}},
	{"compressed, but not negotiated", "compressed", map[uint32][]byte{fieldDeflateBits: nil}},
	{"compressed fragments, but not negotiated", "compressed-fragments", map[uint32][]byte{fieldDeflateBits: nil}},
	{"compressed without a message", "idle-deflate", map[uint32][]byte{fieldCompressed: number(1)}},
	{"UTF-8 tail that is complete", "utf8", map[uint32][]byte{fieldUTF8: []byte("b"), fieldMessage: []byte("ab")}},
	{"UTF-8 tail that the message does not end in", "utf8", map[uint32][]byte{fieldUTF8: []byte("\xe7")}},
	{"UTF-8 tail that is missing", "utf8", map[uint32][]byte{fieldUTF8: nil}},
	{"UTF-8 tail of four bytes", "utf8", map[uint32][]byte{fieldUTF8: []byte("\xf0\x9f\x98\x80")}},
	{"UTF-8 tail of binary", "utf8", map[uint32][]byte{fieldMessageOp: number(2)}},
	{"UTF-8 tail of nothing", "idle", map[uint32][]byte{fieldUTF8: []byte("\xe6")}},
	{"text that is not UTF-8", "fragments", map[uint32][]byte{fieldMessage: []byte("\xff")}},
	{"malformed text that is still text", "malformed", map[uint32][]byte{fieldMessageOp: number(1)}},
	{"malformed text of no message", "idle", map[uint32][]byte{fieldMalformed: number(1)}},
	{"control payload outside of its frame", "fragments", map[uint32][]byte{fieldControl: []byte("x")}},
	{"control payload inside a text frame", "payload", map[uint32][]byte{fieldControl: []byte("x")}},
	{"control payload too long", "control-alone", map[uint32][]byte{fieldControl: make([]byte, 126)}},
	{"control payload that is missing", "control-alone", map[uint32][]byte{fieldFrame: frameField(opPing, 1, 9, 1)}},
	{"control frame of 126 bytes", "control-alone", map[uint32][]byte{fieldFrame: frameField(opPing, 1, 126, 123)}},
	{"control frame in fragments", "control-alone", map[uint32][]byte{fieldFrame: frameField(opPing, 0, 4, 1)}},
	{"control frame compressed", "control-alone", map[uint32][]byte{fieldFrame: frameField(opPing, 3, 4, 1)}},
	{"a position, but nothing to write", "idle", map[uint32][]byte{fieldOutBase: number(7)}},
	{"a wait for the writing of nothing", "idle", map[uint32][]byte{fieldOutLast: number(7)}},
	{"a wait for more than is to be written", "unwritten", map[uint32][]byte{fieldOutLast: number(8)}},
	{"position over the limit", "unwritten", map[uint32][]byte{fieldOutBase: number(1<<62 + 1)}},
	{"opened after the end of time", "idle", map[uint32][]byte{fieldOpened: number(1 << 63)}},
	{"due after the end of time", "idle", map[uint32][]byte{fieldDue: number(1 << 32)}},
	{"records without TLS", "tls-sealed", map[uint32][]byte{fieldTLS: nil}},
	{"sealed, and no records", "tls-sealed", map[uint32][]byte{fieldRecords: nil}},
	{"more sealed than unwritten", "tls-sealed", map[uint32][]byte{fieldSealed: number(15)}},
	{"sealed, and nothing unwritten", "tls-sealed", map[uint32][]byte{fieldUnwritten: nil}},
	{"TLS that is none", "idle-tls", map[uint32][]byte{fieldTLS: []byte("Ht")}},
	{"TLS closed for writing in an open connection", "idle-tls", map[uint32][]byte{fieldTLS: closedLayer(false)}},
	{"TLS closed for reading in an open connection", "idle-tls", map[uint32][]byte{fieldTLS: closedLayer(true)}},
	{"more to write behind the alert", "tls-alert", map[uint32][]byte{fieldUnwritten: []byte("more")}},
	{"awaits what the alert cut off", "tls-alert", map[uint32][]byte{fieldOutLast: number(9)}},
}

// closedLayer is the state of a layer after close_notify, from one side.
func closedLayer(read bool) []byte {
	l := layerOf(nil, 0, 1, false)
	if read {
		_, _ = l.Open(layerOf(nil, 0, 1, true).AppendCloseNotify(nil))
	} else {
		l.AppendCloseNotify(nil)
	}
	return l.AppendState(nil)
}

func TestStateHostile(t *testing.T) {
	for _, tt := range hostileStates {
		if s, _, err := parseState(rewrite(t, tt.sample, tt.change)); err == nil {
			t.Errorf("%s passes: %+v", tt.name, s)
		}
	}
	for _, tt := range stateSamples { // rewrite itself does no harm
		if _, _, err := parseState(rewrite(t, tt.name, nil)); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestStateUnknownFields(t *testing.T) {
	b := rewrite(t, "stalled", map[uint32][]byte{90: []byte("new")})
	s, due, err := parseState(b)
	if err != nil || !bytes.Equal(s.append(nil, due), rewrite(t, "stalled", nil)) {
		t.Errorf("with an optional field of a later version: %v", err)
	}
	b = b[:len(b)-1]
	b = tlv.AppendEnd(tlv.AppendRequired(b, 91, nil))
	if _, _, err := parseState(b); err == nil {
		t.Error("a required field of a later version is passed over")
	}
	later := rewrite(t, "idle", nil)
	later[2] = StateVersion + 1
	if _, _, err := parseState(later); err == nil {
		t.Error("a later version is read")
	}
}

// What comes after a handshake is at its beginning, early bytes aside.
func TestParseStateTakesNewConnectionsOnly(t *testing.T) {
	for _, tt := range stateSamples {
		s, early, err := ParseState(tt.s.append(nil, 0))
		fresh := tt.name == "early" || strings.HasPrefix(tt.name, "idle")
		if fresh != (err == nil) || fresh && (s.decoder.part != nil || (tt.name == "early") != (len(early) > 0)) {
			t.Errorf("%s: %+v, %q, %v", tt.name, s, early, err)
		}
	}
	s, early, err := ParseState(AppendState(nil, held(nil), []byte("early")))
	if err != nil || string(early) != "early" || !reflect.DeepEqual(s, held(nil)) {
		t.Errorf("%+v, %q, %v", s, early, err)
	}
}

// Whatever is taken is the one encoding of what was understood, and a decoder
// goes on with it without harm, whatever comes next.
func FuzzConnState(f *testing.F) {
	for _, tt := range stateSamples {
		f.Add(tt.s.append(nil, tt.due), fragments[9:])
	}
	f.Fuzz(func(t *testing.T, b, next []byte) {
		s, due, err := parseState(b)
		if err != nil {
			return
		}
		again := s.append(nil, due)
		if !bytes.Equal(again, b) && !hasUnknown(b) {
			t.Fatalf("%x became\n%x", b, again)
		}
		if s, due, err = parseState(again); err != nil || !bytes.Equal(s.append(nil, due), again) {
			t.Fatalf("%x does not stay the same: %v", again, err)
		}
		next = append(s.decoder.takeUnread(), next...)
		for len(next) > 0 {
			_, rest, _, fault := s.decoder.next(next, bounds{1000, s.DeflateBits != 0, false})
			if fault != nil {
				return
			}
			next = rest
		}
		if s.phase != phaseLingering {
			if s, _, err = parseState(s.append(nil, due)); err != nil {
				t.Fatalf("%x leads to a state that is refused: %v", b, err)
			}
		}
	})
}

func hasUnknown(b []byte) bool {
	r := tlv.NewReader("", b, stateMagic, StateVersions...)
	for id, ok := r.Next(); ok; id, ok = r.Next() {
		if id == fieldTLS {
			r.Required()
			r.Bytes(len(b))
		} else if r.Unknown(); id > fieldNames && id != fieldNoFrame {
			return true
		}
	}
	return false
}
