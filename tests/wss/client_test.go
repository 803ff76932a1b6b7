package wss

import (
	"crypto/tls"
	"net/http"
	"testing"

	"holdfast/tests/harness"
	"holdfast/tests/pki"
	"holdfast/tests/raw"
)

// A charger's certificate must be of the authority, and of the identity that it
// connects as.
func TestClientCertificates(t *testing.T) {
	other, err := pki.NewAuthority("another authority")
	if err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{"cn", "san", "any"} {
		for _, how := range []string{"optional", "required"} {
			t.Run(where+", "+how, func(t *testing.T) {
				t.Parallel()
				ca := authorityFile(t)
				w := harness.NewWithProcessor(t, "-tls-client-ca", ca.file, "-tls-client-auth", how, "-tls-client-identity", where)
				certificate := func(a *pki.Authority, r pki.Request) *tls.Certificate {
					t.Helper()
					p, err := a.Issue(r)
					if err != nil {
						t.Fatal(err)
					}
					return &p.TLS
				}
				is := func(condition bool) int {
					if condition {
						return http.StatusSwitchingProtocols
					}
					return http.StatusForbidden
				}
				for _, c := range []struct {
					name   string
					cert   *tls.Certificate
					status int // 0: the TLS handshake fails
				}{
					{"its common name", certificate(ca.Authority, pki.Request{CommonName: "CP-1"}), is(where != "san")},
					{"an alternative name", certificate(ca.Authority, pki.Request{CommonName: "x", Names: []string{"y", "CP-1"}}), is(where != "cn")},
					{"another's", certificate(ca.Authority, pki.Request{CommonName: "CP-11", Names: []string{"CP-11"}}), is(false)},
					{"no name", certificate(ca.Authority, pki.Request{}), is(false)},
					{"RSA", certificate(ca.Authority, pki.Request{CommonName: "CP-1", Names: []string{"CP-1"}, RSA: where == "any"}), is(true)},
					{"another authority's", certificate(other, pki.Request{CommonName: "CP-1", Names: []string{"CP-1"}}), 0},
					{"none", nil, map[string]int{"optional": 101, "required": 0}[how]},
				} {
					for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
						status, err := present(t, w, only(w.TLS.Client(), version), c.cert)
						if status != c.status {
							t.Errorf("%s, %s: %d, %v; want %d", c.name, tls.VersionName(version), status, err, c.status)
						}
					}
				}
				logged(t, w, "refused", "certificate is not of a charger of this identity")
				logged(t, w, "handshake failed", "certificate")
			})
		}
	}
}

type authority struct {
	*pki.Authority
	file string
}

// authorityFile makes an authority for chargers, and its file.
func authorityFile(t *testing.T) authority {
	t.Helper()
	a, err := pki.NewAuthority("chargers")
	if err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/ca.pem"
	if err := pki.Replace(file, a.PEM); err != nil {
		t.Fatal(err)
	}
	return authority{a, file}
}

// present connects as CP-1 with a certificate, also one that the gateway does not ask
// for. With TLS 1.3 a client knows that it was refused only behind the handshake.
func present(t *testing.T, w *harness.World, config *tls.Config, cert *tls.Certificate) (status int, err error) {
	t.Helper()
	config.ServerName = "127.0.0.2"
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if cert == nil {
			return new(tls.Certificate), nil
		}
		return cert, nil
	}
	tc := tls.Client(connect(t, w.AddrTLS), config)
	if err := tc.Handshake(); err != nil {
		return 0, err
	}
	resp, _, err := raw.Handshake(tc, "CP-1")
	if err != nil {
		return 0, err
	}
	tc.Close()
	return resp.StatusCode, nil
}
