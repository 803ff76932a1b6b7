package unixipc

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

var samples = []Frame{
	{Type: Drain, Key: []byte{}, Payload: []byte{}},
	{Type: Hello, Ref: Version, Key: []byte{}, Payload: []byte(`{"name":"p1","loop":0}`)},
	{Type: Message, Flags: Binary | Redelivered, Ref: 1<<64 - 1, Key: []byte("CP-ü"), Payload: []byte{0, 1, 2}},
	{Type: Ack, Ref: 7, Key: bytes.Repeat([]byte("k"), MaxKey), Payload: bytes.Repeat([]byte("p"), 1000)},
}

// The bytes of version 1 never change.
func TestGolden(t *testing.T) {
	got := Frame{Type: Ack, Flags: Binary, Ref: 258, Key: []byte("CP1"), Payload: []byte("hi")}.Append(nil)
	want := "00000011" + "02" + "01" + "0003" + "0000000000000102" + hex.EncodeToString([]byte("CP1hi"))
	if hex.EncodeToString(got) != want {
		t.Fatalf("got  %x\nwant %s", got, want)
	}
}

func TestEveryPrefixWantsMore(t *testing.T) {
	for _, f := range samples {
		b := f.Append(nil)
		for i := range b {
			if _, n, err := Parse(b[:i], 1000); n != 0 || err != nil {
				t.Fatalf("%v: prefix of %d bytes: n=%d, err=%v", f.Type, i, n, err)
			}
		}
		got, n, err := Parse(append(b, "next"...), 1000)
		if err != nil || n != len(b) || !reflect.DeepEqual(got, f) {
			t.Fatalf("got %+v, %d, %v; want %+v", got, n, err, f)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct{ name, hex, why string }{
		{"short", "0000000b", "shorter than the header"},
		{"huge", "7fffffff", "over the limit"},
		{"key beyond frame", "0000000d" + "0200ffff" + "0000000000000000", "does not fit"},
		{"key over limit", "00000150" + "02000100" + "0000000000000000", "over the limit of 255"},
		{"payload over limit", "00000071" + "02000000" + "0000000000000000", "payload of 101 bytes"},
		{"flags", "0000000c" + "02800000" + "0000000000000000", "unknown flags 0x80"},
	} {
		b, err := hex.DecodeString(c.hex)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = Parse(b, 100)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.why)
		}
	}
}

// The error names the frame as far as it was there: whose log holds it can find
// the charger and the delivery.
func TestFaultNamesFrame(t *testing.T) {
	long := Frame{Type: Ack, Ref: 7, Key: []byte("CP1"), Payload: make([]byte, 101)}.Append(nil)
	huge := Frame{Type: Ack, Ref: 7, Key: []byte("CP1"), Payload: make([]byte, 1000)}.Append(nil)
	flags := Frame{Type: Send, Flags: 0x80, Ref: 9, Key: []byte("CP\xff")}.Append(nil)
	unknown := Frame{Type: 0x77, Flags: 0x80, Ref: 9, Key: []byte("CP1")}.Append(nil)
	beyond, _ := hex.DecodeString("0000000d" + "02000002" + "0000000000000007" + "4343")
	for _, c := range []struct {
		name  string
		bytes []byte
		frame string
	}{
		{"long", long, `ACK 7 of "CP1"`},
		{"long, key to come", long[:HeaderSize+2], "ACK 7"},
		{"huge", huge, `ACK 7 of "CP1"`},
		{"huge, header to come", huge[:HeaderSize-1], ""},
		{"flags", flags, `SEND 9 of "CP\xff"`},
		{"unknown type", unknown, ""},
		{"key beyond frame", beyond, "ACK 7"},
	} {
		_, _, err := Parse(c.bytes, 100)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || syntax.Frame != c.frame || !strings.Contains(err.Error(), c.frame) {
			t.Errorf("%s: %v, want one that names %s", c.name, err, c.frame)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range samples {
		f.Add(s.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, n, err := Parse(b, 4096)
		if err != nil || n == 0 {
			return
		}
		if again := frame.Append(nil); !bytes.Equal(again, b[:n]) {
			t.Fatalf("%x parsed and appended is %x", b[:n], again)
		}
	})
}
