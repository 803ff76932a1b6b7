package conn

import "unicode/utf8"

// utf8Check validates UTF-8 that arrives in pieces (RFC 6455 section 8.1: text
// is checked before its message is complete). What it keeps between pieces is
// the beginning of one sequence.
type utf8Check struct {
	tail [utf8.UTFMax]byte
	n    uint8 // bytes of tail in use
}

// write takes the next piece and reports whether the text can still be valid.
func (u *utf8Check) write(b []byte) bool {
	for u.n > 0 && len(b) > 0 {
		u.tail[u.n] = b[0]
		u.n++
		b = b[1:]
		if utf8.FullRune(u.tail[:u.n]) {
			if r, size := utf8.DecodeRune(u.tail[:u.n]); r == utf8.RuneError && size <= 1 {
				return false
			}
			u.n = 0
		}
	}
	// Leave out an unfinished sequence at the end: at most three bytes.
	end := len(b)
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if start := len(b) - i; utf8.RuneStart(b[start]) {
			if !utf8.FullRune(b[start:]) {
				end = start
			}
			break
		}
	}
	if !utf8.Valid(b[:end]) {
		return false
	}
	u.n += uint8(copy(u.tail[u.n:], b[end:]))
	return true
}

// complete reports whether the text may end here.
func (u *utf8Check) complete() bool { return u.n == 0 }
