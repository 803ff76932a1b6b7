package conn

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCloseCodes(t *testing.T) {
	for _, tt := range []struct {
		from, to int
		ok       bool
	}{
		{-1, 999, false},
		{1000, 1003, true},
		{1004, 1006, false},
		{1007, 1014, true},
		{1015, 2999, false},
		{3000, 4999, true},
		{5000, 65535, false},
	} {
		for code := tt.from; code <= tt.to; code++ {
			if SendableCode(code) != tt.ok {
				t.Errorf("%d: %v", code, !tt.ok)
			}
			if code < 0 {
				continue
			}
			got, fault := parseClose(closePayload(code, "why"))
			if tt.ok && (fault != nil || got != Close{Code: code, Reason: "why", By: ByCharger}) || !tt.ok && (fault == nil || fault.Code != CodeProtocolError) {
				t.Errorf("%d from a charger: %+v, %+v", code, got, fault)
			}
		}
	}
}

func TestClosePayloads(t *testing.T) {
	for _, tt := range []struct {
		payload string
		want    Close
		fault   int
	}{
		{"", Close{Code: CodeNoStatus, Reason: "", By: ByCharger}, 0},
		{"\x03", Close{}, CodeProtocolError},
		{"\x03\xe8", Close{Code: CodeNormal, Reason: "", By: ByCharger}, 0},
		{"\x03\xe8bye ☂", Close{Code: CodeNormal, Reason: "bye ☂", By: ByCharger}, 0},
		{"\x03\xe8\xff", Close{}, CodeInvalidData},
		{"\x03\xe8\xe2\x98", Close{}, CodeInvalidData},
	} {
		got, fault := parseClose([]byte(tt.payload))
		if (fault == nil) != (tt.fault == 0) || fault != nil && fault.Code != tt.fault || got != tt.want {
			t.Errorf("%q: got %+v, %+v", tt.payload, got, fault)
		}
	}
}

// Whatever the reason, the frame is one that a charger must accept.
func TestCloseReasonIsCutAtARune(t *testing.T) {
	for _, tt := range []struct{ reason, want string }{
		{"", ""},
		{"short", "short"},
		{strings.Repeat("x", 123), strings.Repeat("x", 123)},
		{strings.Repeat("x", 124), strings.Repeat("x", 123)},
		{strings.Repeat("x", 122) + "é", strings.Repeat("x", 122)},
		{strings.Repeat("x", 121) + "é", strings.Repeat("x", 121) + "é"},
		{strings.Repeat("x", 120) + "😀", strings.Repeat("x", 120)},
		{strings.Repeat("日", 100), strings.Repeat("日", 41)},
		{"offered: \xff\xfe", "offered: ?"},
		{strings.Repeat("\x80", 200), "?"},
	} {
		b := appendClose([]byte("before"), CodePolicy, tt.reason)[len("before"):]
		if len(b) < 4 || b[0] != finBit|byte(opClose) || int(b[1]) != len(b)-2 || len(b) > 2+maxControl || !utf8.Valid(b[4:]) {
			t.Errorf("%q: % x", tt.reason, b)
		} else if string(b[4:]) != tt.want {
			t.Errorf("%q: got %q, want %q", tt.reason, b[4:], tt.want)
		}
	}
	for _, code := range []int{CodeNoStatus, CodeAbnormal, 0, 1015} {
		if b := appendClose(nil, code, "why"); string(b) != "\x88\x00" {
			t.Errorf("%d goes onto the wire: % x", code, b)
		}
	}
}
