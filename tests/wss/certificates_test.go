package wss

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/tests/harness"
	"holdfast/tests/pki"
	"holdfast/tests/suites"
)

// issue makes a certificate for a gateway.
func issue(t *testing.T, w *harness.World, r pki.Request) pki.Pair {
	t.Helper()
	r.Names = []string{"127.0.0.2"}
	p, err := w.TLS.Servers.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// shown is the name of the certificate that the gateway shows a new client.
func shown(t *testing.T, w *harness.World) string {
	t.Helper()
	tc := dialTLS(t, w, &tls.Config{InsecureSkipVerify: true})
	defer tc.Close()
	return tc.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// A file that is wrong is reported by its name, by serve and by check.
func TestCertificateFaults(t *testing.T) {
	w := harness.New(t) // for its authority
	dir := t.TempDir()
	good, other := issue(t, w, pki.Request{CommonName: "good"}), issue(t, w, pki.Request{CommonName: "other"})
	expired := issue(t, w, pki.Request{CommonName: "expired", NotBefore: time.Now().AddDate(0, 0, -9), NotAfter: time.Now().AddDate(0, 0, -2)})
	future := issue(t, w, pki.Request{CommonName: "future", NotBefore: time.Now().AddDate(0, 0, 3), NotAfter: time.Now().AddDate(0, 0, 9)})
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := pki.Replace(path, b); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, key := write("good.pem", good.PEM), write("good.key", good.KeyPEM)
	garbage, missing := write("garbage", []byte("garbage\n")), filepath.Join(dir, "missing")
	otherKey := write("other.key", other.KeyPEM)
	for _, c := range []struct {
		name   string
		args   []string
		want   []string
		serves bool // with a line in the log
	}{
		{"no certificate", []string{"-tls-cert", missing, "-tls-key", key}, []string{missing, "no such file"}, false},
		{"no key", []string{"-tls-cert", cert, "-tls-key", missing}, []string{missing, "no such file"}, false},
		{"certificate is garbage", []string{"-tls-cert", garbage, "-tls-key", key}, []string{garbage}, false},
		{"key is garbage", []string{"-tls-cert", cert, "-tls-key", garbage}, []string{garbage}, false},
		{"key of another", []string{"-tls-cert", cert, "-tls-key", otherKey}, []string{cert, otherKey, "does not match"}, false},
		{"key without certificate", []string{"-tls-key", key}, []string{"needs a certificate"}, false},
		{"certificate without key", []string{"-tls-cert", cert}, []string{"tls-key"}, false},
		{
			"expired",
			[]string{"-tls-cert", write("expired.pem", expired.PEM), "-tls-key", write("expired.key", expired.KeyPEM)},
			[]string{"expired.pem", "has expired"},
			true,
		},
		{
			"not valid yet",
			[]string{"-tls-cert", write("future.pem", future.PEM), "-tls-key", write("future.key", future.KeyPEM)},
			[]string{"future.pem", "not valid before"},
			true,
		},
		{"no authority", []string{"-tls-cert", cert, "-tls-key", key, "-tls-client-ca", missing}, []string{missing}, false},
		{"authority is garbage", []string{"-tls-cert", cert, "-tls-key", key, "-tls-client-ca", garbage}, []string{garbage, "no PEM block"}, false},
		{"certificates wanted, no authority", []string{"-tls-cert", cert, "-tls-key", key, "-tls-client-auth", "required"}, []string{"tls-client-ca"}, false},
		{"no auth-file", []string{"-tls-cert", cert, "-tls-key", key, "-auth", "file", "-auth-file", missing}, []string{missing}, false},
		{"auth-file is garbage", []string{"-tls-cert", cert, "-tls-key", key, "-auth", "file", "-auth-file", garbage}, []string{garbage + ":1", "identity:sha256"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			socket := filepath.Join(t.TempDir(), "p.sock")
			args := append([]string{"-listen", "none", "-listen-tls", "127.0.0.1:0", "-processors", socket}, c.args...)
			check, err := exec.Command(harness.Holdfast(), append([]string{"check"}, args...)...).CombinedOutput()
			if err == nil || !containsAll(string(check), c.want) {
				t.Errorf("check: %v, want %q:\n%s", err, c.want, check)
			}
			p, err := harness.Start("holdfast", harness.Holdfast(), append([]string{"serve"}, args...)...)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Kill()
			harness.Until(t, "serve to tell", func() bool { return containsAll(p.Log.Tail(100), c.want) })
			if c.serves {
				harness.Until(t, "it to serve all the same", func() bool { return p.Log.Contains("listening") })
				return
			}
			<-p.Exited()
			if p.Err() == nil || p.Log.Contains("listening") {
				t.Errorf("serve ended with %v:\n%s", p.Err(), p.Log.Tail(20))
			}
		})
	}
}

func containsAll(text string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}

// A new file is served to the next client; connections stay. A bad one changes
// nothing, neither by itself nor with an upgrade.
func TestCertificatesChange(t *testing.T) {
	w := harness.NewWithProcessor(t)
	held := open(t, dialTLS(t, w, w.TLS.Client()), "HELD")
	held.mustAsk(t)
	dir := filepath.Dir(w.TLS.ECDSA)
	if _, _, err := issue(t, w, pki.Request{CommonName: "second"}).Write(dir, "ecdsa"); err != nil {
		t.Fatal(err)
	}
	harness.Until(t, "the second certificate", func() bool { return shown(t, w) == "second" })
	held.mustAsk(t)

	if err := os.WriteFile(w.TLS.ECDSA, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l := logged(t, w, "certificates stay as they were", "ecdsa.pem"); l.String("level") != "ERROR" {
		t.Errorf("logged as %s", l.String("level"))
	}
	if name := shown(t, w); name != "second" {
		t.Errorf("with a bad file %q is shown", name)
	}
	if out, err := upgrade(t, w); err == nil || !containsAll(out, []string{"rolled back", "ecdsa.pem"}) {
		t.Errorf("an upgrade with a bad file: %v\n%s", err, out)
	}
	held.mustAsk(t)

	if _, _, err := issue(t, w, pki.Request{CommonName: "third"}).Write(dir, "ecdsa"); err != nil {
		t.Fatal(err)
	}
	harness.Until(t, "the third certificate", func() bool { return shown(t, w) == "third" })
	if _, _, err := issue(t, w, pki.Request{CommonName: "fourth"}).Write(dir, "ecdsa"); err != nil {
		t.Fatal(err)
	}
	w.MustUpgrade() // which reads files, too
	if name := shown(t, w); name != "fourth" {
		t.Errorf("after an upgrade %q is shown", name)
	}
	held.mustAsk(t)
}

// The certificate is picked by what the client can, also for one that knows the
// gateway by another name.
func TestCertificateIsPicked(t *testing.T) {
	w := harness.NewWithProcessor(t)
	for _, suite := range suites.All {
		for _, name := range []string{"127.0.0.2", "localhost", "another.example"} {
			config := w.TLS.Client()
			config.ServerName = name
			config.InsecureSkipVerify = name == "another.example"
			tc, err := suite.Client(t.Context(), connect(t, w.AddrTLS), config)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			key := tc.ConnectionState().PeerCertificates[0].PublicKey
			_, isRSA := key.(*rsa.PublicKey)
			_, isECDSA := key.(*ecdsa.PublicKey)
			if wants := strings.Contains(suite.String(), "_RSA_"); isRSA != wants || isECDSA == wants {
				t.Errorf("%s, %v: the key is a %T", name, suite, key)
			}
			tc.Close()
		}
	}
}

// The suites without forward secrecy are there when asked for, and only then; they are
// held like others.
func TestLegacySuites(t *testing.T) {
	for _, legacy := range []string{"false", "true"} {
		w := harness.NewWithProcessor(t, "-tls-legacy", legacy)
		for _, suite := range suites.Legacy {
			config := w.TLS.Client()
			config.ServerName = "127.0.0.2"
			tc, err := suite.Client(t.Context(), connect(t, w.AddrTLS), config)
			if legacy == "false" {
				if err == nil || !strings.Contains(err.Error(), "handshake failure") {
					t.Errorf("%v: %v", suite, err)
				}
				continue
			}
			if err != nil {
				t.Error(err)
				continue
			}
			c := open(t, tc, "LEGACY")
			c.mustAsk(t)
			w.MustUpgrade()
			c.mustAsk(t)
			c.Close()
		}
	}
}
