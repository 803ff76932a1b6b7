package conn

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
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
	Lenient            bool     // tolerate a missing Connection: Upgrade
	Compression        bool     // accept permessage-deflate

	// Admit is asked once the request is read and before anything else about
	// it; a Refusal is sent to the charger. identity is as far as it is known.
	Admit func(identity string) *Refusal
	// Authorize is asked, if there is one, about a request that is right in
	// everything else.
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

// maxRequest bounds the request's head, in bytes.
const maxRequest = 8 << 10

// Serve does the server's half of the handshake on nc, whose deadline is the
// caller's. early are bytes of the charger that came with its request. An error
// is a *Refusal, which was sent to the charger, or describes how the network
// failed. nc is never closed.
func (h *Handshake) Serve(nc net.Conn) (s State, early []byte, err error) {
	limited := &io.LimitedReader{R: nc, N: maxRequest}
	br := bufio.NewReaderSize(limited, 2048)
	if first, err := br.Peek(1); err == nil && first[0] == tlsHandshake {
		writeAndLinger(nc, tlsAlert) // a TLS client understands it; it would not understand HTTP
		return s, nil, refusalTLS.Refusal()
	}
	req, err := http.ReadRequest(br)
	if err != nil {
		switch {
		case limited.N <= 0:
			err = refusalTooLarge.Refusal(maxRequest)
		case isNetwork(err):
			return s, nil, fmt.Errorf("handshake: %w", err)
		default:
			err = refusalNotHTTP.Refusal(err)
		}
		Refuse(nc, err.(*Refusal))
		return s, nil, err
	}
	s, answer, refusal := h.decide(req)
	if refusal == nil || refusal.Status == http.StatusSwitchingProtocols {
		if _, err := io.WriteString(nc, answer); err != nil {
			return s, nil, fmt.Errorf("handshake: %w", err)
		}
	}
	if refusal != nil {
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

// isNetwork reports whether err is a failed connection, not a malformed request.
func isNetwork(err error) bool {
	var ne net.Error
	var target *url.Error // passes for a net.Error
	return !errors.As(err, &target) && (errors.As(err, &ne) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF))
}

// decide holds the request against RFC 6455 section 4.2.1 and our own rules,
// and returns the response that opens the WebSocket.
func (h *Handshake) decide(req *http.Request) (s State, answer string, refusal *Refusal) {
	refuse := func(why *RefusalReason, args ...any) (State, string, *Refusal) {
		r := why.Refusal(args...)
		r.Identity = s.Identity
		return s, "", r
	}
	path, identity, err := splitTarget(req.RequestURI, h.Paths)
	if h.Admit != nil {
		if r := h.Admit(identity); r != nil {
			r.Identity = identity
			return s, "", r
		}
	}
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
	case req.ContentLength != 0 || len(req.TransferEncoding) > 0:
		return refuse(refusalBody)
	case !hasToken(header["Upgrade"], "websocket"):
		return refuse(refusalNoUpgrade)
	case !hasToken(header["Connection"], "upgrade") && !h.Lenient:
		return refuse(refusalNoConnection)
	case header.Get("Sec-WebSocket-Version") != "13":
		return refuse(refusalWebSocketVersion)
	case !validKey(key):
		return refuse(refusalKey)
	}

	chosen, offered := h.subprotocol(header["Sec-Websocket-Protocol"])
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
		b.WriteString(chosen)
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

// basic reads the one Authorization header of a request.
func (r *Request) basic(headers []string) {
	if len(headers) != 1 {
		return
	}
	scheme, value, _ := strings.Cut(headers[0], " ")
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
	if !strings.EqualFold(scheme, "basic") || err != nil {
		return
	}
	name, password, ok := bytes.Cut(b, []byte(":"))
	if ok {
		r.HasBasic, r.Username, r.Password = true, string(name), password
	}
}

// subprotocol chooses the first of the client's that is known here.
func (h *Handshake) subprotocol(headers []string) (chosen string, offered bool) {
	for _, list := range headers {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.TrimSpace(name); name == "" {
				continue
			}
			offered = true
			// The configured string, not the request's: nothing of the
			// request is kept.
			if i := slices.Index(h.Subprotocols, name); i >= 0 {
				return h.Subprotocols[i], true
			}
		}
	}
	if !offered {
		return h.DefaultSubprotocol, false
	}
	return "", true
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

func validKey(key string) bool {
	b, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(b) == 16
}

// acceptKey is RFC 6455 section 4.2.2, step 5.4.
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Refuse sends r to the charger, as an HTTP response or a Close frame.
func Refuse(nc net.Conn, r *Refusal) {
	var b []byte
	if r.Status == http.StatusSwitchingProtocols {
		b = appendClose(nil, r.Code, r.Why)
	} else {
		b = fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n", r.Status, http.StatusText(r.Status), len(r.Why)+1)
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
		b = append(append(append(b, "\r\n"...), r.Why...), '\n')
	}
	writeAndLinger(nc, b)
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
