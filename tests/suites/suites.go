// Package suites has TLS clients that offer one version and one cipher suite, so
// that a test can choose what is negotiated.
//
// crypto/tls lets nobody choose among the suites of TLS 1.3. Here its list is
// changed while one ClientHello is made; all TLS clients of a process that does so
// must therefore come through here, and it can have no TLS servers.
package suites

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	_ "unsafe" // for linkname
)

// A Suite is a version of TLS and a cipher suite.
type Suite struct{ Version, ID uint16 }

// All are those that a gateway offers.
var All = []Suite{
	{tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256},
	{tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	{tls.VersionTLS13, tls.TLS_AES_256_GCM_SHA384},
	{tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384},
	{tls.VersionTLS13, tls.TLS_CHACHA20_POLY1305_SHA256},
	{tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256},
	{tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384},
	{tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
	{tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256},
}

// Legacy are those that it offers beside them with -tls-legacy.
var Legacy = []Suite{
	{tls.VersionTLS12, tls.TLS_RSA_WITH_AES_128_GCM_SHA256},
	{tls.VersionTLS12, tls.TLS_RSA_WITH_AES_256_GCM_SHA384},
}

func (s Suite) String() string {
	return fmt.Sprintf("%s %s", tls.VersionName(s.Version), strings.TrimPrefix(tls.CipherSuiteName(s.ID), "TLS_"))
}

//go:linkname suites13 crypto/tls.defaultCipherSuitesTLS13
var suites13 []uint16

//go:linkname suites13NoAES crypto/tls.defaultCipherSuitesTLS13NoAES
var suites13NoAES []uint16

var making sync.Mutex // a ClientHello

// Dial does the handshake of a client that offers only this suite, on nc, which is
// connected to addr. With an error it closes nc.
func (s Suite) Dial(ctx context.Context, nc net.Conn, addr string, config *tls.Config) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	config = config.Clone()
	config.ServerName = host
	tc, err := s.Client(ctx, nc, config)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return tc, nil
}

// Client does the handshake of a client that offers only this suite.
func (s Suite) Client(ctx context.Context, nc net.Conn, config *tls.Config) (*tls.Conn, error) {
	config = config.Clone()
	config.MinVersion, config.MaxVersion = s.Version, s.Version
	config.CipherSuites = []uint16{s.ID} // for TLS 1.2
	making.Lock()
	was, wasNoAES := suites13, suites13NoAES
	if s.Version == tls.VersionTLS13 {
		suites13, suites13NoAES = config.CipherSuites, config.CipherSuites
	}
	w := &firstWrite{nc, sync.OnceFunc(func() {
		suites13, suites13NoAES = was, wasNoAES
		making.Unlock()
	})}
	tc := tls.Client(w, config)
	err := tc.HandshakeContext(ctx)
	w.done() // if it wrote nothing
	if err == nil && tc.ConnectionState().CipherSuite != s.ID {
		err = fmt.Errorf("%s was negotiated instead of %v", tls.CipherSuiteName(tc.ConnectionState().CipherSuite), s)
	}
	if err != nil {
		return nil, fmt.Errorf("%v: %w", s, err)
	}
	return tc, nil
}

// firstWrite calls done when the ClientHello is made.
type firstWrite struct {
	net.Conn
	done func()
}

func (w *firstWrite) Write(b []byte) (int, error) {
	w.done()
	return w.Conn.Write(b)
}
