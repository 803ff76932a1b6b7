package conn

import (
	"bufio"
	"cmp"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Handshake is how chargers are let in: RFC 6455 section 4.2 and OCPP-J
// section 3. It is read-only while in use.
type Handshake struct {
	Paths              []string // prefixes of the path, each beginning and ending with a slash
	Subprotocols       []string // that may be chosen
	DefaultSubprotocol string   // for a charger that offers none; "": refuse it
	Lenient            Tolerances
	Compression        bool // accept permessage-deflate
	MaxRequest         int  // bytes of a request's head; 0: DefaultMaxRequest

	// Hear is told, if there is one, the header of a request that is right, before Admit
	// is asked. A Refusal is sent to the charger.
	Hear func(http.Header) *Refusal
	// Admit is asked, if there is one, about a request that is right; a Refusal is
	// sent to the charger.
	Admit func(identity string) *Refusal
	// Authorize is asked, if there is one, about a request that Admit let in.
	Authorize func(Request) *Refusal
}

// Request is what a charger is let in, or not, by.
type Request struct {
	Identity    string
	Path        string // prefix of the path, before the identity
	Subprotocol string // as chosen; "": none fits, and the handshake will be refused for that

	// Of the header Authorization with scheme Basic, RFC 7617. OCPP makes the
	// user name the identity. The password may be any bytes.
	HasBasic bool
	Username string
	Password []byte
}

// DefaultMaxRequest is the longest head of a request, in bytes, unless Handshake says
// otherwise. MaxRequest is the longest that it can say.
const (
	DefaultMaxRequest = 8 << 10
	MaxRequest        = 64 << 10
)

// Serve does the server's half of the handshake on nc, whose deadline is the
// caller's. early are bytes of the charger that came with its request. An error
// is a *Refusal, which was sent to the charger, or describes how the network
// failed. nc is never closed.
func (h *Handshake) Serve(nc net.Conn) (s State, early []byte, err error) {
	br := bufio.NewReaderSize(nc, 2048)
	if first, err := br.Peek(1); err == nil && first[0] == tlsHandshake {
		writeAndLinger(nc, tlsAlert) // a TLS client understands it; it would not understand HTTP
		return s, nil, refusalTLS.Refusal()
	}
	limit := cmp.Or(h.MaxRequest, DefaultMaxRequest)
	head, err := readHead(br, limit)
	if err != nil && !errors.Is(err, errTooLarge) {
		return s, nil, fmt.Errorf("handshake: %w", err)
	}
	var answer string
	var refusal *Refusal
	if err != nil {
		refusal = refusalTooLarge.Refusal(limit)
	} else {
		s, answer, refusal = h.answer(head)
	}
	if refusal == nil || refusal.Status == http.StatusSwitchingProtocols {
		if _, err := io.WriteString(nc, answer); err != nil {
			return s, nil, fmt.Errorf("handshake: %w", err)
		}
	}
	if refusal != nil {
		refusal.Target = targetOf(head)
		Refuse(nc, refusal)
		return s, nil, refusal
	}
	if n := br.Buffered(); n > 0 {
		early, _ = br.Peek(n)
	}
	if a, err := netip.ParseAddrPort(nc.RemoteAddr().String()); err == nil {
		s.Remote = MakeRemote(a)
	}
	s.Opened = time.Now().UnixMilli()
	return s, early, nil
}

// tlsHandshake is the first byte of whoever speaks TLS; tlsAlert is a fatal
// alert unexpected_message, in the record version that all understand.
const tlsHandshake = 22

var tlsAlert = []byte{21, 3, 1, 0, 2, 2, 10}

// answer is decide for the head of a request.
func (h *Handshake) answer(head []byte) (s State, answer string, refusal *Refusal) {
	req, refusal := parseHead(head)
	if refusal != nil {
		return s, "", refusal
	}
	return h.decide(req, checkHost(head, req))
}

// decide holds the request against RFC 6455 section 4.2.1 and our own rules,
// and returns the response that opens the WebSocket. host is why the header Host
// cannot be; nil if it can.
func (h *Handshake) decide(req *http.Request, host *Refusal) (s State, answer string, refusal *Refusal) {
	refuse := func(why *RefusalReason, args ...any) (State, string, *Refusal) {
		r := why.Refusal(args...)
		r.Identity = s.Identity
		return s, "", r
	}
	path, identity, err := splitTarget(req.RequestURI, h.Paths, h.Lenient)
	s.Path, s.Identity = MakeName(path), identity
	header := req.Header
	key := header.Get("Sec-WebSocket-Key")
	switch {
	case errors.Is(err, errPath):
		return refuse(refusalPath)
	case err != nil:
		return refuse(refusalIdentity, err)
	case req.Method != http.MethodGet:
		return refuse(refusalMethod)
	case !req.ProtoAtLeast(1, 1):
		return refuse(refusalHTTPVersion)
	case host != nil:
		host.Identity = identity
		return s, "", host
	case req.ContentLength != 0 || len(req.TransferEncoding) > 0:
		return refuse(refusalBody)
	case !hasToken(header["Upgrade"], "websocket"):
		return refuse(refusalNoUpgrade)
	case !hasToken(header["Connection"], "upgrade") && !h.Lenient.Has(TolerateConnection):
		return refuse(refusalNoConnection)
	case len(header["Sec-Websocket-Key"]) > 1:
		return refuse(refusalTwice, "Sec-WebSocket-Key")
	case len(header["Sec-Websocket-Version"]) > 1:
		return refuse(refusalTwice, "Sec-WebSocket-Version")
	case header.Get("Sec-WebSocket-Version") != "13":
		return refuse(refusalWebSocketVersion)
	case !h.validKey(key):
		return refuse(refusalKey)
	}
	if h.Hear != nil {
		refusal = h.Hear(header)
	}
	if refusal == nil && h.Admit != nil {
		refusal = h.Admit(identity)
	}
	if refusal != nil {
		refusal.Identity = identity
		return s, "", refusal
	}

	chosen, spelling, offered := h.subprotocol(header["Sec-Websocket-Protocol"])
	if h.Authorize != nil {
		r := Request{Identity: identity, Path: path, Subprotocol: chosen}
		r.basic(header["Authorization"])
		if refusal := h.Authorize(r); refusal != nil {
			refusal.Identity = identity
			return s, "", refusal
		}
	}
	var b strings.Builder
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
	b.WriteString(acceptKey(key))
	s.Subprotocol = MakeName(chosen)
	switch {
	case chosen == "":
		// OCPP-J section 3.1.2: complete the handshake without the header,
		// then close.
		refusal = refusalNoSubprotocol.Refusal()
		if offered {
			refusal = refusalSubprotocol.Refusal(strings.Join(header["Sec-Websocket-Protocol"], ", "))
		}
		refusal.Identity = s.Identity
	case offered: // a server must not choose what was not offered
		b.WriteString("\r\nSec-WebSocket-Protocol: ")
		b.WriteString(spelling)
	}
	if h.Compression && refusal == nil {
		response, bits := acceptDeflate(header["Sec-Websocket-Extensions"])
		if s.DeflateBits = bits; bits != 0 {
			b.WriteString("\r\nSec-WebSocket-Extensions: ")
			b.WriteString(response)
		}
	}
	b.WriteString("\r\n\r\n")
	return s, b.String(), refusal
}

// subprotocol chooses the first of the client's that is known here. spelling is the
// client's own: a server must not answer what was not offered.
func (h *Handshake) subprotocol(headers []string) (chosen, spelling string, offered bool) {
	for _, list := range headers {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.TrimSpace(name); name == "" {
				continue
			}
			offered = true
			// The configured string, not the request's: nothing of the
			// request is kept.
			if i := slices.IndexFunc(h.Subprotocols, func(known string) bool { return h.sameSubprotocol(name, known) }); i >= 0 {
				return h.Subprotocols[i], name, true
			}
		}
	}
	if !offered {
		return h.DefaultSubprotocol, "", false
	}
	return "", "", true
}

func (h *Handshake) sameSubprotocol(offered, known string) bool {
	if !h.Lenient.Has(TolerateSubprotocol) {
		return offered == known
	}
	if n := len(offered); n > 2 && offered[0] == offered[n-1] && (offered[0] == '"' || offered[0] == '\'') {
		offered = offered[1 : n-1]
	}
	return strings.EqualFold(offered, known)
}

// hasToken looks for a token in comma-separated header values, in any case.
func hasToken(headers []string, token string) bool {
	for _, list := range headers {
		for t := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

func (h *Handshake) validKey(key string) bool {
	if h.Lenient.Has(TolerateKey) {
		return key != ""
	}
	b, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(b) == 16
}

// acceptKey is RFC 6455 section 4.2.2, step 5.4.
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Refuse sends r to the charger, as an HTTP response or a Close frame, and waits a
// moment so that it arrives.
func Refuse(nc net.Conn, r *Refusal) { writeAndLinger(nc, r.response()) }

// RefuseAtOnce sends r without a wait, on a connection of which nothing was read.
func RefuseAtOnce(nc net.Conn, r *Refusal) {
	if nc.SetWriteDeadline(time.Now().Add(10*time.Millisecond)) == nil {
		_, _ = nc.Write(r.response()) // it fits an empty socket, and if not, its end tells as much
	}
}

func (r *Refusal) response() []byte {
	var b []byte
	why := cmp.Or(r.Told, r.Why)
	if r.Status == http.StatusSwitchingProtocols {
		b = appendClose(nil, r.Code, why)
	} else {
		b = fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n", r.Status, http.StatusText(r.Status), len(why)+1)
		switch r.Status {
		case http.StatusUpgradeRequired:
			b = append(b, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"...)
		case http.StatusMethodNotAllowed:
			b = append(b, "Allow: GET\r\n"...)
		}
		if r.Challenge {
			b = append(b, "WWW-Authenticate: Basic realm=\"holdfast\"\r\n"...)
		}
		if r.RetryAfter > 0 {
			b = fmt.Appendf(b, "Retry-After: %d\r\n", r.RetryAfter)
		}
		b = append(append(append(b, "\r\n"...), why...), '\n')
	}
	return b
}

// writeAndLinger writes b and waits a moment for the charger to hang up: closing with
// bytes unread would reset the connection and destroy b on its way.
func writeAndLinger(nc net.Conn, b []byte) {
	if _, err := nc.Write(b); err != nil {
		return
	}
	if half, ok := nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_ = nc.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.CopyN(io.Discard, nc, 64<<10)
	}
}
