package tlv

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
)

var testMagic = [2]byte{'T', 't'}

// Fields of the state that the tests know: a number, a truth value, bytes, a
// list, and one that must be known.
const (
	fieldNumber   = 1
	fieldTruth    = 2
	fieldBytes    = 5
	fieldList     = 300
	fieldRequired = 301
)

type sample struct {
	number   uint64
	truth    bool
	bytes    string
	list     []string
	required string
}

func (s sample) append(dst []byte) []byte {
	dst = AppendHeader(dst, testMagic, 1)
	dst = AppendUint(dst, fieldNumber, s.number)
	dst = AppendBool(dst, fieldTruth, s.truth)
	dst = AppendBytes(dst, fieldBytes, s.bytes)
	for _, item := range s.list {
		dst = AppendItem(dst, fieldList, []byte(item))
	}
	if s.required != "" {
		dst = AppendRequired(dst, fieldRequired, []byte(s.required))
	}
	return AppendEnd(dst)
}

// parse returns also whether something was skipped.
func parse(b []byte) (s sample, skipped bool, err error) {
	r := NewReader("test state", b, testMagic, 1)
	for {
		id, ok := r.Next(fieldList)
		if !ok {
			return s, skipped, r.Err()
		}
		switch id {
		case fieldNumber:
			s.number = r.Uint(math.MaxUint64)
		case fieldTruth:
			s.truth = r.Bool()
		case fieldBytes:
			s.bytes = r.String(300)
		case fieldList:
			s.list = append(s.list, string(r.Item(4)))
		case fieldRequired:
			r.Required()
			s.required = r.String(10)
		default:
			r.Unknown()
			skipped = true
		}
	}
}

func equal(a, b sample) bool {
	return a.number == b.number && a.truth == b.truth && a.bytes == b.bytes && slices.Equal(a.list, b.list) && a.required == b.required
}

var samples = []sample{
	{},
	{number: 1},
	{number: 127, truth: true},
	{number: 128, bytes: "x"},
	{number: math.MaxUint64, bytes: string(bytes.Repeat([]byte("y"), 200))},
	{list: []string{""}},
	{list: []string{"a", "", "\x00", "bbbb"}, required: "r"},
	{required: "\x00\x00"},
}

func TestRoundTrip(t *testing.T) {
	for _, s := range samples {
		b := s.append(nil)
		got, skipped, err := parse(b)
		if err != nil || skipped || !equal(got, s) {
			t.Errorf("%+v became %+v, skipped %v, %v", s, got, skipped, err)
		}
	}
}

// No state is the beginning of another: each one that is cut short says so.
func TestEveryStrictPrefixIsRefused(t *testing.T) {
	for _, s := range samples {
		b := s.append(nil)
		for i := range b {
			if _, _, err := parse(b[:i]); !errors.Is(err, ErrTruncated) {
				t.Errorf("%+v cut at %d of %d: %v", s, i, len(b), err)
			}
		}
	}
}

// A field of a later version is passed over, even if it is a list, and wherever
// it stands; one that had to be known is not.
func TestUnknownFields(t *testing.T) {
	want := sample{number: 7, bytes: "x", list: []string{"a", "b"}}
	build := func(required bool, numbers ...uint32) []byte {
		b := AppendHeader(nil, testMagic, 1)
		unknown := func(after uint32) {
			for _, n := range numbers {
				switch {
				case n < after || after < fieldList && n > after+10:
				case required:
					b = AppendRequired(b, n, []byte("?"))
				default:
					b = AppendItem(b, n, []byte("?"))
				}
			}
		}
		b = AppendUint(b, fieldNumber, want.number)
		unknown(3)
		b = AppendBytes(b, fieldBytes, want.bytes)
		for _, item := range want.list {
			b = AppendItem(b, fieldList, []byte(item))
		}
		unknown(fieldList + 1)
		return AppendEnd(b)
	}
	for _, numbers := range [][]uint32{{3}, {3, 4}, {3, 3, 3}, {302}, {302, 302, 5000}, {math.MaxUint32 >> 1}} {
		got, skipped, err := parse(build(false, numbers...))
		if err != nil || !skipped || !equal(got, want) {
			t.Errorf("optional %v: %+v, skipped %v, %v", numbers, got, skipped, err)
		}
		if _, _, err := parse(build(true, numbers...)); !errors.Is(err, ErrRequired) {
			t.Errorf("required %v: %v", numbers, err)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name, fields string // hex, behind the header
		want         error
	}{
		{"bytes behind the end", "0000", ErrCanonical},
		{"a field behind the end", "00020101", ErrCanonical},
		{"number 0, required", "010000", ErrCanonical},
		{"descending", "0401010201010000", ErrCanonical},
		{"twice", "02010102010100", ErrCanonical},
		{"zero written down", "02010000", ErrCanonical},
		{"number in more bytes than it needs", "0202810000", ErrCanonical},
		{"number with a byte behind it", "0202010100", ErrCanonical},
		{"number of no bytes", "020000", ErrCanonical},
		{"number cut short inside", "02018100", ErrCanonical},
		{"number over 64 bits", "020bffffffffffffffffffff0100", ErrCanonical},
		{"false written down", "04010000", ErrCanonical},
		{"truth of 2", "04010200", ErrValue},
		{"empty bytes written down", "0a0000", ErrCanonical},
		{"bytes over their limit", "0aad02" + hex.EncodeToString(make([]byte, 301)) + "00", ErrValue},
		{"item over its limit", "d80405000000000000", ErrValue},
		{"tag in more bytes than it needs", "8200010100", ErrCanonical},
		{"size in more bytes than it needs", "0281000100", ErrCanonical},
		{"tag over 64 bits", "ffffffffffffffffffff0100", ErrCanonical},
		{"number over 32 bits", "80808080800100", ErrCanonical},
		{"size beyond the end", "0a7f0000", ErrTruncated},
		{"size of 2^63", "0a8080808080808080800100", ErrTruncated},
		{"known field marked as required", "03010100", ErrCanonical},
		{"known bytes marked as required", "0b017800", ErrCanonical},
		{"known item marked as required", "d904017800", ErrCanonical},
		{"required field not marked so", "da04017800", ErrCanonical},
	} {
		b, err := hex.DecodeString("547401" + tt.fields)
		if err != nil {
			t.Fatal(err)
		}
		if s, _, err := parse(b); !errors.Is(err, tt.want) {
			t.Errorf("%s: %+v, %v; want %v", tt.name, s, err, tt.want)
		}
	}
	for _, b := range []string{"", "T", "Tt", "Xt\x01\x00", "TT\x01\x00", "Tt\x02\x00", "Tt\x00\x00"} {
		if _, _, err := parse([]byte(b)); err == nil {
			t.Errorf("header %q passes", b)
		}
	}
}

// A length is believed only as far as there are bytes.
func TestNothingIsAllocatedForALength(t *testing.T) {
	b := append(AppendHeader(nil, testMagic, 1), 0x0a, 0xff, 0xff, 0xff, 0xff, 0x07)
	if n := testing.AllocsPerRun(10, func() { _, _, _ = parse(b) }); n > 10 {
		t.Errorf("%v allocations", n)
	}
	big := AppendEnd(AppendBytes(AppendHeader(nil, testMagic, 1), fieldBytes, make([]byte, 1<<20)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := parse(big)
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 64<<10 || !errors.Is(err, ErrValue) {
		t.Errorf("%d bytes allocated for a field over its limit, %v", got, err)
	}
}

// The bytes of a state never change.
func TestGolden(t *testing.T) {
	got := samples[6].append(nil)
	const want = "547401" + "d8040161" + "d80400" + "d8040100" + "d8040462626262" + "db040172" + "00"
	if fmt.Sprintf("%x", got) != want {
		t.Errorf("got  %x\nwant %s", got, want)
	}
}

// Whatever is taken is the one encoding of what was understood.
func FuzzState(f *testing.F) {
	for _, s := range samples {
		f.Add(s.append(nil))
	}
	f.Add([]byte("Tt\x01\x06\x01?\x06\x01?\x0a\x01x\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, skipped, err := parse(b)
		if err != nil {
			return
		}
		again := s.append(nil)
		if !skipped && !bytes.Equal(again, b) {
			t.Errorf("%x became %x", b, again)
		}
		if got, _, err := parse(again); err != nil || !equal(got, s) {
			t.Errorf("%+v became %+v, %v", s, got, err)
		}
	})
}
