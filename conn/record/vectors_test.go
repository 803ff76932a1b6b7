package record

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"hash"
	"strings"
	"testing"
)

// unhex takes hex with spaces and line ends.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Of RFC 8448 section 3, "Simple 1-RTT Handshake": the traffic secrets of
// application data.
const (
	rfc8448Client = "9e40646ce79a7f9dc05af8889bce6552 875afa0b06df0087f792ebb7c17504a5"
	rfc8448Server = "a11af9f05531f856ad47116b45a95032 8204b4f44bfb6b3a4b4f1f3fcb631643"
)

func rfc8448(t testing.TB) *Layer {
	return newLayer(findSuite(tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256), unhex(t, rfc8448Client), unhex(t, rfc8448Server))
}

func TestRFC8448Keys(t *testing.T) {
	for _, tt := range []struct{ secret, label, want string }{
		{rfc8448Client, "key", "17422dda596ed5d9acd890e3c63f5051"},
		{rfc8448Client, "iv", "5b78923dee08579033e523d9"},
		{rfc8448Server, "key", "9f02283b6c9c07efc26bb9f2ac92e356"},
		{rfc8448Server, "iv", "cf782b88dd83549aadf1e984"},
	} {
		want := unhex(t, tt.want)
		if got := expandLabel(sha256.New, unhex(t, tt.secret), tt.label, len(want)); !bytes.Equal(got, want) {
			t.Errorf("%s: %x; want %x", tt.label, got, want)
		}
	}
}

// The records of RFC 8448 section 3: 50 bytes of data each way, the server's
// behind a ticket, and close_notify.
func TestRFC8448Records(t *testing.T) {
	data := make([]byte, 50)
	for i := range data {
		data[i] = byte(i)
	}
	l := rfc8448(t)
	got, err := l.Open(unhex(t, `17 03 03 00 43
		a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b 98 19 a8 a5
		b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69
		49 15 e4`))
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("data: %x, %v", got, err)
	}
	got, err = l.Open(unhex(t, "17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3"))
	if !errors.Is(err, ErrCloseNotify) || len(got) > 0 {
		t.Fatalf("close_notify: %x, %v", got, err)
	}
	l.write.seq = 1
	want := unhex(t, `17 03 03 00 43
		2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa 1b 36 e3 0e fa f9 7d
		90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2 ab f3 32 54 0d d0 32 e1 67
		c2 95 5d`)
	if got := l.Seal(nil, data); !bytes.Equal(got, want) {
		t.Errorf("sealed data is\n%x, want\n%x", got, want)
	}
	want = unhex(t, "17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9")
	if got := l.AppendCloseNotify(nil); !bytes.Equal(got, want) {
		t.Errorf("sealed close_notify is\n%x, want\n%x", got, want)
	}
}

// The vectors for the PRF of TLS 1.2 that the working group's list has, which
// most implementations test with.
func TestPRF(t *testing.T) {
	for name, tt := range map[string]struct {
		hash               func() hash.Hash
		secret, seed, want string
	}{
		"SHA-256": {
			sha256.New, "9bbe436ba940f017b17652849a71db35", "a0ba9f936cda311827a6f796ffd5198c",
			`e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af
			0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701
			87347b66`,
		},
		"SHA-384": {
			sha512.New384, "b80b733d6ceefcdc71566ea48e5567df", "cd665cf6a8447dd6ff8b27555edb7465",
			`7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cde9ca0faa60be9fe34f82b1233c9146a0
			e534cb400fed2700884f9dc236f80edd8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d918425
			9b5bf8cd4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee691c8f3a26854308d5eaa3be85e099070
			3d73e56f`,
		},
	} {
		want := unhex(t, tt.want)
		for n := range len(want) + 1 {
			if got := prf(tt.hash, unhex(t, tt.secret), "test label", unhex(t, tt.seed), n); !bytes.Equal(got, want[:n]) {
				t.Errorf("%s, %d bytes: %x; want %x", name, n, got, want[:n])
			}
		}
	}
}
