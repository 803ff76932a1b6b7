package record

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// streamOf is a stream that has everything in it that may come, and its data.
func streamOf(far *Layer, end []byte) (stream []byte, data string) {
	add := func(parts ...[]byte) { stream = append(stream, join(parts...)...) }
	text := func(n, padding int) {
		s := fmt.Sprintf("<%0*d>", n, len(data))
		data += s
		add(sends(far, typeData, []byte(s), padding))
	}
	text(1, 0)
	text(70, 0)
	add(sends(far, typeData, nil, 0))
	text(3, 5)
	add(sends(far, typeAlert, []byte{levelWarning, alertUserCanceled}, 0))
	add(sends(far, typeData, nil, 40))
	if far.suite.is13() {
		add(updates(far, 0))
		text(2, 0)
		add(updates(far, 1, 1, 1, 1, 1))
		add(updates(far, 0, 4))
		add(updates(far, 1, 2))
		text(9, 100)
	} else {
		add(sends(far, typeAlert, []byte{levelWarning, alertNoRenegotiation}, 0))
		text(9, 0)
	}
	add(end)
	return stream, data
}

// However a stream is cut, and wherever it is handed over, the data, the end
// and the state behind it are the same.
func TestEverySplit(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite) {
		for _, closes := range []bool{false, true} {
			near, far := layers(s)
			stream, want := streamOf(far, nil)
			var wantErr error
			if closes {
				stream = join(stream, sends(far, typeAlert, []byte{levelWarning, alertCloseNotify}, 0), sends(far, typeData, []byte("more"), 0))
				wantErr = ErrCloseNotify
			}
			near, _, _ = opens(t, near, false, stream)
			wantState := near.AppendState(nil)
			if !closes && (near.read.seq == 0 || near.owesUpdate != s.is13()) {
				t.Fatalf("%+v", near)
			}
			check := func(name string, pieces ...[]byte) {
				t.Helper()
				for _, states := range []bool{false, true} {
					near, _ := layers(s)
					near, data, err := opens(t, near, states, pieces...)
					if string(data) != want || !errors.Is(err, wantErr) {
						t.Fatalf("%s, states %v: %q, %v; want %q, %v", name, states, data, err, want, wantErr)
					}
					if got := near.AppendState(nil); !bytes.Equal(got, wantState) {
						t.Fatalf("%s, states %v: ends as\n%x, want\n%x", name, states, got, wantState)
					}
					if near.Memory() != 0 {
						t.Fatalf("%s: %d bytes are kept of nothing", name, near.Memory())
					}
				}
			}
			check("whole", stream)
			check("bytes", bytewise(stream)...)
			for i := range stream {
				check(fmt.Sprintf("cut at %d", i), stream[:i], stream[i:])
			}
		}
	})
}

// Records of the greatest length, in pieces of every kind of size.
func TestLongRecordsInPieces(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite) {
		for _, size := range []int{1, 7, 1000, MaxPlaintext, 3*MaxPlaintext + 11} {
			near, far := layers(s)
			want := bytes.Repeat([]byte("0123456789abcdefg"), 5*MaxPlaintext/17)
			stream := far.Seal(nil, want)
			var pieces [][]byte
			for b := stream; len(b) > 0; {
				n := min(size, len(b))
				pieces = append(pieces, b[:n])
				b = b[n:]
			}
			near, data, err := opens(t, near, false, pieces...)
			if err != nil || !bytes.Equal(data, want) || near.Memory() != 0 {
				t.Fatalf("pieces of %d: %d bytes, %v", size, len(data), err)
			}
		}
	})
}

// What waits of a record is never more than twice a record, and no byte that
// came before is kept with it.
func TestPartIsBounded(t *testing.T) {
	near, far := layers(&suites[0])
	stream := far.Seal(nil, make([]byte, 8*MaxPlaintext))
	for len(stream) > 0 {
		n := min(50_001, len(stream))
		if _, err := near.Open(bytes.Clone(stream[:n])); err != nil {
			t.Fatal(err)
		}
		if near.Memory() > 2*(headerSize+MaxPlaintext+256) {
			t.Fatalf("%d bytes wait", near.Memory())
		}
		stream = stream[n:]
	}
}
