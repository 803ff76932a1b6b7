// Package pki makes the certificates of tests and benchmarks: an authority, and
// what it signs, ECDSA and RSA.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// An Authority signs certificates.
type Authority struct {
	PEM  []byte
	cert *x509.Certificate
	key  crypto.Signer
}

// A Pair is a certificate and its key.
type Pair struct {
	TLS     tls.Certificate
	PEM     []byte
	KeyPEM  []byte
	Subject string // common name
}

// Request says what a certificate is to be. The zero value is a charger's or a
// server's without any name, ECDSA, valid now.
type Request struct {
	CommonName string
	Names      []string // DNS names and IP addresses
	Key        crypto.Signer
	RSA        bool
	NotBefore  time.Time // zero: an hour ago
	NotAfter   time.Time // zero: in a day
}

// NewAuthority makes an authority.
func NewAuthority(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	a := &Authority{key: key}
	if a.cert, a.PEM, err = sign(template, template, key, key, Request{NotAfter: time.Now().AddDate(1, 0, 0)}); err != nil {
		return nil, err
	}
	return a, nil
}

// Pool trusts the authority.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Issue signs a certificate, of a new key unless the request has one.
func (a *Authority) Issue(r Request) (p Pair, err error) {
	key := r.Key
	switch {
	case key != nil:
	case r.RSA:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return p, err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: r.CommonName},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range r.Names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	leaf, certPEM, err := sign(template, a.cert, key, a.key, r)
	if err != nil {
		return p, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return p, err
	}
	return Pair{
		TLS:     tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf},
		PEM:     certPEM,
		KeyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		Subject: r.CommonName,
	}, nil
}

func sign(template, parent *x509.Certificate, key, by crypto.Signer, r Request) (*x509.Certificate, []byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		return nil, nil, err
	}
	template.SerialNumber = serial
	if template.NotBefore = r.NotBefore; r.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter = r.NotAfter; r.NotAfter.IsZero() {
		template.NotAfter = time.Now().AddDate(0, 0, 1)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		return nil, nil, fmt.Errorf("sign a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
}

// Write writes NAME.pem and NAME.key into dir, each as a whole.
func (p Pair) Write(dir, name string) (cert, key string, err error) {
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	return cert, key, errors.Join(Replace(cert, p.PEM), Replace(key, p.KeyPEM))
}

// Replace writes a file as careful operators do: whoever reads it sees the old
// one or the new one.
func Replace(path string, b []byte) error {
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
