// Package upstream opens connections to central systems, for one charger each: it knows
// WebSocket, TLS and HTTP, and nothing of OCPP.
package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/coder/websocket"
)

// A Target is where to connect, and as whom.
type Target struct {
	URL           string
	Subprotocol   string
	Authorization string // the header's value; empty: none. It is a secret.
	From          string // the charger's own address, without the port
	Secure        bool   // the charger came over TLS
}

// Config is what all connections have in common.
type Config struct {
	TLS        *tls.Config
	Header     http.Header
	MaxMessage int           // longest message of a central system, bytes
	Timeout    time.Duration // of a dial, to the end of its handshake
	Ping       time.Duration // interval of pings; 0: none
}

// A Dialer dials.
type Dialer struct {
	Config
	client *http.Client
}

// Buffers of a connection, in bytes: most messages are a few hundred, and there are many
// connections.
const bufferSize = 1 << 10

// NewDialer returns a dialer.
func NewDialer(c Config) *Dialer {
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}}
	return &Dialer{Config: c, client: &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: c.TLS,
			ReadBufferSize: bufferSize, WriteBufferSize: bufferSize,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// A RefusalError is what a central system has answered instead of 101. Anything else
// that goes wrong, it has not answered at all.
type RefusalError struct {
	Status int // HTTP
	Why    string
}

// Away reports whether a proxy has answered in place of a central system that is away.
func (e *RefusalError) Away() bool {
	return e.Status == http.StatusBadGateway || e.Status == http.StatusServiceUnavailable || e.Status == http.StatusGatewayTimeout
}

func (e *RefusalError) Error() string {
	if e.Why != "" {
		return e.Why
	}
	return fmt.Sprintf("answered %d %s", e.Status, http.StatusText(e.Status))
}

// Dial connects. The error is a *RefusalError if the central system is there and does not
// want this charger.
func (d *Dialer) Dial(ctx context.Context, t Target) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	header := d.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if t.Authorization != "" {
		header.Set("Authorization", t.Authorization)
	}
	proto := "http"
	if t.Secure {
		proto = "https"
	}
	header.Set("X-Forwarded-For", t.From)
	header.Set("X-Forwarded-Proto", proto)
	ws, resp, err := websocket.Dial(ctx, t.URL, &websocket.DialOptions{
		HTTPClient: d.client, HTTPHeader: header, Subprotocols: []string{t.Subprotocol}, CompressionMode: websocket.CompressionDisabled,
	})
	switch {
	case err != nil && resp != nil && resp.StatusCode != http.StatusSwitchingProtocols:
		return nil, &RefusalError{Status: resp.StatusCode}
	case err != nil:
		return nil, plain(err)
	case ws.Subprotocol() != t.Subprotocol:
		got := ws.Subprotocol()
		_ = ws.CloseNow()
		return nil, &RefusalError{Status: http.StatusBadRequest, Why: fmt.Sprintf("answered with the subprotocol %q, not %q", got, t.Subprotocol)}
	}
	ws.SetReadLimit(int64(d.MaxMessage))
	return newConn(ws, d.Ping), nil
}

// plain is err without what the caller knows already: the URL, and that it was a dial.
func plain(err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
