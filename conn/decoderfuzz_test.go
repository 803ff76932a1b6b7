package conn

import (
	"bytes"
	"slices"
	"testing"
)

// However a stream is cut, the same comes out of it, and the decoder holds no
// more than its bound.
func FuzzDecoder(f *testing.F) {
	for _, s := range samples {
		if b := stream(s.frames...); len(b) < 1000 {
			f.Add(b, uint16(3), uint16(7), true)
		}
	}
	for _, v := range violations {
		if len(v.b) < 1000 {
			f.Add(v.b, uint16(2), uint16(1), true)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, cut, step uint16, compressed bool) {
		lim := bounds{maxMessage: 300, compressed: compressed}
		want, held := decodeAll(lim, b)
		if held > heldAtMost(lim) {
			t.Errorf("whole: %d bytes held", held)
		}
		at := min(int(cut), len(b))
		for _, pieces := range [][][]byte{
			{b[:at], b[at:]},
			slices.Collect(slices.Chunk(b, 1+int(step)%64)),
			slices.Collect(slices.Chunk(b, 1)),
		} {
			got, held := decodeAll(lim, pieces...)
			if !slices.Equal(got, want) {
				t.Errorf("%d pieces: got %q\nwant %q", len(pieces), got, want)
			}
			if held > heldAtMost(lim) {
				t.Errorf("%d pieces: %d bytes held", len(pieces), held)
			}
		}
	})
}

// What is compressed inflates to itself; what is not, never harms.
func FuzzDeflate(f *testing.F) {
	for _, s := range hardText {
		f.Add([]byte(s))
	}
	f.Add(bytes.Repeat([]byte(`{"meterValue":1},`), 500))
	f.Add([]byte("\xf2\x48\xcd\xc9\xc9\x07\x00")) // RFC 7692 section 7.2.3.1
	var d deflater
	f.Fuzz(func(t *testing.T, b []byte) {
		limit := len(b) + 10
		if z := d.compress(b); z != nil {
			if len(z) >= len(b) {
				t.Errorf("%d bytes made %d", len(b), len(z))
			}
			if got, fault := d.inflate(z, limit, false); fault != nil || !bytes.Equal(got, b) {
				t.Errorf("round trip: %v, %d bytes of %d", fault, len(got), len(b))
			}
		}
		if got, fault := d.inflate(b, limit, true); fault == nil && len(got) > limit {
			t.Errorf("%d bytes over a limit of %d", len(got), limit)
		}
	})
}
