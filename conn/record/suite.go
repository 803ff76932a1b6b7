package record

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// A suite is what a record layer must know of a cipher suite.
type suite struct {
	id      uint16
	version uint16 // of TLS
	hash    func() hash.Hash
	keyLen  int
	ivLen   int // of the implicit part, from the key schedule
	aead    func(key []byte) (cipher.AEAD, error)
	// rekeyAt is how many records one key may protect, RFC 8446 section 5.5.
	rekeyAt uint64
}

// explicit is how much of the nonce stands in each record: RFC 5288 section 3
// has 8 bytes, all others none.
func (s *suite) explicit() int { return nonceSize - s.ivLen }

const (
	nonceSize = 12
	tagSize   = 16 // of all suites here

	aesRecords = 1 << 24 // RFC 8446 section 5.5 allows 2^24.5 full records
	noLimit    = 1<<64 - 1
)

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// suites are those that can be held. With TLS 1.2 there is no way to a new key:
// RFC 5288 sets no limit, and a charger reconnects before 2^64 messages.
var suites = []suite{
	{tls.TLS_AES_128_GCM_SHA256, tls.VersionTLS13, sha256.New, 16, 12, newGCM, aesRecords},
	{tls.TLS_AES_256_GCM_SHA384, tls.VersionTLS13, sha512.New384, 32, 12, newGCM, aesRecords},
	{tls.TLS_CHACHA20_POLY1305_SHA256, tls.VersionTLS13, sha256.New, 32, 12, chacha20poly1305.New, noLimit},

	{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.VersionTLS12, sha256.New, 16, 4, newGCM, noLimit},
	{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.VersionTLS12, sha512.New384, 32, 4, newGCM, noLimit},
	{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.VersionTLS12, sha256.New, 32, 12, chacha20poly1305.New, noLimit},
	{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.VersionTLS12, sha256.New, 16, 4, newGCM, noLimit},
	{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.VersionTLS12, sha512.New384, 32, 4, newGCM, noLimit},
	{tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, tls.VersionTLS12, sha256.New, 32, 12, chacha20poly1305.New, noLimit},
	{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.VersionTLS12, sha256.New, 16, 4, newGCM, noLimit},
	{tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.VersionTLS12, sha512.New384, 32, 4, newGCM, noLimit},
}

// findSuite returns the suite of a version; nil if it cannot be held.
func findSuite(version, id uint16) *suite {
	for i := range suites {
		if s := &suites[i]; s.id == id && s.version == version {
			return s
		}
	}
	return nil
}

// Suites12 are the TLS 1.2 suites for tls.Config.CipherSuites, the best first.
// With legacy the two of OCPP without forward secrecy come last. (Those of TLS
// 1.3 cannot be chosen, and all three can be held.)
func Suites12(legacy bool) (ids []uint16) {
	for _, s := range suites {
		rsa := s.id == tls.TLS_RSA_WITH_AES_128_GCM_SHA256 || s.id == tls.TLS_RSA_WITH_AES_256_GCM_SHA384
		if s.version == tls.VersionTLS12 && (legacy || !rsa) {
			ids = append(ids, s.id)
		}
	}
	return ids
}

// secretLen is how many bytes of a half's secret are in use: with TLS 1.3 the
// traffic secret, with 1.2 key and IV.
func (s *suite) secretLen() int {
	if s.version == tls.VersionTLS13 {
		return s.hash().Size()
	}
	return s.keyLen + s.ivLen
}

func (s *suite) String() string {
	return fmt.Sprintf("%s %s", tls.VersionName(s.version), tls.CipherSuiteName(s.id))
}
