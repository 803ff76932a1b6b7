package conn

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// script is a net.Conn whose other end has said everything there is to say.
type script struct {
	net.Conn // not used: nil
	in       io.Reader
	out      strings.Builder
}

func (s *script) Read(b []byte) (int, error)      { return s.in.Read(b) }
func (s *script) Write(b []byte) (int, error)     { return s.out.Write(b) }
func (s *script) SetDeadline(time.Time) error     { return nil }
func (s *script) SetReadDeadline(time.Time) error { return nil }
func (s *script) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv6loopback, Port: 4711}
}

func testHandshake() *Handshake {
	return &Handshake{
		Paths:        []string{"/ocpp/"},
		Subprotocols: []string{"ocpp2.1", "ocpp2.0.1", "ocpp1.6"},
		Compression:  true,
	}
}

// request lines, in the order they are sent; edit replaces, removes or adds.
func request(edit ...string) string {
	lines := []string{
		"GET /ocpp/CP-1 HTTP/1.1", "Host: gateway", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: ocpp1.6",
	}
	for _, e := range edit {
		if strings.Contains(e, " HTTP/") {
			lines[0] = e
			continue
		}
		name, value, _ := strings.Cut(e, ":")
		kept := lines[:0]
		for _, l := range lines {
			if !strings.HasPrefix(l, name+":") {
				kept = append(kept, l)
			}
		}
		if lines = kept; value != "" {
			lines = append(lines, e)
		}
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

func TestHandshakeAccepts(t *testing.T) {
	for _, tt := range []struct {
		name    string
		edit    []string
		change  func(*Handshake)
		chosen  string
		answer  string // of Sec-WebSocket-Protocol
		deflate bool
	}{
		{"as it should be", nil, nil, "ocpp1.6", "ocpp1.6", false},
		{"the client's order", []string{"Sec-WebSocket-Protocol: ocpp1.6, ocpp2.0.1,ocpp2.1"}, nil, "ocpp1.6", "ocpp1.6", false},
		{"the client's order, reversed", []string{"Sec-WebSocket-Protocol: ocpp2.1,ocpp2.0.1, ocpp1.6"}, nil, "ocpp2.1", "ocpp2.1", false},
		{"unknown ones before", []string{"Sec-WebSocket-Protocol: ocpp1.2, ocpp2.0 , ocpp2.0.1"}, nil, "ocpp2.0.1", "ocpp2.0.1", false},
		{"over two headers", []string{"Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: ocpp2.1"}, nil, "ocpp2.1", "ocpp2.1", false},
		{"default for none", []string{"Sec-WebSocket-Protocol:"}, func(h *Handshake) { h.DefaultSubprotocol = "ocpp1.6" }, "ocpp1.6", "", false},
		{"default for an empty one", []string{"Sec-WebSocket-Protocol: ,"}, func(h *Handshake) { h.DefaultSubprotocol = "ocpp1.6" }, "ocpp1.6", "", false},
		{"tokens in any case and company", []string{"Upgrade: h2c, WebSocket", "Connection: keep-alive, upgrade"}, nil, "ocpp1.6", "ocpp1.6", false},
		{"header names in any case", []string{"Sec-WebSocket-Protocol: x\r\nsec-websocket-protocol: ocpp2.1"}, nil, "ocpp2.1", "ocpp2.1", false},
		{"lenient without Connection", []string{"Connection:"}, func(h *Handshake) { h.Lenient = TolerateConnection }, "ocpp1.6", "ocpp1.6", false},
		{"empty lines before", []string{"\r\n\r\nGET /ocpp/CP-1 HTTP/1.1"}, nil, "ocpp1.6", "ocpp1.6", false},
		{"line feeds alone before", []string{"\n\nGET /ocpp/CP-1 HTTP/1.1"}, nil, "ocpp1.6", "ocpp1.6", false},
		{"HTTP/1.2", []string{"GET /ocpp/CP-1 HTTP/1.2"}, nil, "ocpp1.6", "ocpp1.6", false},
		{"Host is an address", []string{"Host: [2001:db8::1]:8887"}, nil, "ocpp1.6", "ocpp1.6", false},
		{"Host with an underscore and a port", []string{"Host: back_end.example:80"}, nil, "ocpp1.6", "ocpp1.6", false},
		{"empty Host", []string{"Host: \t"}, nil, "ocpp1.6", "ocpp1.6", false},
		{"Content-Length of zero", []string{"Content-Length: 0"}, nil, "ocpp1.6", "ocpp1.6", false},
		{"compression", []string{"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"}, nil, "ocpp1.6", "ocpp1.6", true},
		{"compression off", []string{"Sec-WebSocket-Extensions: permessage-deflate"}, func(h *Handshake) { h.Compression = false }, "ocpp1.6", "ocpp1.6", false},
		{"compression not as offered", []string{"Sec-WebSocket-Extensions: permessage-deflate; fast"}, nil, "ocpp1.6", "ocpp1.6", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := testHandshake()
			if tt.change != nil {
				tt.change(h)
			}
			nc := &script{in: strings.NewReader(request(tt.edit...))}
			s, early, err := h.Serve(nc)
			if err != nil || len(early) != 0 {
				t.Fatalf("%v, %q early", err, early)
			}
			resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(nc.out.String())), nil)
			if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("Connection") != "Upgrade" ||
				resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // of RFC 6455 section 1.3
				t.Errorf("%v:\n%s", err, nc.out.String())
			}
			if got := resp.Header.Get("Sec-WebSocket-Protocol"); s.Subprotocol.String() != tt.chosen || got != tt.answer {
				t.Errorf("chose %q and answered %q", s.Subprotocol, got)
			}
			if got := resp.Header.Get("Sec-WebSocket-Extensions"); (got != "") != tt.deflate || (s.DeflateBits != 0) != tt.deflate {
				t.Errorf("extensions %q, %d bits", got, s.DeflateBits)
			}
			if s.Identity != "CP-1" || s.Path.String() != "/ocpp/" || s.Remote.String() != "[::1]:4711" || s.Opened == 0 {
				t.Errorf("state %+v", s)
			}
		})
	}
}

// refusals of the handshake. identity is what the log can name.
var refusals = []struct {
	name, request string
	status        int
	identity      string
	header        string // of the response
}{
	{"no HTTP", "hello\r\n\r\n", 400, "", ""},
	{"bad header", request("no colon\r\nX: y"), 400, "", ""},
	{"bad escape", request("GET /ocpp/%zz HTTP/1.1"), 400, "", ""},
	{"HTTP/2.0", request("GET /ocpp/CP-1 HTTP/2.0"), 505, "", ""},
	{"HTTP/9.9", request("GET /ocpp/CP-1 HTTP/9.9"), 505, "", ""},
	{"HTTP/0.9", request("GET /ocpp/CP-1 HTTP/0.9"), 505, "", ""},
	{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "", ""},
	{"space before a colon", request("Upgrade : websocket"), 400, "", ""},
	{"tab before a colon", request("X\t: y"), 400, "", ""},
	{"no Host", request("Host:"), 400, "CP-1", ""},
	{"two Hosts", request("X: y\r\nhost: gateway"), 400, "", ""},
	{"Host with a space", request("Host: a b"), 400, "CP-1", ""},
	{"Host with a path", request("Host: gateway/ocpp"), 400, "CP-1", ""},
	{"Host with a user", request("Host: me@gateway"), 400, "CP-1", ""},
	{"Host with a port that is none", request("Host: gateway:http"), 400, "CP-1", ""},
	{"Host with a bracket", request("Host: [::1"), 400, "CP-1", ""},
	{"key twice", request("X: y\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="), 400, "CP-1", ""},
	{"version twice", request("X: y\r\nSec-WebSocket-Version: 13"), 400, "CP-1", ""},
	{"no HTTP, and no end", "hello\r\n", 400, "", ""},
	{"control character in the target", request("GET /ocpp/a\x01 HTTP/1.1"), 400, "", ""},
	{"other path", request("GET /metrics HTTP/1.1"), 404, "", ""},
	{"deeper path", request("GET /ocpp/a/b HTTP/1.1"), 404, "", ""},
	{"no identity", request("GET /ocpp/ HTTP/1.1"), 400, "", ""},
	{"identity too long", request("GET /ocpp/" + strings.Repeat("x", 256) + " HTTP/1.1"), 400, strings.Repeat("x", 256), ""},
	{"identity with a slash", request("GET /ocpp/a%2Fb HTTP/1.1"), 400, "a/b", ""},
	{"POST", request("POST /ocpp/CP-1 HTTP/1.1"), 405, "CP-1", "Allow: GET"},
	{"CONNECT", "CONNECT gateway:80 HTTP/1.1\r\nHost: gateway:80\r\n\r\n", 404, "", ""},
	{"HTTP/1.0", request("GET /ocpp/CP-1 HTTP/1.0"), 400, "CP-1", ""},
	{"body", request("Content-Length: 5") + "hello", 400, "CP-1", ""},
	{"chunked body", request("Transfer-Encoding: chunked") + "0\r\n\r\n", 400, "CP-1", ""},
	{"no Upgrade", request("Upgrade:"), 426, "CP-1", "Sec-WebSocket-Version: 13"},
	{"other Upgrade", request("Upgrade: h2c"), 426, "CP-1", "Upgrade: websocket"},
	{"no Connection", request("Connection:"), 400, "CP-1", ""},
	{"other Connection", request("Connection: keep-alive"), 400, "CP-1", ""},
	{"no version", request("Sec-WebSocket-Version:"), 426, "CP-1", "Sec-WebSocket-Version: 13"},
	{"version 8", request("Sec-WebSocket-Version: 8"), 426, "CP-1", "Sec-WebSocket-Version: 13"},
	{"no key", request("Sec-WebSocket-Key:"), 400, "CP-1", ""},
	{"short key", request("Sec-WebSocket-Key: c2hvcnQ="), 400, "CP-1", ""},
	{"key that is no base64", request("Sec-WebSocket-Key: !!!"), 400, "CP-1", ""},
	{"header too large", request("X: " + strings.Repeat("x", DefaultMaxRequest)), 431, "", ""},
	{"header without end", "GET /ocpp/CP-1 HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", DefaultMaxRequest), 431, "", ""},
	{"target without end", "GET /ocpp/" + strings.Repeat("x", 2*DefaultMaxRequest), 431, "", ""},
}

func TestHandshakeRefuses(t *testing.T) {
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			nc := &script{in: strings.NewReader(tt.request)}
			_, _, err := testHandshake().Serve(nc)
			var r *Refusal
			if !errors.As(err, &r) {
				t.Fatalf("not refused: %v", err)
			}
			if r.Status != tt.status || r.Identity != tt.identity || r.Why == "" {
				t.Errorf("got %d for %q: %s", r.Status, r.Identity, r.Why)
			}
			checkResponse(t, nc.out.String(), tt.status, r.Why, tt.header)
		})
	}
}

// A client that speaks TLS on the port for ws is told in TLS.
func TestHandshakeRefusesTLS(t *testing.T) {
	nc := &script{in: strings.NewReader("\x16\x03\x01\x00\x05hello\n\n")}
	_, _, err := testHandshake().Serve(nc)
	var r *Refusal
	if !errors.As(err, &r) || r.Why != "TLS on a port for ws" {
		t.Fatalf("not refused as such: %v", err)
	}
	if got := nc.out.String(); got != string(tlsAlert) {
		t.Errorf("answered %q", got)
	}
}

// Only a Refusal that asks for credentials has a challenge.
func TestHandshakeAuthorize(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		want         Request
	}{
		{"none", "X: y", Request{}},
		{"basic", "Authorization: Basic Q1AtMTpwYXNz", Request{HasBasic: true, Username: "CP-1", Password: []byte("pass")}},
		{"lower case, any bytes, colons", "Authorization: basic Q1AtMTr/AP86", Request{HasBasic: true, Username: "CP-1", Password: []byte("\xff\x00\xff:")}},
		{"empty password", "Authorization: Basic Q1AtMTo=", Request{HasBasic: true, Username: "CP-1", Password: []byte{}}},
		{"no colon", "Authorization: Basic Q1AtMQ==", Request{}},
		{"no base64", "Authorization: Basic ???", Request{}},
		{"bearer", "Authorization: Bearer Q1AtMTpwYXNz", Request{}},
		{"twice", "Authorization: Basic Q1AtMTpwYXNz\r\nAuthorization: Basic Q1AtMTpwYXNz", Request{HasBasic: true, Username: "CP-1", Password: []byte("pass")}},
		{"twice, and not the same", "Authorization: Basic Q1AtMTpwYXNz\r\nAuthorization: Basic Q1AtMTpwYXN0", Request{}},
		{"a colon behind the scheme", "Authorization: Basic: Q1AtMTpwYXNz", Request{HasBasic: true, Username: "CP-1", Password: []byte("pass")}},
		{"a tab behind the scheme", "Authorization: BASIC\tQ1AtMTpwYXNz", Request{HasBasic: true, Username: "CP-1", Password: []byte("pass")}},
		{"scheme alone", "Authorization: Basic", Request{}},
		{"another scheme that begins so", "Authorization: Basically Q1AtMTpwYXNz", Request{}},
		{"percent-encoded as in a path", "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("%43P%2D1:a:b")), Request{HasBasic: true, Username: "CP-1", Password: []byte("a:b")}},
		{"another user", "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("CP-2:a:b")), Request{HasBasic: true, Username: "CP-2", Password: []byte("a:b")}},
		{"a user whose name begins so", "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("CP-10:a")), Request{HasBasic: true, Username: "CP-10", Password: []byte("a")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := testHandshake()
			var got Request
			h.Authorize = func(r Request) *Refusal {
				got = r
				return &Refusal{Status: http.StatusUnauthorized, Why: "no", Challenge: true}
			}
			nc := &script{in: strings.NewReader(request(tt.header))}
			_, _, err := h.Serve(nc)
			var r *Refusal
			if !errors.As(err, &r) || r.Identity != "CP-1" {
				t.Fatalf("not refused: %v", err)
			}
			checkResponse(t, nc.out.String(), http.StatusUnauthorized, "no", `Www-Authenticate: Basic realm="holdfast"`)
			if got.Identity != "CP-1" || got.Path != "/ocpp/" || got.HasBasic != tt.want.HasBasic || got.Username != tt.want.Username || !bytes.Equal(got.Password, tt.want.Password) {
				t.Errorf("asked about %+v", got)
			}
		})
	}
}

func checkResponse(t *testing.T, raw string, status int, why, header string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(raw)), nil)
	if err != nil {
		t.Fatalf("%v: %q", err, raw)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status || strings.TrimSpace(string(body)) != why || !resp.Close {
		t.Errorf("%v: got %q, want %d", err, raw, status)
	}
	if name, value, ok := strings.Cut(header, ": "); ok && resp.Header.Get(name) != value {
		t.Errorf("want %q in %q", header, raw)
	}
}

// OCPP-J section 3.1.2: opened without the header, then closed with 1002.
func TestHandshakeWithoutSubprotocol(t *testing.T) {
	for _, offer := range []string{"Sec-WebSocket-Protocol:", "Sec-WebSocket-Protocol: ocpp1.2, soap", "Sec-WebSocket-Protocol: OCPP1.6", "Sec-WebSocket-Protocol: \xff"} {
		h := testHandshake()
		if !strings.HasSuffix(offer, ":") {
			h.DefaultSubprotocol = "ocpp1.6" // is for those that offer none
		}
		nc := &script{in: strings.NewReader(request(offer))}
		_, _, err := h.Serve(nc)
		var r *Refusal
		if !errors.As(err, &r) || r.Status != 101 || r.Code != CodeProtocolError || r.Identity != "CP-1" {
			t.Fatalf("%q: %+v", offer, err)
		}
		head, frame, _ := strings.Cut(nc.out.String(), "\r\n\r\n")
		if !strings.HasPrefix(head, "HTTP/1.1 101 ") || strings.Contains(head, "Protocol:") || strings.Contains(head, "Extensions:") {
			t.Errorf("%q: %s", offer, head)
		}
		if len(frame) < 4 || frame[0] != finBit|byte(opClose) || int(frame[1]) != len(frame)-2 || frame[2:4] != "\x03\xea" {
			t.Errorf("%q: % x", offer, frame)
		}
	}
}

// RFC 7617 ends a user name at the first colon. Here the identity is known.
func TestHandshakeIdentityWithColons(t *testing.T) {
	const identity = "00:1B:44:11:3A:B7"
	for _, credentials := range []string{identity + ":pass:word", "00%3A1B%3A44%3A11%3A3A%3AB7:pass:word"} {
		h := testHandshake()
		var got Request
		h.Authorize = func(r Request) *Refusal { got = r; return nil }
		nc := &script{in: strings.NewReader(request("GET /ocpp/"+identity+" HTTP/1.1", "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(credentials))))}
		if _, _, err := h.Serve(nc); err != nil || got.Username != identity || string(got.Password) != "pass:word" {
			t.Errorf("%v, %+v", err, got)
		}
	}
}

// Whom the request does not let in takes no place and no token.
func TestHandshakeAdmitsTheRightOnes(t *testing.T) {
	for _, tt := range refusals {
		h := testHandshake()
		h.Admit = func(string) *Refusal { t.Errorf("%s: asked", tt.name); return nil }
		_, _, _ = h.Serve(&script{in: strings.NewReader(tt.request)})
	}
}

// The log has the path, bounded and without its query, which may be secret.
func TestRefusalHasThePath(t *testing.T) {
	for target, want := range map[string]string{
		"/metrics":                         "/metrics",
		"/ocp/CP-1?token=secret":           "/ocp/CP-1",
		"/" + strings.Repeat("x", 1000):    "/" + strings.Repeat("x", maxTarget-len("GET /")),
		"http://gateway/elsewhere?a/b?c=d": "/elsewhere",
		"http://CP-1:secret@gateway/a://b": "/a://b",
		"http://CP-1:secret@gateway":       "/",
	} {
		_, _, err := testHandshake().Serve(&script{in: strings.NewReader(request("GET " + target + " HTTP/1.1"))})
		var r *Refusal
		if !errors.As(err, &r) || r.Target != want {
			t.Errorf("%v: %q", err, r.Target)
		}
	}
}

// The limit of a request is the last size that passes.
func TestMaxRequest(t *testing.T) {
	for _, limit := range []int{500, 100_000} {
		for more, status := range map[int]int{0: 101, 1: 431} {
			h := testHandshake()
			h.MaxRequest = limit
			text := request("X-Padding: " + strings.Repeat("x", limit))
			text = strings.Replace(text, "x", "", len(text)-limit-more)
			nc := &script{in: strings.NewReader(text)}
			if _, _, err := h.Serve(nc); len(text) != limit+more || (err == nil) != (status == 101) {
				t.Errorf("%d bytes of %d: %v", len(text), limit, err)
			}
			if got := fmt.Sprintf("HTTP/1.1 %d ", status); !strings.HasPrefix(nc.out.String(), got) {
				t.Errorf("%d bytes of %d: %q", len(text), limit, nc.out.String())
			}
		}
	}
}

func TestHandshakeAsksWhetherToAdmit(t *testing.T) {
	h := testHandshake()
	h.Admit = func(string) *Refusal { return &Refusal{Status: 503, Why: "full", RetryAfter: 7} }
	nc := &script{in: strings.NewReader(request())}
	_, _, err := h.Serve(nc)
	var r *Refusal
	if !errors.As(err, &r) || r.Identity != "CP-1" {
		t.Errorf("%+v", err)
	}
	checkResponse(t, nc.out.String(), 503, "full", "Retry-After: 7")
}

// A charger that leaves amid its request is not let in.
func TestHandshakeOverABrokenNetwork(t *testing.T) {
	whole := request()
	for n := range whole {
		nc := &script{in: strings.NewReader(whole[:n])}
		if _, _, err := testHandshake().Serve(nc); err == nil || strings.HasPrefix(nc.out.String(), "HTTP/1.1 101") {
			t.Fatalf("after %d bytes: %v, %q", n, err, nc.out.String())
		}
	}
}

// What follows the request in the same packet belongs to the connection.
func TestHandshakeEarlyBytes(t *testing.T) {
	for _, size := range []int{1, 100, 5000} {
		sent := strings.Repeat("frame", size)[:size]
		in := strings.NewReader(request() + sent)
		_, early, err := testHandshake().Serve(&script{in: in})
		rest, _ := io.ReadAll(in)
		if got := string(early) + string(rest); err != nil || got != sent || len(early) == 0 {
			t.Errorf("%d: %v, %d early and %d left", size, err, len(early), len(rest))
		}
	}
}
