package record

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
)

// plainAlerts sends an unencrypted alert instead of whatever follows the ClientHello, as
// some clients of TLS 1.3 do.
type plainAlerts struct {
	net.Conn
	alert  byte
	writes int
}

func (c *plainAlerts) Write(b []byte) (int, error) {
	if c.writes++; c.writes == 1 {
		return c.Conn.Write(b)
	}
	_, err := c.Conn.Write([]byte{typeAlert, 3, 3, 0, 2, levelFatal, c.alert})
	return len(b), err
}

// A client that does not trust the certificate is told from one whose records are bad.
func TestAlertsOfTheHandshake(t *testing.T) {
	for _, tt := range []struct {
		name    string
		version uint16
		plain   byte // 0: as crypto/tls sends it
		want    string
	}{
		{"TLS 1.2", tls.VersionTLS12, 0, "does not trust the certificate: bad certificate"},
		{"TLS 1.3", tls.VersionTLS13, 0, "does not trust the certificate: bad certificate"},
		{"TLS 1.3, not encrypted", tls.VersionTLS13, 48, "does not trust the certificate: unknown certificate authority"},
		{"TLS 1.3, another alert", tls.VersionTLS13, 80, "sent the alert internal error"},
	} {
		server, client := tcpPair(t)
		go func() {
			nc := client
			if tt.plain != 0 {
				nc = &plainAlerts{Conn: client, alert: tt.plain}
			}
			c := tls.Client(nc, &tls.Config{ServerName: "gateway.test", RootCAs: x509.NewCertPool(), MaxVersion: tt.version})
			_ = c.Handshake()
			_ = client.Close()
		}()
		_, _, err := Server(server, serverConfig())
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
