package raw

import (
	"bytes"
	"strings"
	"testing"
)

// The lengths on both sides of each boundary of RFC 6455 section 5.2.
func TestHeader(t *testing.T) {
	for _, c := range []struct {
		n      uint64
		length []byte
	}{
		{0, []byte{0}},
		{125, []byte{125}},
		{126, []byte{126, 0, 126}},
		{65535, []byte{126, 0xff, 0xff}},
		{65536, []byte{127, 0, 0, 0, 0, 0, 1, 0, 0}},
		{1<<64 - 1, []byte{127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
	} {
		want := append([]byte("before\x81"), c.length...)
		if got := AppendHeader([]byte("before"), Fin|OpText, false, c.n); !bytes.Equal(got, want) {
			t.Errorf("%d bytes: % x, want % x", c.n, got, want)
		}
		want[len("before")+1] |= 0x80
		if got := AppendHeader([]byte("before"), Fin|OpText, true, c.n); !bytes.Equal(got, want) {
			t.Errorf("%d bytes, masked: % x, want % x", c.n, got, want)
		}
	}
}

func TestRead(t *testing.T) {
	for _, n := range []int{0, 125, 126, 65535, 65536} {
		payload := strings.Repeat("x", n)
		frame := append(AppendHeader(nil, Fin|OpBinary, false, uint64(n)), payload...)
		if op, got, err := Read(bytes.NewReader(frame)); op != OpBinary || got != payload || err != nil {
			t.Errorf("%d bytes: %x with %d bytes, %v", n, op, len(got), err)
		}
		if _, _, err := Read(bytes.NewReader(frame[:len(frame)-1])); err == nil {
			t.Errorf("%d bytes: a part is taken for the whole", n)
		}
	}
	for name, frame := range map[string]string{
		"masked":     Text("x"),
		"a fragment": string(AppendHeader(nil, OpText, false, 0)),
		"compressed": string(AppendHeader(nil, Fin|Rsv1|OpText, false, 0)),
		"huge":       string(AppendHeader(nil, Fin|OpText, false, maxPayload+1)),
	} {
		if _, _, err := Read(strings.NewReader(frame)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestReadClose(t *testing.T) {
	closing := func(payload string) string {
		return string(AppendHeader(nil, Fin|OpClose, false, uint64(len(payload)))) + payload
	}
	ping := string(AppendHeader(nil, Fin|OpPing, false, 0))
	for _, c := range []struct {
		in   string
		code int
		ok   bool
	}{
		{ping + closing(Closing(1008, "why")), 1008, true},
		{closing(""), 0, true},
		{ping, 0, false},
	} {
		if code, err := ReadClose(strings.NewReader(c.in)); code != c.code || (err == nil) != c.ok {
			t.Errorf("%q: %d, %v", c.in, code, err)
		}
	}
}
