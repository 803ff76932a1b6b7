package record

import (
	"bytes"
	"encoding/binary"
	"net"
)

// wire is the connection below crypto/tls during a handshake. It hands up one
// record at a time, so that crypto/tls never holds bytes beyond the handshake,
// and remembers what the take-over must know of the records of both sides.
type wire struct {
	net.Conn
	buf  []byte // received, and not handed up yet
	left int    // of these, the rest of the current record

	received bool   // anything was handed up
	protects bool   // TLS 1.2: the peer's ChangeCipherSpec has come
	read     uint64 // TLS 1.2: and so many records after it
	head     int    // of the current record's header, the bytes not handed up yet
	hello    []byte // the beginning of the ClientHello
	last     []byte // the beginning of the record that was handed up last
	sent     []byte // everything
}

// helloSize is a ClientHello up to the end of its random: type, length (3),
// version (2), random (32).
const helloSize = 4 + 2 + 32

// wireBuffer holds a ClientHello of today at once.
const wireBuffer = 4 << 10

// Read hands up to len(b) bytes of the current record.
func (w *wire) Read(b []byte) (int, error) {
	if w.left == 0 {
		for len(w.buf) < headerSize {
			if err := w.fill(); err != nil {
				return 0, err
			}
			if !w.received && w.buf[0] != typeHandshake {
				return 0, w.foreign()
			}
		}
		w.received = true
		w.last = w.last[:0]
		w.head = headerSize
		w.left = headerSize + int(binary.BigEndian.Uint16(w.buf[3:]))
		if w.protects {
			w.read++
		}
		w.protects = w.protects || w.buf[0] == typeChangeCipherSpec
	}
	if len(w.buf) == 0 {
		if err := w.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(b, w.buf[:min(w.left, len(w.buf))])
	w.last = append(w.last, b[:min(n, alertSize-len(w.last))]...)
	header := min(n, w.head)
	w.head -= header
	w.hello = append(w.hello, b[header:min(n, header+helloSize-len(w.hello))]...)
	w.buf = w.buf[n:]
	w.left -= n
	return n, nil
}

// alertSize is a record with an alert that is not encrypted.
const alertSize = headerSize + 2

// plainAlert returns the alert, if the last record was one that was not encrypted. Some
// clients send it so in TLS 1.3, too, where crypto/tls finds nothing but a bad record.
func (w *wire) plainAlert() (alert uint8, ok bool) {
	if len(w.last) < alertSize || w.last[0] != typeAlert || w.last[3] != 0 || w.last[4] != 2 {
		return 0, false
	}
	return w.last[alertSize-1], true
}

// fill reads more.
func (w *wire) fill() error {
	if cap(w.buf)-len(w.buf) < wireBuffer/2 {
		w.buf = append(make([]byte, 0, wireBuffer), w.buf...)
	}
	n, err := w.Conn.Read(w.buf[len(w.buf):cap(w.buf)])
	w.buf = w.buf[:len(w.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

// foreign returns the error for a peer that does not speak TLS.
func (w *wire) foreign() error {
	for _, method := range []string{"GET ", "PUT ", "HEAD", "POST", "OPTI", "CONN", "DELE", "PATC", "TRAC"} {
		n := min(len(w.buf), len(method))
		if bytes.HasPrefix(w.buf[:n], []byte(method)[:n]) {
			return ErrHTTP
		}
	}
	return ErrNotTLS
}

// Write remembers what crypto/tls sends, which are whole records.
func (w *wire) Write(b []byte) (int, error) {
	w.sent = append(w.sent, b...)
	return w.Conn.Write(b)
}

// records calls f for each record that was sent, with its header.
func (w *wire) records(f func(record []byte)) {
	for b := w.sent; len(b) >= headerSize; {
		n := min(len(b), headerSize+int(binary.BigEndian.Uint16(b[3:])))
		f(b[:n])
		b = b[n:]
	}
}

// clientRandom is that of the ClientHello, with which the client begins.
func (w *wire) clientRandom() []byte {
	if len(w.hello) < helloSize {
		return nil
	}
	return w.hello[helloSize-32:]
}

// serverRandom is that of the ServerHello, with which the first record of a
// TLS 1.2 server begins: type, length (3), version (2), random (32). With TLS
// 1.3, which needs none, there may have been a HelloRetryRequest before.
func (w *wire) serverRandom() []byte {
	const at = headerSize + 4 + 2
	if len(w.sent) < at+32 {
		return nil
	}
	return w.sent[at : at+32]
}
