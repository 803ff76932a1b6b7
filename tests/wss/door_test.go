package wss

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"holdfast/tests/harness"
	"holdfast/tests/raw"
)

// Plain HTTP on the port for wss is told so, and so is TLS on the port for ws.
func TestWrongPort(t *testing.T) {
	w := harness.NewWithProcessor(t)
	t.Run("HTTP where TLS is", func(t *testing.T) {
		resp := request(t, connect(t, w.AddrTLS), "HTTP-1")
		body := make([]byte, 200)
		n, _ := io.ReadFull(resp.Body, body)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body[:n]), "wss://") {
			t.Errorf("%s: %s", resp.Status, body[:n])
		}
		logged(t, w, "refused", "plain HTTP on a port for wss")
	})
	t.Run("TLS where HTTP is", func(t *testing.T) {
		err := tls.Client(connect(t, w.Addr), &tls.Config{ServerName: "127.0.0.1", RootCAs: w.TLS.Servers.Pool()}).Handshake()
		if err == nil || !strings.Contains(err.Error(), "remote error: tls: unexpected message") {
			t.Errorf("the client sees %v", err)
		}
		logged(t, w, "refused", "TLS on a port for ws")
	})
	t.Run("neither", func(t *testing.T) {
		nc := connect(t, w.AddrTLS)
		if _, err := io.WriteString(nc, "\x00\x01\x02 what is this?\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(nc); len(b) > 7 || err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("answered with %q, %v", b, err)
		}
		logged(t, w, "handshake failed", "neither TLS nor HTTP")
	})
	t.Run("a version that is too old", func(t *testing.T) {
		config := only(w.TLS.Client(), tls.VersionTLS11)
		config.ServerName = "127.0.0.2"
		err := tls.Client(connect(t, w.AddrTLS), config).Handshake()
		if err == nil || !strings.Contains(err.Error(), "protocol version not supported") {
			t.Errorf("the client sees %v", err)
		}
		logged(t, w, "handshake failed", "TLS handshake")
	})
}

// first is a connection that keeps what is written first.
type first struct {
	net.Conn
	b []byte
}

func (f *first) Write(b []byte) (int, error) {
	if f.b == nil {
		f.b = append([]byte(nil), b...)
	}
	return 0, io.ErrClosedPipe
}

// Whoever stalls in the handshake is cut at the deadline; others are not held up.
func TestStalledHandshakes(t *testing.T) {
	const timeout = time.Second
	w := harness.NewWithProcessor(t, "-handshake-timeout", timeout.String())
	hello := new(first)
	_ = tls.Client(hello, &tls.Config{ServerName: "gateway"}).Handshake()
	for name, begin := range map[string]func(nc net.Conn){
		"silent":                  func(net.Conn) {},
		"half a record's header":  func(nc net.Conn) { _, _ = nc.Write(hello.b[:3]) },
		"half of its ClientHello": func(nc net.Conn) { _, _ = nc.Write(hello.b[:len(hello.b)/2]) },
		"behind its ClientHello":  func(nc net.Conn) { _, _ = nc.Write(hello.b) },
		"byte by byte": func(nc net.Conn) {
			for _, c := range hello.b {
				if _, err := nc.Write([]byte{c}); err != nil {
					return
				}
				time.Sleep(timeout / 20) // a slow charger, not a wait
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc := connect(t, w.AddrTLS)
			began := time.Now()
			go begin(nc)
			_, _ = io.Copy(io.Discard, nc) // to its end
			if d := time.Since(began); d < timeout/2 || d > timeout+harness.Deadline/2 {
				t.Errorf("cut after %v", d)
			}
		})
	}
	t.Run("behind TLS", func(t *testing.T) {
		t.Parallel()
		tc := dialTLS(t, w, w.TLS.Client())
		_, _ = io.WriteString(tc, "GET /ocpp/S HTTP/1.1\r\n")
		b, err := io.ReadAll(tc) // a status, or nothing
		if err != nil || len(b) > 0 && !strings.HasPrefix(string(b), "HTTP/1.1 408 ") {
			t.Errorf("%q, %v", b, err)
		}
	})
	t.Run("others", func(t *testing.T) {
		t.Parallel()
		open(t, dialTLS(t, w, w.TLS.Client()), "OTHER").mustAsk(t)
	})
}

// The request, and what follows it, may come in one record, or one byte in each.
func TestRequestInManyRecords(t *testing.T) {
	w := harness.NewWithProcessor(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		tc := dialTLS(t, w, only(w.TLS.Client(), version))
		request := raw.Request("MANY") + raw.Ping()
		for i := range len(request) {
			if _, err := io.WriteString(tc, request[i:i+1]); err != nil {
				t.Fatal(err)
			}
		}
		br := bufio.NewReader(tc)
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%v, %v", resp, err)
		}
		if op, payload, err := raw.Read(br); err != nil || op != raw.OpPong || payload != "" {
			t.Fatalf("%x %q, %v", op, payload, err)
		}
		(&charger{Conn: tc, br: br}).mustAsk(t)
		tc.Close()
	}
}
