package crash

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"holdfast/tests/raw"
)

// TestCloseNotify closes a kept wss connection: behind the Close frame TLS is ended in
// order, as without a keeper.
func TestCloseNotify(t *testing.T) {
	w := newWorld(t)
	nc, err := net.Dial("tcp", w.AddrTLS)
	if err != nil {
		t.Fatal(err)
	}
	config := w.TLS.Client().Clone()
	config.ServerName = "127.0.0.1"
	c := tls.Client(nc, config)
	defer c.Close()
	_, br, err := raw.Handshake(c, "CP")
	if err != nil {
		t.Fatal(err)
	}
	w.Logged(w.Process, `"msg":"opened"`)
	closing := append(raw.AppendHeader(nil, raw.Fin|raw.OpClose, true, 2), 0, 0, 0, 0, 3, 0xe8)
	if _, err := c.Write(closing); err != nil {
		t.Fatal(err)
	}
	// crypto/tls says io.EOF at close_notify, and io.ErrUnexpectedEOF without it.
	if _, err := io.Copy(io.Discard, onlyReader{br}); err != nil && !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

type onlyReader struct{ io.Reader }
