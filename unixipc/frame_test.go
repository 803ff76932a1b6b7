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
