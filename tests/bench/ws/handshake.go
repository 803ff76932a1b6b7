package ws

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/textproto"
	"strings"
)

// key of every client's request: it protects a browser, not a benchmark.
const key = "dGhlIHNhbXBsZSBub25jZQ=="

// AppendRequest appends a client's opening handshake, RFC 6455 section 4.1.
func AppendRequest(dst []byte, host, path, subprotocol string) []byte {
	return fmt.Appendf(dst, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
		path, host, key, subprotocol)
}

// ParseResponse reads the answer to AppendRequest and returns how many bytes it
// takes, 0 while it is not complete.
func ParseResponse(b []byte, subprotocol string) (int, error) {
	head, n := cutHead(b)
	if n == 0 {
		return 0, nil
	}
	status, fields := head[0], head[1:]
	switch {
	case !strings.HasPrefix(status, "HTTP/1.1 101 "):
		return 0, fmt.Errorf("ws: handshake answered with %q", status)
	case field(fields, "Sec-Websocket-Accept") != accept(key):
		return 0, fmt.Errorf("ws: wrong Sec-WebSocket-Accept")
	case field(fields, "Sec-Websocket-Protocol") != subprotocol:
		return 0, fmt.Errorf("ws: subprotocol is %q", field(fields, "Sec-Websocket-Protocol"))
	}
	return n, nil
}

// AnswerRequest reads a client's handshake and appends the answer to dst. n is
// how many bytes the request takes, 0 while it is not complete.
func AnswerRequest(dst, b []byte) (answer []byte, n int, err error) {
	head, n := cutHead(b)
	if n == 0 {
		return dst, 0, nil
	}
	key := field(head[1:], "Sec-Websocket-Key")
	if key == "" {
		return dst, 0, fmt.Errorf("ws: %q is no WebSocket handshake", head[0])
	}
	dst = fmt.Appendf(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: %s\r\n", accept(key))
	if p, _, _ := strings.Cut(field(head[1:], "Sec-Websocket-Protocol"), ","); p != "" {
		dst = fmt.Appendf(dst, "Sec-WebSocket-Protocol: %s\r\n", p)
	}
	return append(dst, "\r\n"...), n, nil
}

// cutHead returns the lines before the empty line, and the bytes they take.
func cutHead(b []byte) ([]string, int) {
	i := bytes.Index(b, []byte("\r\n\r\n"))
	if i < 0 {
		return nil, 0
	}
	return strings.Split(string(b[:i]), "\r\n"), i + 4
}

func field(lines []string, name string) string {
	for _, line := range lines {
		k, v, _ := strings.Cut(line, ":")
		if textproto.CanonicalMIMEHeaderKey(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
