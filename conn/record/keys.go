package record

import (
	"crypto/hkdf"
	"crypto/hmac"
	"fmt"
	"hash"
)

// expandLabel is HKDF-Expand-Label with an empty context, RFC 8446 section 7.1.
func expandLabel(h func() hash.Hash, secret []byte, label string, length int) []byte {
	const prefix = "tls13 "
	info := make([]byte, 0, 4+len(prefix)+len(label))
	info = append(info, byte(length>>8), byte(length), byte(len(prefix)+len(label)))
	info = append(append(append(info, prefix...), label...), 0)
	out, err := hkdf.Expand(h, secret, string(info), length)
	if err != nil {
		panic(fmt.Sprintf("record: HKDF: %v", err)) // only for lengths that no suite has
	}
	return out
}

// prf is the pseudo-random function of TLS 1.2, RFC 5246 section 5.
func prf(h func() hash.Hash, secret []byte, label string, seed []byte, length int) []byte {
	mac := hmac.New(h, secret)
	sum := func(parts ...[]byte) []byte {
		mac.Reset()
		for _, p := range parts {
			mac.Write(p)
		}
		return mac.Sum(nil)
	}
	labelled := append([]byte(label), seed...)
	out := make([]byte, 0, length+mac.Size())
	for a := sum(labelled); len(out) < length; a = sum(a) {
		out = append(out, sum(a, labelled)...)
	}
	return out[:length]
}

// keyBlock is the key block of TLS 1.2 cut into what each side writes with, key
// and IV one after the other, RFC 5246 section 6.3. Its order is both keys,
// then both IVs; AEAD suites have no MAC keys.
func keyBlock(s *suite, master, clientRandom, serverRandom []byte) (client, server []byte) {
	seed := append(append([]byte(nil), serverRandom...), clientRandom...)
	block := prf(s.hash, master, "key expansion", seed, 2*(s.keyLen+s.ivLen))
	keys, ivs := block[:2*s.keyLen], block[2*s.keyLen:]
	client = append(append(client, keys[:s.keyLen]...), ivs[:s.ivLen]...)
	server = append(append(server, keys[s.keyLen:]...), ivs[s.ivLen:]...)
	clear(block)
	return client, server
}
