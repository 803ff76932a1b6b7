package conn

import (
	"math/rand/v2"
	"testing"
	"unicode/utf8"
)

// hardText is where checks of UTF-8 go wrong.
var hardText = []string{
	"", "a", "é", "κόσμε", "日本語", "😀", "a😀b", "\u0000", "\u007f", "\u0080", "\u07ff", "\u0800", "\uffff",
	"\ud7ff", "\ue000", "\ufffd", "\U00010000", "\U0010ffff", // the borders of each length
	"\x80", "\xbf", "a\x80", "é\x80", // a continuation that continues nothing
	"\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", // overlong
	"\xed\xa0\x80", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80", // surrogates
	"\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80", "\xfe", "\xff", // over U+10FFFF
	"\xc3", "\xe6\x97", "\xf0\x9f\x98", "a\xf0", "\xe6a", "\xf0\x9fa", "\xf0\x9f\x98a", "\xe6\xe6\x97\xa5", // cut short
	"日本\xe8\xaa", "日\xf0\x9f\x98\xe8\xaa\x9e", "κ\xbc", "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
}

// check writes the pieces and gives what utf8.Valid would give of the whole.
func checkPieces(pieces ...string) bool {
	var u utf8Check
	for _, p := range pieces {
		if !u.write([]byte(p)) {
			return false
		}
	}
	return u.complete()
}

func TestUTF8EverySplit(t *testing.T) {
	for _, s := range hardText {
		want := utf8.ValidString(s)
		for i := range len(s) + 1 {
			for j := i; j <= len(s); j++ {
				if got := checkPieces(s[:i], s[i:j], s[j:]); got != want {
					t.Errorf("%q | %q | %q: got %v", s[:i], s[i:j], s[j:], got)
				}
			}
		}
	}
}

// A fault is told at the byte that makes it one, not at the end of the text.
func TestUTF8FailsFast(t *testing.T) {
	for _, s := range []string{"\x80", "\xc0", "\xe0\x80", "\xed\xa0", "\xf0\x80", "\xf4\x90", "\xf5", "\xe6a", "ok\xff"} {
		var u utf8Check
		for i := range len(s) {
			if ok := u.write([]byte{s[i]}); ok != (i < len(s)-1) {
				t.Errorf("%q: byte %d gives %v", s, i, ok)
			}
		}
	}
}

func TestUTF8Random(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		var s string
		for range r.IntN(6) {
			s += hardText[r.IntN(len(hardText))]
		}
		var pieces []string
		for rest := s; ; {
			n := r.IntN(len(rest) + 1)
			pieces = append(pieces, rest[:n])
			if rest = rest[n:]; rest == "" {
				break
			}
		}
		if got := checkPieces(pieces...); got != utf8.ValidString(s) {
			t.Fatalf("%q: got %v", pieces, got)
		}
	}
}
