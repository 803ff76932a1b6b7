package record

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzOpen has a charger go on with anything behind a valid start. It must never
// have the layer panic or give data that was not sealed, and wherever it stops
// the state can be handed over, and says the same there.
func FuzzOpen(f *testing.F) {
	for i := range suites {
		_, far := layers(&suites[i])
		start, _ := streamOf(far, nil)
		f.Add(uint8(i), uint16(0), []byte(nil))
		f.Add(uint8(i), uint16(7), start[:40])
		f.Add(uint8(i), uint16(len(start)), sends(far, typeData, []byte("next"), 1))
		f.Add(uint8(i), uint16(len(start)), []byte{typeData, 3, 3, 0x41, 0x01})
		f.Add(uint8(i), uint16(len(start)), []byte{typeAlert, 3, 3, 0, 2, levelFatal, alertInternalError})
		f.Add(uint8(i), uint16(len(start)), []byte{typeChangeCipherSpec, 3, 3, 0, 1, 1})
		f.Add(uint8(i), uint16(len(start)), sends(far, typeAlert, []byte{levelWarning, alertCloseNotify}, 0))
	}
	f.Fuzz(func(t *testing.T, which uint8, cut uint16, rest []byte) {
		s := &suites[int(which)%len(suites)]
		near, far := layers(s)
		stream, data := streamOf(far, nil)
		n := min(int(cut), len(stream))
		// What may come of it: the sealed data, as far as the stream is the
		// valid one, and what the seeds seal behind it.
		sealed := data + "next"
		near, start, err := opens(t, near, false, stream[:n])
		if err != nil {
			t.Fatal(err)
		}
		whole := throughState(t, near)
		got, err := near.Open(bytes.Clone(rest))
		if all := string(start) + string(got); len(all) > len(sealed) || all != sealed[:len(all)] {
			t.Fatalf("%q was never sealed", got)
		}
		other, again, errAgain := opens(t, whole, len(rest) < 200, bytewise(rest)...)
		if !bytes.Equal(got, again) || (err == nil) != (errAgain == nil) || err != nil && err.Error() != errAgain.Error() {
			t.Fatalf("in one piece %q, %v; in bytes %q, %v", got, err, again, errAgain)
		}
		if !bytes.Equal(throughState(t, near).AppendState(nil), other.AppendState(nil)) {
			t.Fatalf("in one piece\n%x, in bytes\n%x", near.AppendState(nil), other.AppendState(nil))
		}
		if near.Memory() > 3*(headerSize+near.maxCiphertext()) {
			t.Fatalf("%d bytes are kept", near.Memory())
		}
		if near.OwesUpdate() {
			near.AppendKeyUpdate(nil)
		}
		if err != nil {
			var v *ViolationError
			var a AlertError
			if !errors.As(err, &v) && !errors.As(err, &a) && err != ErrCloseNotify {
				t.Fatalf("%v", err)
			}
			if len(near.AppendAlert(nil, err)) == 0 {
				t.Fatal("nothing is said")
			}
		} else {
			near.Seal(nil, []byte("and on"))
		}
	})
}

// FuzzLayerState: whatever is taken is the one encoding of what was understood,
// and a layer goes on with it without harm, whatever comes next.
func FuzzLayerState(f *testing.F) {
	_, far := layers(&suites[0])
	next := sends(far, typeData, []byte("next"), 0)
	for _, l := range stateSamples(f) {
		f.Add(l.AppendState(nil), next)
	}
	f.Fuzz(func(t *testing.T, b, next []byte) {
		l, err := ParseState(b)
		if err != nil {
			if l != nil {
				t.Fatal("a layer besides an error")
			}
			return
		}
		again := l.AppendState(nil)
		if !bytes.Equal(again, b) && !hasUnknown(b) {
			t.Fatalf("%x became\n%x", b, again)
		}
		l = throughState(t, l)
		if !l.ReadClosed() {
			if _, err := l.Open(bytes.Clone(next)); err != nil {
				throughState(t, l).AppendAlert(nil, err)
				return
			}
		}
		if l.OwesUpdate() {
			l.AppendKeyUpdate(nil)
		}
		if !l.WriteClosed() {
			l.AppendCloseNotify(l.Seal(nil, next))
		}
		if l.write.seq <= maxSeq {
			throughState(t, l)
		}
	})
}
