package wiretap

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"holdfast/tests/pki"
)

// What crypto/tls sends opens; what was changed, repeated or left out does not.
func TestTapSeesEverything(t *testing.T) {
	a, err := pki.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := a.Issue(pki.Request{Names: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		keys := new(bytes.Buffer)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ended := make(chan error, 1)
		go func() {
			nc, err := l.Accept()
			if err == nil {
				defer nc.Close()
				tc := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{pair.TLS}, MaxVersion: version, KeyLogWriter: keys})
				_, err = io.Copy(tc, tc) // an echo
				tc.Close()
			}
			ended <- err
		}()
		tap, err := Start(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		tc, err := tls.Dial("tcp", tap.Addr, &tls.Config{RootCAs: a.Pool()})
		if err != nil {
			t.Fatal(err)
		}
		b := []byte("hello")
		for range 5 {
			if _, err := tc.Write(b); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(tc, b); err != nil {
				t.Fatal(err)
			}
		}
		tc.Close()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		log := filepath.Join(t.TempDir(), "keys")
		if err := os.WriteFile(log, keys.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := tap.Check(log)
		if err != nil || s.Connections != 1 || s.Records < 12 {
			t.Fatalf("%s: %+v, %v", tls.VersionName(version), s, err)
		}
		secrets, err := parseKeyLog(keys.String())
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range []func(records [][]byte) [][]byte{
			func(r [][]byte) [][]byte { return slices.Insert(r, len(r)-2, r[len(r)-3]) },                // repeated
			func(r [][]byte) [][]byte { return slices.Delete(r, len(r)-3, len(r)-2) },                   // left out
			func(r [][]byte) [][]byte { r[len(r)-2], r[len(r)-3] = r[len(r)-3], r[len(r)-2]; return r }, // swapped
			func(r [][]byte) [][]byte { r[len(r)-2][9] ^= 1; return r },                                 // changed
		} {
			for _, side := range []string{"up", "down"} {
				w := &wire{up: bytes.Clone(tap.wires[0].up), down: bytes.Clone(tap.wires[0].down)}
				stream := &w.up
				if side == "down" {
					stream = &w.down
				}
				*stream = bytes.Join(change(cut(*stream)), nil)
				if _, err := w.open(secrets, make(nonces)); err == nil || errors.Is(err, errNoHandshake) {
					t.Errorf("%s, %s: a change was not seen: %v", tls.VersionName(version), side, err)
				}
			}
		}
		// The same again repeats every nonce.
		seen := make(nonces)
		_, first := tap.wires[0].open(secrets, seen)
		if _, again := tap.wires[0].open(secrets, seen); first != nil || again == nil {
			t.Errorf("%s: nonces that were used twice: %v, %v", tls.VersionName(version), first, again)
		}
	}
}
