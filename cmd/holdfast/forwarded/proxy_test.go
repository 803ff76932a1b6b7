package forwarded

import (
	"errors"
	"io"
	"strings"
	"testing"
)

const v2 = "\r\n\r\n\x00\r\nQUIT\n"

var headers = []struct {
	header string
	from   string // "": none; "-": refused
}{
	{"PROXY TCP4 192.0.2.1 198.51.100.1 40123 8887\r\n", "192.0.2.1:40123"},
	{"PROXY TCP6 2001:db8::1 ::1 65535 0\r\n", "[2001:db8::1]:65535"},
	{"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 1\r\n", "192.0.2.1:1"},
	{"PROXY UNKNOWN\r\n", ""},
	{"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", ""},
	{"PROXY TCP4 192.0.2.1 198.51.100.1 40123 8887\n", "-"},
	{"PROXY TCP4 192.0.2.1 198.51.100.1 40123\r\n", "-"},
	{"PROXY TCP4 192.0.2.1 198.51.100.1 40123 8887 \r\n", "-"},
	{"PROXY TCP4  192.0.2.1 198.51.100.1 40123 8887\r\n", "-"},
	{"PROXY TCP4 2001:db8::1 ::1 1 1\r\n", "-"},
	{"PROXY TCP6 192.0.2.1 192.0.2.2 1 1\r\n", "-"},
	{"PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n", "-"},
	{"PROXY TCP4 192.0.2.1 198.51.100.1 65536 1\r\n", "-"},
	{"PROXY TCP4 192.0.2.1 198.51.100.1 -1 1\r\n", "-"},
	{"PROXY TCP4 192.0.2.1 198.51.100.1 01 1\r\n", "-"},
	{"PROXY TCP4 192.0.2.1 198.51.100.1  1\r\n", "-"},
	{"PROXY TCP4 0.0.0.0 198.51.100.1 1 1\r\n", "-"},
	{"PROXY UDP4 192.0.2.1 198.51.100.1 1 1\r\n", "-"},
	{"PROXY " + strings.Repeat("x", 102), "-"},
	{"GET /ocpp/CP1 HTTP/1.1\r\n", "-"},
	{"\x16\x03\x01\x02\x00\x01", "-"},
	{v2 + "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x01\x9c\xbb\x22\xb7", "192.0.2.1:40123"},
	{v2 + "\x21\x11\x00\x10\xc0\x00\x02\x01\xc6\x33\x64\x01\x9c\xbb\x22\xb7\x04\x00\x01\x00", "192.0.2.1:40123"},
	{v2 + "\x21\x21\x00\x24\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" + strings.Repeat("\x00", 15) + "\x01\x00\x07\x00\x08", "[2001:db8::1]:7"},
	{v2 + "\x20\x00\x00\x00", ""},
	{v2 + "\x20\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x01\x9c\xbb\x22\xb7", ""},
	{v2 + "\x21\x00\x00\x00", ""},
	{v2 + "\x21\x31\x00\x02xx", ""}, // a Unix socket
	{v2 + "\x21\x11\x00\x0b\xc0\x00\x02\x01\xc6\x33\x64\x01\x9c\xbb\x22", "-"},
	{v2 + "\x21\x11\x00\x0c\x00\x00\x00\x00\xc6\x33\x64\x01\x9c\xbb\x22\xb7", "-"},
	{v2 + "\x11\x11\x00\x00", "-"},
	{v2 + "\x22\x11\x00\x00", "-"},
	{v2 + "\x21\x11\xff\xff", "-"},
	{"\r\n\r\n\x00\r\nQUIT!", "-"},
}

// A header is read to its last byte and no further, however it arrives; one that is
// refused is refused without a wait for more.
func TestReadPROXY(t *testing.T) {
	const behind = "GET / HTTP/1.1"
	for _, tt := range headers {
		r := strings.NewReader(tt.header + behind)
		from, err := ReadPROXY(r)
		rest, _ := io.ReadAll(r)
		switch {
		case tt.from == "-":
			if !errors.Is(err, ErrHeader) || len(err.Error()) > 300 {
				t.Errorf("%q: %v, %v", tt.header, from, err)
			}
			r, w := io.Pipe()
			go func() { _, _ = w.Write([]byte(tt.header)) }()
			if _, err := ReadPROXY(r); !errors.Is(err, ErrHeader) {
				t.Errorf("%q: %v", tt.header, err)
			}
			_ = r.Close()
			continue
		case err != nil || from.IsValid() != (tt.from != "") || from.IsValid() && from.String() != tt.from:
			t.Errorf("%q: %v, %v", tt.header, from, err)
		case string(rest) != behind:
			t.Errorf("%q: it leaves %q", tt.header, rest)
		}
		for n := range tt.header {
			if from, err := ReadPROXY(strings.NewReader(tt.header[:n])); err == nil || errors.Is(err, ErrHeader) {
				t.Errorf("%q: %v, %v", tt.header[:n], from, err)
			}
		}
	}
}

func FuzzReadPROXY(f *testing.F) {
	for _, tt := range headers {
		f.Add(tt.header)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if from, err := ReadPROXY(strings.NewReader(s)); err != nil && from.IsValid() {
			t.Errorf("%v with %v", from, err)
		} else if from.IsValid() && from.Addr().IsUnspecified() {
			t.Errorf("%q: %v", s, from)
		}
	})
}
