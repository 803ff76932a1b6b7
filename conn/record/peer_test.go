package record

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"testing"
)

// layers is both ends of an established connection: the gateway's, and the
// charger's, which is the same thing with the secrets the other way round.
func layers(s *suite) (near, far *Layer) {
	client, server := make([]byte, s.secretLen()), make([]byte, s.secretLen())
	for i := range client {
		client[i], server[i] = byte(i)^0x5a, byte(i)^0xc3
	}
	return newLayer(s, client, server), newLayer(s, server, client)
}

// eachSuite runs f for every suite that can be held.
func eachSuite(t *testing.T, f func(t *testing.T, s *suite)) {
	for i := range suites {
		t.Run(suites[i].String(), func(t *testing.T) { f(t, &suites[i]) })
	}
}

func (s *suite) is13() bool { return s.version == tls.VersionTLS13 }

// forge is the next record that far sends, with whatever header and plaintext;
// with TLS 1.3 the latter is the inner one.
func forge(far *Layer, outer uint8, version uint16, plain []byte) []byte {
	s, k := far.suite, far.write.expand(far.suite)
	b := []byte{outer, byte(version >> 8), byte(version), 0, 0}
	binary.BigEndian.PutUint16(b[3:], uint16(s.explicit()+len(plain)+tagSize))
	var explicit []byte
	if s.explicit() > 0 {
		b = binary.BigEndian.AppendUint64(b, far.write.seq^0xa5a5a5a5) // any will do
		explicit = b[headerSize:]
	}
	nonce, ad := k.prepare(s, far.write.seq, b[:headerSize], explicit, len(plain))
	b = append(b, k.aead.Seal(nil, nonce, plain, ad)...)
	far.write.seq++
	return b
}

// sends is the next record of a type that far sends, with padding if there is
// any in its version of TLS.
func sends(far *Layer, typ uint8, content []byte, padding int) []byte {
	if !far.suite.is13() {
		return forge(far, typ, tls.VersionTLS12, content)
	}
	inner := append(append(bytes.Clone(content), typ), make([]byte, padding)...)
	return forge(far, typeData, tls.VersionTLS12, inner)
}

func keyUpdate(request byte) []byte { return []byte{messageKeyUpdate, 0, 0, 1, request} }

// updates is a KeyUpdate in pieces of so many bytes; far goes on to its next key.
func updates(far *Layer, request byte, sizes ...int) (b []byte) {
	m := keyUpdate(request)
	for _, n := range sizes {
		b = append(b, sends(far, typeHandshake, m[:n], 0)...)
		m = m[n:]
	}
	b = append(b, sends(far, typeHandshake, m, 0)...)
	far.write.next(far.suite)
	return b
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// throughState is what another process makes of l.
func throughState(t testing.TB, l *Layer) *Layer {
	t.Helper()
	b := l.AppendState(nil)
	next, err := ParseState(b)
	if err != nil {
		t.Fatalf("a state that this layer has come to is refused: %v\n%x", err, b)
	}
	if again := next.AppendState(nil); !bytes.Equal(again, b) {
		t.Fatalf("state became\n%x, was\n%x", again, b)
	}
	return next
}

// opens gives near the pieces, one after the other; with states, it goes on in
// another process after each. No piece is given after an error.
func opens(t testing.TB, near *Layer, states bool, pieces ...[]byte) (last *Layer, data []byte, err error) {
	t.Helper()
	for _, p := range pieces {
		var got []byte
		got, err = near.Open(bytes.Clone(p))
		data = append(data, got...)
		if states {
			near = throughState(t, near)
		}
		if err != nil {
			break
		}
	}
	return near, data, err
}

func bytewise(b []byte) (pieces [][]byte) {
	for i := range b {
		pieces = append(pieces, b[i:i+1])
	}
	return pieces
}

// told is the alert that far finds in b, which must be nothing else: with its
// close_notify, 0.
func told(t testing.TB, far *Layer, b []byte) uint8 {
	t.Helper()
	data, err := far.Open(bytes.Clone(b))
	var alert AlertError
	switch {
	case len(data) > 0 || len(far.part) > 0:
		t.Fatalf("%x besides an alert", data)
	case errors.Is(err, ErrCloseNotify):
		return alertCloseNotify
	case !errors.As(err, &alert):
		t.Fatalf("no alert: %v", err)
	}
	return uint8(alert)
}
