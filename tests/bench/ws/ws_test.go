package ws

import (
	"bytes"
	"strings"
	"testing"
)

func TestFramesComeBack(t *testing.T) {
	for _, size := range []int{0, 1, 7, 8, 125, 126, 200, 65535, 65536} {
		payload := []byte(strings.Repeat("x", size))
		for name, b := range map[string][]byte{
			"server": Append(nil, Text, payload),
			"client": AppendMasked(nil, Text, [4]byte{1, 2, 3, 4}, payload),
		} {
			for _, part := range []int{0, 1, len(b) / 2, len(b) - 1} {
				if _, n, err := Parse(b[:part]); n != 0 || err != nil {
					t.Fatalf("%s of %d: prefix of %d bytes: n=%d, err=%v", name, size, part, n, err)
				}
			}
			f, n, err := Parse(append(b, "next"...))
			if err != nil || n != len(b) || f.Op != Text || !bytes.Equal(f.Payload, payload) {
				t.Fatalf("%s of %d: op=%d, n=%d, err=%v", name, size, f.Op, n, err)
			}
		}
	}
	if _, _, err := Parse([]byte{0x01, 0x00}); err != ErrFrame {
		t.Fatalf("a fragment: %v", err)
	}
}

func TestHandshake(t *testing.T) {
	request := AppendRequest(nil, "127.0.0.1", "/ocpp/CP1", "ocpp1.6")
	answer, n, err := AnswerRequest(nil, request)
	if err != nil || n != len(request) {
		t.Fatalf("request of %d bytes: n=%d, err=%v", len(request), n, err)
	}
	// The key is the example of RFC 6455 section 1.3, and so is the answer.
	if !bytes.Contains(answer, []byte("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) {
		t.Fatalf("%s", answer)
	}
	if n, err := ParseResponse(answer, "ocpp1.6"); err != nil || n != len(answer) {
		t.Fatalf("answer of %d bytes: n=%d, err=%v", len(answer), n, err)
	}
	if _, err := ParseResponse(answer, "ocpp2.0.1"); err == nil {
		t.Fatal("another subprotocol passed")
	}
}
