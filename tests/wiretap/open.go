package wiretap

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// errNoHandshake: the connection ended before it had keys.
var errNoHandshake = errors.New("no completed handshake")

// nonces are the pairs of key and nonce that were used.
type nonces map[string]struct{}

// algorithm is what a suite's records are protected with.
type algorithm struct {
	hash   func() hash.Hash
	keyLen int
	chacha bool
}

var algorithms = map[uint16]algorithm{
	tls.TLS_AES_128_GCM_SHA256:                        {sha256.New, 16, false},
	tls.TLS_AES_256_GCM_SHA384:                        {sha512.New384, 32, false},
	tls.TLS_CHACHA20_POLY1305_SHA256:                  {sha256.New, 32, true},
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:       {sha256.New, 16, false},
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:       {sha512.New384, 32, false},
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: {sha256.New, 32, true},
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:         {sha256.New, 16, false},
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:         {sha512.New384, 32, false},
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:   {sha256.New, 32, true},
	tls.TLS_RSA_WITH_AES_128_GCM_SHA256:               {sha256.New, 16, false},
	tls.TLS_RSA_WITH_AES_256_GCM_SHA384:               {sha512.New384, 32, false},
}

// opener opens the records of one direction under one key.
type opener struct {
	algorithm
	aead     cipher.AEAD
	key, iv  []byte
	explicit int // bytes of the nonce that stand in a record
	tls13    bool
	seq      uint64
}

func newOpener(a algorithm, key, iv []byte, tls13 bool) *opener {
	o := &opener{algorithm: a, key: key, iv: iv, explicit: 12 - len(iv), tls13: tls13}
	var err error
	if a.chacha {
		o.aead, err = chacha20poly1305.New(key)
	} else {
		var block cipher.Block
		if block, err = aes.NewCipher(key); err == nil {
			o.aead, err = cipher.NewGCM(block)
		}
	}
	if err != nil {
		panic(err) // the length of a key
	}
	return o
}

// open returns what a record holds, and notes its nonce.
func (o *opener) open(record []byte, seen nonces) (typ byte, plain []byte, err error) {
	header, sealed := record[:5], record[5:]
	if len(sealed) < o.explicit+o.aead.Overhead() {
		return 0, nil, fmt.Errorf("record %d of %d bytes", o.seq, len(sealed))
	}
	nonce := append(append([]byte(nil), o.iv...), sealed[:o.explicit]...)
	sealed = sealed[o.explicit:]
	if o.explicit == 0 {
		var seq [12]byte
		binary.BigEndian.PutUint64(seq[4:], o.seq)
		for i := range nonce {
			nonce[i] ^= seq[i]
		}
	}
	ad := header
	if !o.tls13 {
		ad = binary.BigEndian.AppendUint64(nil, o.seq)
		ad = append(ad, header[:3]...)
		ad = binary.BigEndian.AppendUint16(ad, uint16(len(sealed)-o.aead.Overhead()))
	}
	plain, err = o.aead.Open(nil, nonce, sealed, ad)
	if err != nil {
		return 0, nil, fmt.Errorf("record %d of its key does not open", o.seq)
	}
	used := string(o.key) + string(nonce)
	if _, twice := seen[used]; twice {
		return 0, nil, fmt.Errorf("record %d repeats a nonce", o.seq)
	}
	seen[used] = struct{}{}
	o.seq++
	typ = header[0]
	if o.tls13 {
		for len(plain) > 0 && plain[len(plain)-1] == 0 {
			plain = plain[:len(plain)-1]
		}
		if len(plain) == 0 {
			return 0, nil, errors.New("nothing but padding")
		}
		typ, plain = plain[len(plain)-1], plain[:len(plain)-1]
	}
	return typ, plain, nil
}

// cut cuts a stream into records; the last may be cut short.
func cut(b []byte) (records [][]byte) {
	for len(b) >= 5 {
		n := 5 + int(binary.BigEndian.Uint16(b[3:]))
		if len(b) < n {
			break
		}
		records = append(records, b[:n])
		b = b[n:]
	}
	return records
}

// Numbers of RFC 8446 and RFC 5246.
const (
	typeChangeCipherSpec = 20
	typeHandshake        = 22
	typeData             = 23
	helloClient          = 1
	helloServer          = 2
	finished             = 20
	keyUpdate            = 24
	supportedVersions    = 43
)

// open opens all records of a connection.
func (w *wire) open(all secrets, seen nonces) (s Summary, err error) {
	up, down := cut(w.up), cut(w.down)
	if len(up) == 0 || len(down) == 0 || up[0][0] != typeHandshake || up[0][5] != helloClient || len(up[0]) < 43 {
		return s, errNoHandshake
	}
	random := up[0][11:43]
	known := all[string(random)]
	if known == nil {
		return s, errNoHandshake
	}
	hello, err := parseServerHello(down)
	if err != nil {
		return s, err
	}
	a, ok := algorithms[hello.suite]
	if !ok {
		return s, fmt.Errorf("suite %s", tls.CipherSuiteName(hello.suite))
	}
	if master := known["CLIENT_RANDOM"]; !hello.tls13 {
		ivLen := 4
		if a.chacha {
			ivLen = 12
		}
		seed := append(append([]byte("key expansion"), hello.random...), random...)
		block := prf(a.hash, master, seed, 2*(a.keyLen+ivLen))
		keys, ivs := block[:2*a.keyLen], block[2*a.keyLen:]
		n, err := open12(up, newOpener(a, keys[:a.keyLen], ivs[:ivLen], false), seen)
		s.Records += n
		if err != nil {
			return s, fmt.Errorf("TLS 1.2, of the client: %w", err)
		}
		n, err = open12(down, newOpener(a, keys[a.keyLen:], ivs[ivLen:], false), seen)
		s.Records += n
		if err != nil {
			return s, fmt.Errorf("TLS 1.2, of the gateway: %w", err)
		}
		return s, nil
	}
	for _, side := range []struct {
		records [][]byte
		label   string
	}{{up, "CLIENT"}, {down, "SERVER"}} {
		one, err := open13(side.records, a, known[side.label+"_HANDSHAKE_TRAFFIC_SECRET"], known[side.label+"_TRAFFIC_SECRET_0"], seen)
		s.Records += one.Records
		s.KeyUpdates += one.KeyUpdates
		if err != nil {
			return s, fmt.Errorf("TLS 1.3, of the %s: %w", side.label, err)
		}
	}
	return s, nil
}

type serverHello struct {
	random []byte
	suite  uint16
	tls13  bool
}

// parseServerHello finds the last ServerHello: one before it may be a
// HelloRetryRequest.
func parseServerHello(records [][]byte) (h serverHello, err error) {
	for _, r := range records {
		if r[0] == typeData || r[0] == typeChangeCipherSpec && h.random != nil && !h.tls13 {
			break
		}
		if r[0] != typeHandshake || len(r) < 46 || r[5] != helloServer {
			continue
		}
		h = serverHello{random: r[11:43]}
		b := r[44+int(r[43]):] // behind the session id
		if len(b) < 5 {
			return h, errors.New("ServerHello is short")
		}
		h.suite = binary.BigEndian.Uint16(b)
		for e := b[5 : 5+min(len(b)-5, int(binary.BigEndian.Uint16(b[3:])))]; len(e) >= 4; {
			n := int(binary.BigEndian.Uint16(e[2:]))
			if binary.BigEndian.Uint16(e) == supportedVersions {
				h.tls13 = true
			}
			e = e[min(len(e), 4+n):]
		}
	}
	if h.random == nil {
		return h, errors.New("no ServerHello")
	}
	return h, nil
}

// open12 opens what comes behind ChangeCipherSpec.
func open12(records [][]byte, o *opener, seen nonces) (n int, err error) {
	protected := false
	for _, r := range records {
		if !protected {
			protected = r[0] == typeChangeCipherSpec
			continue
		}
		if _, _, err := o.open(r, seen); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// open13 opens what is protected: by the handshake's key until Finished, by the
// application's from there on, and by the next one behind each KeyUpdate.
func open13(records [][]byte, a algorithm, handshake, application []byte, seen nonces) (s Summary, err error) {
	secret := handshake
	o := opener13(a, secret)
	var messages []byte // handshake messages may be cut anywhere
	for _, r := range records {
		if r[0] != typeData {
			continue
		}
		typ, plain, err := o.open(r, seen)
		if err != nil {
			return s, err
		}
		s.Records++
		if typ != typeHandshake {
			continue
		}
		messages = append(messages, plain...)
		for len(messages) >= 4 {
			n := 4 + int(binary.BigEndian.Uint32(messages)&0xffffff)
			if len(messages) < n {
				break
			}
			switch messages[0] {
			case finished:
				secret = application
				o = opener13(a, secret)
			case keyUpdate:
				secret = expand(a.hash, secret, "traffic upd", len(secret))
				o = opener13(a, secret)
				s.KeyUpdates++
			}
			messages = messages[n:]
		}
	}
	return s, nil
}

func opener13(a algorithm, secret []byte) *opener {
	return newOpener(a, expand(a.hash, secret, "key", a.keyLen), expand(a.hash, secret, "iv", 12), true)
}

// expand is HKDF-Expand-Label, RFC 8446 section 7.1.
func expand(h func() hash.Hash, secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := string([]byte{byte(n >> 8), byte(n), byte(len(label))}) + label + "\x00"
	out, err := hkdf.Expand(h, secret, info, n)
	if err != nil {
		panic(err) // the length
	}
	return out
}

// prf is P_hash of RFC 5246 section 5.
func prf(h func() hash.Hash, secret, seed []byte, n int) (out []byte) {
	sum := func(b []byte) []byte {
		m := hmac.New(h, secret)
		m.Write(b)
		return m.Sum(nil)
	}
	for a := sum(seed); len(out) < n; a = sum(a) {
		out = append(out, sum(append(append([]byte(nil), a...), seed...))...)
	}
	return out[:n]
}
