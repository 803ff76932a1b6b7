package record

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"
)

// certificates are one ECDSA and one RSA certificate, made once.
var certificates = func() []tls.Certificate {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return []tls.Certificate{selfSigned(ec, &ec.PublicKey), selfSigned(rs, &rs.PublicKey)}
}()

func selfSigned(key, public any) tls.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gateway.test"}, DNSNames: []string{"gateway.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func serverConfig() *tls.Config {
	return &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS12, CipherSuites: Suites12(true)}
}

// tcpPair is both ends of a TCP connection.
func tcpPair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for _, c := range []net.Conn{server, client} {
		_ = c.SetDeadline(deadline)
		t.Cleanup(func() { _ = c.Close() })
	}
	return server, client
}

// each runs f for every suite, with a client that offers nothing else if it
// can: Go's cannot choose among the suites of TLS 1.3.
func each(t *testing.T, f func(t *testing.T, client *tls.Config)) {
	for _, s := range suites {
		client := &tls.Config{InsecureSkipVerify: true, MinVersion: s.version, MaxVersion: s.version}
		if s.version == tls.VersionTLS12 {
			client.CipherSuites = []uint16{s.id}
		} else if s.id != tls.TLS_AES_128_GCM_SHA256 {
			continue
		}
		t.Run(s.String(), func(t *testing.T) { f(t, client) })
	}
}

// What was written through the state of one process is read by the next.
func TestServerAcrossStates(t *testing.T) {
	each(t, func(t *testing.T, config *tls.Config) {
		for _, tickets := range []bool{true, false} {
			below, nc := tcpPair(t)
			done := make(chan error, 1)
			go func() { done <- echoes(nc, config) }()
			sc := serverConfig()
			sc.SessionTicketsDisabled = !tickets
			c, state, err := Server(below, sc)
			if err != nil {
				t.Fatal(err)
			}
			if id := config.CipherSuites; id != nil && !slices.Contains(id, state.CipherSuite) {
				t.Fatalf("negotiated %#x", state.CipherSuite)
			}
			buf := make([]byte, 64<<10)
			for {
				n, err := c.Read(buf)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Write(buf[:n]); err != nil {
					t.Fatal(err)
				}
				next, err := ParseState(c.layer.AppendState(nil))
				if err != nil {
					t.Fatal(err)
				}
				c.layer = next
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	})
}

// echoes writes to nc and expects the same back.
func echoes(nc net.Conn, config *tls.Config) error {
	tc := tls.Client(nc, config)
	for _, n := range []int{1, 2, 1000, MaxPlaintext, MaxPlaintext + 1, 100_000} {
		sent := make([]byte, n)
		_, _ = rand.Read(sent)
		go func() { _, _ = tc.Write(sent) }()
		got := make([]byte, n)
		if _, err := io.ReadFull(tc, got); err != nil {
			return fmt.Errorf("%d bytes: %w", n, err)
		}
		if !slices.Equal(got, sent) {
			return fmt.Errorf("%d bytes came back changed", n)
		}
	}
	return tc.CloseWrite()
}
