package conn

import (
	"bytes"
	"compress/flate"
	"strings"
	"testing"
)

func TestAcceptDeflate(t *testing.T) {
	const none = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for _, tt := range []struct {
		name   string
		offers []string
		want   string
		bits   uint8
	}{
		{"nothing offered", nil, "", 0},
		{"empty header", []string{""}, "", 0},
		{"another extension", []string{"x-webkit-deflate-frame"}, "", 0},
		{"bare", []string{"permessage-deflate"}, none, 15},
		{"in capitals", []string{"PerMessage-Deflate"}, none, 15},
		{"browser", []string{"permessage-deflate; client_max_window_bits"}, none, 15},
		{"client window with a value", []string{"permessage-deflate; client_max_window_bits=10"}, none, 15},
		{"takeover refused", []string{"permessage-deflate; server_no_context_takeover; client_no_context_takeover"}, none, 15},
		{"server window", []string{"permessage-deflate; server_max_window_bits=9"}, none + "; server_max_window_bits=9", 9},
		{"server window quoted", []string{`permessage-deflate; server_max_window_bits="12"`}, none + "; server_max_window_bits=12", 12},
		{"server window of 15", []string{"permessage-deflate;server_max_window_bits=15"}, none + "; server_max_window_bits=15", 15},
		{"server window without value", []string{"permessage-deflate; server_max_window_bits"}, "", 0},
		{"server window of 7", []string{"permessage-deflate; server_max_window_bits=7"}, "", 0},
		{"server window of 16", []string{"permessage-deflate; server_max_window_bits=16"}, "", 0},
		{"server window with a zero", []string{"permessage-deflate; server_max_window_bits=09"}, "", 0},
		{"client window of 99", []string{"permessage-deflate; client_max_window_bits=99"}, "", 0},
		{"unknown parameter", []string{"permessage-deflate; fast"}, "", 0},
		{"parameter twice", []string{"permessage-deflate; client_max_window_bits; client_max_window_bits"}, "", 0},
		{"flag with a value", []string{"permessage-deflate; server_no_context_takeover=1"}, "", 0},
		{"second offer fits", []string{"permessage-deflate; fast, permessage-deflate"}, none, 15},
		{"second header fits", []string{"x-other", "permessage-deflate; server_max_window_bits=10"}, none + "; server_max_window_bits=10", 10},
	} {
		if got, bits := acceptDeflate(tt.offers); got != tt.want || bits != tt.bits {
			t.Errorf("%s: got %q, %d; want %q, %d", tt.name, got, bits, tt.want, tt.bits)
		}
	}
}

func TestInflate(t *testing.T) {
	var d deflater
	bomb := d.compress(make([]byte, 4<<20))
	bomb = bytes.Clone(bomb)
	for _, tt := range []struct {
		name    string
		payload string
		text    bool
		want    string
		code    int
	}{
		// RFC 7692 section 7.2.3.
		{"one block", "\xf2\x48\xcd\xc9\xc9\x07\x00", true, "Hello", 0},
		{"stored block", "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", true, "Hello", 0},
		{"final block", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", true, "Hello", 0},
		{"two blocks", "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", true, "Hello", 0},
		{"empty message", "\x00", true, "", 0},
		{"nothing at all", "", true, "", CodeInvalidData},
		{"garbage", "\xff\xff\xff\xff", true, "", CodeInvalidData},
		{"cut short", "\xf2\x48\xcd", true, "", CodeInvalidData},
		{"distance before the beginning", "\x02\x00\x04\x00", true, "", CodeInvalidData},
		{"not UTF-8", string(mustDeflate(t, "\xff\xfe")), true, "", CodeInvalidData},
		{"binary need not be UTF-8", string(mustDeflate(t, "\xff\xfe")), false, "\xff\xfe", 0},
		{"as long as may be", string(mustDeflate(t, strings.Repeat("x", 1000))), true, strings.Repeat("x", 1000), 0},
		{"longer by one", string(mustDeflate(t, strings.Repeat("x", 1001))), true, "", CodeTooBig},
		{"bomb", string(bomb), false, "", CodeTooBig},
		{"good again", "\xf2\x48\xcd\xc9\xc9\x07\x00", true, "Hello", 0},
	} {
		got, fault := d.inflate([]byte(tt.payload), 1000, tt.text)
		switch {
		case fault == nil && (tt.code != 0 || string(got) != tt.want):
			t.Errorf("%s: got %.50q; want %.50q, code %d", tt.name, got, tt.want, tt.code)
		case fault != nil && fault.Code != tt.code:
			t.Errorf("%s: code %d (%s), want %d", tt.name, fault.Code, fault.Reason, tt.code)
		case cap(d.plain) > 3*keepPlain:
			t.Errorf("%s: %d bytes kept", tt.name, cap(d.plain))
		}
	}
}

// mustDeflate compresses as another implementation may: with the best level,
// and flushed after every piece.
func mustDeflate(t *testing.T, pieces ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pieces {
		if _, err := w.Write([]byte(p)); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	return bytes.TrimSuffix(b.Bytes(), flushMark)
}

// No message that could grow, or reach back further than the client's window,
// is sent compressed.
func TestCompressOnlyWhatShrinks(t *testing.T) {
	var d deflater
	random := make([]byte, 5000)
	for i := range random {
		random[i] = byte(i*i*7 + i>>3*13 ^ i*31>>2)
	}
	for _, b := range [][]byte{nil, {1}, []byte("ab"), random, bytes.Repeat([]byte("x"), 5000)} {
		z := d.compress(b)
		if z != nil && len(z) >= len(b) {
			t.Errorf("%d bytes made %d", len(b), len(z))
		}
		if z != nil {
			if got, fault := d.inflate(bytes.Clone(z), 1<<20, false); fault != nil || !bytes.Equal(got, b) {
				t.Errorf("%d bytes do not come back: %v", len(b), fault)
			}
		}
	}
}
