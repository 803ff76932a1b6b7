package conn

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"

	"holdfast/conn/record"
	"holdfast/unixipc/tlv"
)

// tlsSuites are one of each way to make a nonce.
var tlsSuites = []struct {
	version, id uint16
	secret      int // bytes: with TLS 1.2, key and IV
}{
	{tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256, 32},
	{tls.VersionTLS13, tls.TLS_CHACHA20_POLY1305_SHA256, 32},
	{tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, 32 + 4},
	{tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, 32 + 12},
}

// layerOf makes a layer with made-up secrets. seed tells connections apart; the
// charger's is the other end of the gateway's.
func layerOf(t testing.TB, which int, seed uint64, charger bool) *record.Layer {
	s := tlsSuites[which%len(tlsSuites)]
	secret := func(side byte) []byte {
		b := make([]byte, s.secret)
		binary.BigEndian.PutUint64(b, seed)
		b[8] = side
		return b
	}
	read, write := secret(1), secret(2)
	if charger {
		read, write = write, read
	}
	b := tlv.AppendHeader(nil, [2]byte{'H', 't'}, 1)
	b = tlv.AppendBytes(b, 1, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, s.version), s.id))
	b = tlv.AppendBytes(b, 2, read)
	b = tlv.AppendBytes(b, 4, write)
	l, err := record.ParseState(tlv.AppendEnd(b))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// farEnd is the charger's TLS over a connection. It reads in order under one
// key after the other, so that a record number that was used twice, left out or
// taken under another key is an error of Read. Reading and writing may be done
// by two goroutines.
type farEnd struct {
	net.Conn
	in, out *record.Layer
	data    []byte
	err     error

	explicit bool   // each record has its nonce in front
	record   []byte // the beginning of one
	records  uint64
}

func newFarEnd(t testing.TB, nc net.Conn, which int, seed uint64) *farEnd {
	f := &farEnd{Conn: nc, in: layerOf(t, which, seed, true), out: layerOf(t, which, seed, true)}
	f.explicit = f.in.CipherSuite() == tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
	return f
}

// watch holds the nonces of RFC 5288, which the peer may choose as it likes,
// against the only choice that is sure to use none twice.
func (f *farEnd) watch(b []byte) error {
	if !f.explicit {
		return nil
	}
	f.record = append(f.record, b...)
	for len(f.record) >= 5+8 {
		n := 5 + int(binary.BigEndian.Uint16(f.record[3:]))
		if len(f.record) < n {
			break
		}
		if nonce := binary.BigEndian.Uint64(f.record[5:]); nonce != f.records {
			return &record.ViolationError{Why: fmt.Sprintf("record %d has nonce %d", f.records, nonce)}
		}
		f.records++
		f.record = f.record[n:]
	}
	return nil
}

// Read returns io.EOF for close_notify, and io.ErrUnexpectedEOF for the end
// without it.
func (f *farEnd) Read(b []byte) (int, error) {
	for len(f.data) == 0 {
		if f.err != nil {
			return 0, f.err
		}
		raw := make([]byte, 8<<10)
		n, err := f.Conn.Read(raw)
		if n == 0 {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		if f.err = f.watch(raw[:n]); f.err != nil {
			return 0, f.err
		}
		if f.data, f.err = f.in.Open(raw[:n]); f.err == record.ErrCloseNotify {
			f.err = io.EOF
		}
	}
	n := copy(b, f.data)
	f.data = f.data[n:]
	return n, nil
}

func (f *farEnd) Write(b []byte) (int, error) {
	if _, err := f.Conn.Write(f.out.Seal(nil, b)); err != nil {
		return 0, err
	}
	return len(b), nil
}
