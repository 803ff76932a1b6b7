package credentials

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A certificateFile is a file of certificates as it was read.
type certificateFile struct {
	option string
	path   string
	blocks []block // that are certificates
	certs  []*x509.Certificate
}

// kinds of blocks that may stand beside what a file is read for.
var (
	keyKinds  = []string{"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"}
	asideKind = []string{"EC PARAMETERS", "DH PARAMETERS"}
)

// readCertificates reads a file of certificates; a server's may have its key in it, too.
func readCertificates(option, path string, keys bool) (f certificateFile, err error) {
	blocks, err := readPEM(path)
	if err != nil {
		return f, fmt.Errorf("%s: %w", option, err)
	}
	f = certificateFile{option: option, path: path}
	for _, b := range blocks {
		switch {
		case b.kind == "CERTIFICATE":
			cert, err := x509.ParseCertificate(b.bytes)
			if err != nil {
				return f, fmt.Errorf("%s: %s: %w", option, b.at(path), err)
			}
			f.blocks, f.certs = append(f.blocks, b), append(f.certs, cert)
		case keys && (slices.Contains(keyKinds, b.kind) || slices.Contains(asideKind, b.kind)):
		case b.kind == "TRUSTED CERTIFICATE":
			return f, fmt.Errorf("%s: %s: OpenSSL's own format; openssl x509 makes a CERTIFICATE of it", option, b.at(path))
		default:
			return f, fmt.Errorf("%s: %s: want CERTIFICATE only", option, b.at(path))
		}
	}
	if len(f.certs) == 0 {
		return f, fmt.Errorf("%s: %s: no certificate in it", option, path)
	}
	return f, nil
}

// readKey reads a server's private key, and returns its block, PEM.
func readKey(path string) (key []byte, err error) {
	blocks, err := readPEM(path)
	if err != nil {
		return nil, fmt.Errorf("tls-key: %w", err)
	}
	for _, b := range blocks {
		switch {
		case slices.Contains(keyKinds, b.kind) && key != nil:
			return nil, fmt.Errorf("tls-key: %s: a second key", b.at(path))
		case slices.Contains(keyKinds, b.kind):
			key = pem.EncodeToMemory(&pem.Block{Type: b.kind, Bytes: b.bytes})
		case b.kind == "ENCRYPTED PRIVATE KEY":
			return nil, fmt.Errorf("tls-key: %s: it has a password: store it without (openssl pkey)", b.at(path))
		case b.kind == "CERTIFICATE" || slices.Contains(asideKind, b.kind):
		default:
			return nil, fmt.Errorf("tls-key: %s: want a PRIVATE KEY", b.at(path))
		}
	}
	if key == nil {
		return nil, fmt.Errorf("tls-key: %s: no private key in it", path)
	}
	return key, nil
}

// pair returns the chain with its key.
func (f *certificateFile) pair(key []byte) (tls.Certificate, error) {
	var chain []byte
	for _, b := range f.blocks {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: b.kind, Bytes: b.bytes})...)
	}
	return tls.X509KeyPair(chain, key)
}

func (f *certificateFile) at(i int) string {
	return fmt.Sprintf("%s %s (%s)", f.option, f.blocks[i].at(f.path), f.certs[i].Subject)
}

// endsSoon is how long before the end of a certificate there is a warning.
const endsSoon = 30 * 24 * time.Hour

// checkDates returns what is wrong with the dates: of a server's own certificate, which
// chargers will refuse, as a fault.
func (f *certificateFile) checkDates(now time.Time, server bool) (faults, warnings []error) {
	for i, c := range f.certs {
		var err error
		fault := false
		switch left := c.NotAfter.Sub(now); {
		case left < 0:
			err, fault = fmt.Errorf("%s: the certificate has expired at %s", f.at(i), c.NotAfter.Format(time.RFC3339)), true
		case now.Before(c.NotBefore):
			err, fault = fmt.Errorf("%s: the certificate is not valid before %s", f.at(i), c.NotBefore.Format(time.RFC3339)), true
		case left < endsSoon:
			err = fmt.Errorf("%s: the certificate ends in %d days, at %s", f.at(i), int(left.Hours()/24), c.NotAfter.Format(time.RFC3339))
		default:
			continue
		}
		if fault && server && i == 0 {
			faults = append(faults, err)
		} else {
			warnings = append(warnings, err)
		}
	}
	return faults, warnings
}

// checkChain follows a server's chain from its first certificate as a charger does, and
// returns what a charger may stumble over.
func (f *certificateFile) checkChain() (warnings []error) {
	warn := func(i int, format string, args ...any) {
		warnings = append(warnings, fmt.Errorf("%s: %s", f.at(i), fmt.Sprintf(format, args...)))
	}
	used := make([]bool, len(f.certs))
	last, ordered := 0, true
	for used[0] = true; !isRoot(f.certs[last]); {
		next := slices.IndexFunc(f.certs, func(c *x509.Certificate) bool { return signed(f.certs[last], c) })
		if next < 0 || used[next] {
			break
		}
		ordered = ordered && next == last+1
		used[next] = true
		last = next
	}
	if !ordered {
		warn(0, "the chain is in the wrong order: each certificate is followed by the one that signs it")
	}
	if c := f.certs[last]; !isRoot(c) && slices.Contains(used, false) {
		warn(last, "its issuer (%s) is not in the file: there is a gap", c.Issuer)
	} else if last == 0 && !isRoot(c) && len(c.IssuingCertificateURL) > 0 && !trusted(c) {
		warn(0, "its issuer (%s) is not in the file, and is no root of this system: chargers need it", c.Issuer)
	}
	for i, u := range used {
		if !u {
			warn(i, "nothing in the file is signed by it: it belongs to another chain, or what it signs is missing")
		}
	}
	return warnings
}

// trusted reports whether a root of this system has signed c itself.
func trusted(c *x509.Certificate) bool {
	_, err := c.Verify(x509.VerifyOptions{CurrentTime: c.NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	var unknown x509.UnknownAuthorityError
	return !errors.As(err, &unknown)
}

func isRoot(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

func signed(c, by *x509.Certificate) bool {
	return c != by && bytes.Equal(c.RawIssuer, by.RawSubject) && c.CheckSignatureFrom(by) == nil
}

// checkAuthorities returns what is wrong with the authorities of chargers' certificates.
func (f *certificateFile) checkAuthorities() (warnings []error) {
	for i, c := range f.certs {
		if c.BasicConstraintsValid && !c.IsCA {
			warnings = append(warnings, fmt.Errorf("%s: it is no certificate authority: no charger's certificate is signed by it", f.at(i)))
		}
	}
	return warnings
}

// subject names a certificate briefly.
func subject(c *x509.Certificate) string {
	if c.Subject.CommonName != "" {
		return strings.ToValidUTF8(c.Subject.CommonName, "?")
	}
	return strings.ToValidUTF8(c.Subject.String(), "?")
}
