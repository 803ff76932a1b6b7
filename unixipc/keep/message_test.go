package keep

import (
	"bytes"
	"encoding/hex"
	"testing"

	"holdfast/unixipc"
)

var twoIDs = idList{0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0, 0, 0, 0, 2}

var samples = []struct {
	message
	fds  int
	want string
}{
	{message{kind: msgClaim, version: 1}, 1, "0101"},
	{message{kind: msgTook}, 0, "02"},
	{message{kind: msgPut, ids: twoIDs}, 2, "030000000000000001ff00000000000002"},
	{message{kind: msgDrop, ids: twoIDs}, 0, "040000000000000001ff00000000000002"},
	{message{kind: msgValid}, 2, "05"},
	{message{kind: msgState, version: 1, items: 258}, 1, "810100000102"},
	{message{kind: msgItems, ids: twoIDs}, 2, "820000000000000001ff00000000000002"},
	{message{kind: msgEnd}, 0, "83"},
	{message{kind: msgRefused, reason: []byte("why")}, 0, "84776879"},
}

// The bytes of version 1 never change.
func TestGolden(t *testing.T) {
	for _, s := range samples {
		b := s.append(nil)
		if got := hex.EncodeToString(b); got != s.want {
			t.Errorf("%v: %s, want %s", s.kind, got, s.want)
		}
		m, err := parse(b, s.fds)
		if err != nil || !bytes.Equal(m.append(nil), b) {
			t.Errorf("%v: %+v, %v", s.kind, m, err)
		}
		if _, err := parse(b, s.fds+2); err == nil {
			t.Errorf("%v with %d file descriptors is accepted", s.kind, s.fds+2)
		}
		if _, err := parse(append(b, make([]byte, maxMessage)...), s.fds); err == nil {
			t.Errorf("%v that is too long is accepted", s.kind)
		}
		for i := range b {
			cut := s.kind == msgRefused || s.kind == msgDrop && i == 1+idSize // is a message, too
			if m, err := parse(b[:i], s.fds); err == nil && (!cut || i == 0) {
				t.Errorf("%v: a prefix of %d bytes is %+v", s.kind, i, m)
			}
		}
	}
	if twoIDs.at(1) != 0xff00000000000002 || twoIDs.len() != 2 {
		t.Error(twoIDs.at(1))
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range samples {
		f.Add(s.append(nil), s.fds)
	}
	f.Fuzz(func(t *testing.T, b []byte, fds int) {
		m, err := parse(b, fds)
		if err != nil {
			return
		}
		if got := m.append(nil); !bytes.Equal(got, b) {
			t.Fatalf("%x parsed and appended is %x", b, got)
		}
		if fds < 0 || fds > unixipc.MaxFDs {
			t.Fatalf("%d file descriptors are accepted", fds)
		}
	})
}
