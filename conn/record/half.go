package record

import (
	"crypto/cipher"
	"crypto/tls"
	"encoding/binary"
	"fmt"
)

// maxSecret is the longest secret of a suite: a SHA-384 traffic secret.
const maxSecret = 48

// half is one direction of a connection.
type half struct {
	secret [maxSecret]byte // the first suite.secretLen bytes are in use
	seq    uint64          // number of the next record
	keys   *keys           // nil: cold

	// Key and IV of TLS 1.3 are kept once they are derived: that takes four
	// times as long as all else that a cold connection needs.
	derived bool
	key     [maxKey]byte
	iv      [nonceSize]byte
}

// maxKey is the longest key of a suite.
const maxKey = 32

// keys are what is needed to work with a half: made from the secret when a
// record comes or goes, and dropped when the connection is cold again.
type keys struct {
	aead  cipher.AEAD
	iv    [nonceSize]byte
	nonce [nonceSize]byte // scratch
	ad    [13]byte        // scratch
}

func (h *half) expand(s *suite) *keys {
	if h.keys != nil {
		return h.keys
	}
	if !h.derived {
		h.derive(s)
	}
	k := &keys{iv: h.iv}
	var err error
	if k.aead, err = s.aead(h.key[:s.keyLen]); err != nil {
		panic(fmt.Sprintf("record: %v: %v", s, err)) // only for key lengths that no suite has
	}
	h.keys = k
	return k
}

// derive makes key and IV from the secret, RFC 8446 section 7.3.
func (h *half) derive(s *suite) {
	h.derived = true
	secret := h.secret[:s.secretLen()]
	if s.version == tls.VersionTLS13 {
		copy(h.key[:], expandLabel(s.hash, secret, "key", s.keyLen))
		copy(h.iv[:], expandLabel(s.hash, secret, "iv", s.ivLen))
		return
	}
	copy(h.iv[:], secret[copy(h.key[:], secret[:s.keyLen]):])
}

// wipe overwrites what is secret.
func (h *half) wipe() {
	clear(h.secret[:])
	clear(h.key[:])
	clear(h.iv[:])
	h.keys = nil
}

// next goes on to the next key of TLS 1.3, RFC 8446 section 7.2.
func (h *half) next(s *suite) {
	secret := h.secret[:s.secretLen()]
	copy(secret, expandLabel(s.hash, secret, "traffic upd", len(secret)))
	h.seq, h.keys, h.derived = 0, nil, false
}

// prepare sets up nonce and additional data for record h.seq: its header is
// header, and its plaintext has length bytes. explicit are those bytes of the
// nonce that stand in the record.
func (k *keys) prepare(s *suite, seq uint64, header, explicit []byte, length int) (nonce, ad []byte) {
	k.nonce = k.iv
	if len(explicit) > 0 {
		copy(k.nonce[s.ivLen:], explicit)
	} else { // RFC 8446 section 5.3, RFC 7905 section 2
		for i := range 8 {
			k.nonce[4+i] ^= byte(seq >> (56 - 8*i))
		}
	}
	if s.version == tls.VersionTLS13 {
		return k.nonce[:], append(k.ad[:0], header...)
	}
	ad = binary.BigEndian.AppendUint64(k.ad[:0], seq) // RFC 5246 section 6.2.3.3
	ad = append(ad, header[:3]...)
	return k.nonce[:], binary.BigEndian.AppendUint16(ad, uint16(length))
}
