package record

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"math"
)

// Theory of operation.
//
// A layer has two independent directions, read and write. Each direction is a
// half: a secret, the number of the next record, and keys that are expanded when
// a record needs them (half.go) and dropped when the layer is idle (cache.go).
//
// Reading is in one of these states. Only Open and Wipe move it:
//
//	between records      part is empty
//	inside a record      part holds the beginning of it
//	inside a message     TLS 1.3: handshake holds the beginning of a KeyUpdate;
//	                     the next record must continue it
//	readClosed           Open has returned an error, close_notify included; Open
//	                     must not be called again
//
// Writing is in one of these states:
//
//	open                 Seal may be called
//	owesUpdate           TLS 1.3: set by Open when the peer requests a KeyUpdate,
//	                     cleared by AppendKeyUpdate, which the caller invokes
//	                     before it seals more data
//	writeClosed          set by AppendCloseNotify and AppendAlert, which seal the
//	                     last record, and by Wipe; to seal after it panics
//
// The two ends are independent: after close_notify from the peer this side may
// still send. Sequence numbers only grow; a change of keys sets the number of
// its own half back to 0, under a new key. All of this is in the encoded state
// (state.go), except for expanded keys: they follow from the secrets.

// A Layer is the record layer of one established connection, seen from the
// server. Idle it is a few machine words: the secrets, and where each side is.
type Layer struct {
	suite *suite
	read  half
	write half
	part  []byte // a record cut short

	handshake    [keyUpdateSize]byte // a handshake message cut short
	handshakeLen uint8
	useless      uint8  // records in a row that brought no data
	owesUpdate   bool   // the peer asked for a KeyUpdate
	readClosed   bool   // nothing is opened any more
	writeClosed  bool   // nothing may be sealed any more
	cached       bool   // in a Cache
	recent       bool   // used since the Cache looked at it last
	partSent     uint16 // for AppendAddition: the reader holds so much of part
}

// Types of records.
const (
	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeData             = 23
)

const (
	headerSize = 5
	// MaxPlaintext is the most data in a record, RFC 8446 section 5.1.
	MaxPlaintext = 1 << 14
	// maxUseless records in a row may bring no data: each costs us about as
	// much as one that does.
	maxUseless = 16

	messageKeyUpdate = 24
	keyUpdateSize    = 5 // type, length (3), whether one is requested
)

// newLayer makes a layer of secrets as half has them.
func newLayer(s *suite, read, write []byte) *Layer {
	l := &Layer{suite: s}
	copy(l.read.secret[:], read)
	copy(l.write.secret[:], write)
	return l
}

// Version of TLS, such as tls.VersionTLS13.
func (l *Layer) Version() uint16 { return l.suite.version }

// CipherSuite is the suite's number.
func (l *Layer) CipherSuite() uint16 { return l.suite.id }

// String is version and suite, such as "TLS 1.3 TLS_AES_128_GCM_SHA256".
func (l *Layer) String() string { return l.suite.String() }

// Memory is what of a record waits for its rest, in bytes.
func (l *Layer) Memory() int { return cap(l.part) }

// maxCiphertext is the longest a record may be after its header: RFC 8446
// section 5.2, RFC 5246 section 6.2.3.
func (l *Layer) maxCiphertext() int {
	if l.suite.version == tls.VersionTLS13 {
		return MaxPlaintext + 256
	}
	return MaxPlaintext + 2048
}

// Open takes the next bytes of the stream, which it overwrites, and returns the
// data in them; what is left of a record cut short is kept. The error is
// ErrCloseNotify, an AlertError, or a *ViolationError; data that came before it
// is returned with it, and after it nothing more must be opened. Look at
// OwesUpdate afterwards.
func (l *Layer) Open(b []byte) (data []byte, err error) {
	own, sent := len(l.part) > 0, l.partSent
	l.partSent = 0
	if own {
		b = append(l.part, b...)
		l.part = nil
	}
	// Data is moved together at the front of b, where records were.
	rest := b
	data = b[:0]
	for {
		record, err := l.cut(rest)
		if err != nil {
			l.closeRead()
			return data, err
		}
		if record == nil {
			break
		}
		rest = rest[len(record):]
		plain, err := l.record(record)
		if err != nil {
			l.closeRead()
			return data, err
		}
		data = append(data, plain...)
	}
	switch {
	case len(rest) == 0:
	case own && len(rest) == len(b):
		l.part, l.partSent = rest, sent // grows in place
	default:
		l.part = bytes.Clone(rest)
	}
	return data, nil
}

// closeRead ends the reading, and forgets where it was: a state that had run
// into a limit would be refused by the process that it is handed to.
func (l *Layer) closeRead() {
	l.readClosed = true
	l.handshakeLen, l.useless = 0, 0
}

// cut returns the first record of b with its header; nil if it is not all
// there.
func (l *Layer) cut(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, nil
	}
	// The outer type of what comes after a handshake; RFC 8446 section 5.2 has
	// one, and RFC 5246 allows each of them only in some places.
	switch typ := b[0]; {
	case typ == typeData:
	case l.suite.version == tls.VersionTLS12 && (typ == typeAlert || typ == typeHandshake):
	default:
		return nil, violation(alertUnexpectedMessage, "record of type %d after the handshake", typ)
	}
	if len(b) < headerSize {
		return nil, nil
	}
	// RFC 8446 section 5.1: ignored by TLS 1.3 for all purposes.
	if v := binary.BigEndian.Uint16(b[1:]); l.suite.version == tls.VersionTLS12 && v != tls.VersionTLS12 {
		return nil, violation(alertProtocolVersion, "record of version %#04x", v)
	}
	n := int(binary.BigEndian.Uint16(b[3:]))
	if n > l.maxCiphertext() {
		return nil, violation(alertRecordOverflow, "record of %d bytes", n)
	}
	if len(b) < headerSize+n {
		return nil, nil
	}
	return b[: headerSize+n : headerSize+n], nil
}

// record opens one record in place and handles what is not data.
func (l *Layer) record(b []byte) (data []byte, err error) {
	typ, plain, err := l.decrypt(b)
	if err != nil {
		return nil, err
	}
	if l.handshakeLen > 0 && typ != typeHandshake { // RFC 8446 section 5.1
		return nil, violation(alertUnexpectedMessage, "record of type %d inside a handshake message", typ)
	}
	if typ == typeData && len(plain) > 0 {
		l.useless = 0
		return plain, nil
	}
	if l.useless++; l.useless > maxUseless {
		return nil, violation(alertUnexpectedMessage, "%d records in a row without data", l.useless)
	}
	switch typ {
	case typeData:
		return nil, nil
	case typeAlert:
		return nil, l.alert(plain)
	case typeHandshake:
		return nil, l.message(plain)
	}
	return nil, violation(alertUnexpectedMessage, "record of type %d inside another", typ)
}

// decrypt opens one record in place.
func (l *Layer) decrypt(b []byte) (typ uint8, plain []byte, err error) {
	s, k := l.suite, l.read.expand(l.suite)
	header, sealed := b[:headerSize], b[headerSize:]
	if len(sealed) < s.explicit()+tagSize || l.read.seq == math.MaxUint64 {
		return 0, nil, violation(alertBadRecordMAC, "record of %d bytes cannot be one", len(sealed))
	}
	explicit, sealed := sealed[:s.explicit()], sealed[s.explicit():]
	nonce, ad := k.prepare(s, l.read.seq, header, explicit, len(sealed)-tagSize)
	plain, err = k.aead.Open(sealed[:0], nonce, sealed, ad)
	if err != nil {
		return 0, nil, violation(alertBadRecordMAC, "record %d is forged, or not the next one", l.read.seq)
	}
	l.read.seq++
	typ = header[0]
	if s.version == tls.VersionTLS13 { // RFC 8446 section 5.4: data, type, zeros
		// The limit counts the padding, too.
		if len(plain) > MaxPlaintext+1 {
			return 0, nil, violation(alertRecordOverflow, "record of %d bytes in the clear", len(plain)-1)
		}
		inner := len(bytes.TrimRight(plain, "\x00"))
		if inner == 0 {
			return 0, nil, violation(alertUnexpectedMessage, "record of nothing but padding")
		}
		typ, plain = plain[inner-1], plain[:inner-1]
	}
	if len(plain) > MaxPlaintext {
		return 0, nil, violation(alertRecordOverflow, "record of %d bytes in the clear", len(plain))
	}
	return typ, plain, nil
}

func (l *Layer) alert(b []byte) error {
	switch tls13 := l.suite.version == tls.VersionTLS13; {
	case len(b) == 0 && tls13: // RFC 8446 section 5.4
		return violation(alertUnexpectedMessage, "empty alert record")
	case len(b) != 2:
		return violation(alertDecodeError, "alert of %d bytes", len(b))
	case b[1] == alertCloseNotify:
		return ErrCloseNotify
	case tls13 && b[1] == alertUserCanceled: // section 6.1: close_notify follows
		return nil
	case !tls13 && b[0] == levelWarning:
		return nil
	}
	return AlertError(b[1]) // section 6: in TLS 1.3 all others are fatal
}

// message handles a handshake message, of which RFC 8446 leaves a client one
// after the handshake: KeyUpdate. It may come in parts.
func (l *Layer) message(b []byte) error {
	if l.suite.version == tls.VersionTLS12 {
		return violation(alertUnexpectedMessage, "handshake message after the handshake: there is no renegotiation here")
	}
	if len(b) == 0 { // RFC 8446 section 5.1
		return violation(alertUnexpectedMessage, "empty handshake record")
	}
	n := copy(l.handshake[l.handshakeLen:], b)
	l.handshakeLen += uint8(n)
	m := l.handshake[:l.handshakeLen]
	switch {
	case m[0] != messageKeyUpdate:
		return violation(alertUnexpectedMessage, "handshake message of type %d after the handshake", m[0])
	case !bytes.HasPrefix([]byte{0, 0, 1}, m[1:min(len(m), 4)]):
		return violation(alertDecodeError, "KeyUpdate of another length than 1")
	case len(m) < keyUpdateSize:
		return nil
	case n < len(b): // section 5.1: a message before a change of keys ends its record
		return violation(alertUnexpectedMessage, "KeyUpdate does not end its record")
	case m[4] > 1:
		return violation(alertIllegalParameter, "KeyUpdate with request %d", m[4])
	}
	l.handshakeLen = 0
	l.owesUpdate = l.owesUpdate || m[4] == 1
	l.read.next(l.suite)
	return nil
}

// OwesUpdate reports whether the peer has requested a KeyUpdate: call
// AppendKeyUpdate, once for any number of requests.
func (l *Layer) OwesUpdate() bool { return l.owesUpdate && !l.writeClosed }

// AppendKeyUpdate appends a KeyUpdate and goes on to the next key. TLS 1.3 only.
func (l *Layer) AppendKeyUpdate(dst []byte) []byte {
	l.owesUpdate = false
	dst = l.seal(dst, typeHandshake, []byte{messageKeyUpdate, 0, 0, 1, 0})
	l.write.next(l.suite)
	return dst
}

// AppendCloseNotify appends the end of what this side sends, once.
func (l *Layer) AppendCloseNotify(dst []byte) []byte {
	return l.appendAlert(dst, levelWarning, alertCloseNotify)
}

// AppendAlert appends the fatal alert that answers err, an error of Open; for
// an error that needs none, it is close_notify. It is the last that is sealed.
func (l *Layer) AppendAlert(dst []byte, err error) []byte {
	if v, ok := err.(*ViolationError); ok {
		return l.appendAlert(dst, levelFatal, v.Alert)
	}
	return l.AppendCloseNotify(dst)
}

func (l *Layer) appendAlert(dst []byte, level, alert uint8) []byte {
	if l.writeClosed {
		return dst
	}
	dst = l.seal(dst, typeAlert, []byte{level, alert})
	l.writeClosed = true
	return dst
}

// ReadClosed reports whether the reading has ended: Open must not be called.
func (l *Layer) ReadClosed() bool { return l.readClosed }

// WriteClosed reports whether close_notify or a fatal alert has been sealed.
func (l *Layer) WriteClosed() bool { return l.writeClosed }

// Seal appends data as records. When the key has protected as many as it may, a
// KeyUpdate comes before.
func (l *Layer) Seal(dst, data []byte) []byte {
	for len(data) > 0 {
		n := min(len(data), MaxPlaintext)
		if l.write.seq >= l.suite.rekeyAt {
			dst = l.AppendKeyUpdate(dst)
		}
		dst = l.seal(dst, typeData, data[:n])
		data = data[n:]
	}
	return dst
}

// seal appends one record.
func (l *Layer) seal(dst []byte, typ uint8, data []byte) []byte {
	s, k := l.suite, l.write.expand(l.suite)
	if l.writeClosed || l.write.seq == math.MaxUint64 {
		panic(fmt.Sprintf("record: sealed after the end (record %d)", l.write.seq))
	}
	outer, inner := typ, 0
	if s.version == tls.VersionTLS13 {
		outer, inner = typeData, 1
	}
	length := s.explicit() + len(data) + inner + tagSize
	dst = append(dst, outer, 3, 3, byte(length>>8), byte(length))
	header := dst[len(dst)-headerSize:]
	var explicit []byte
	if s.explicit() > 0 {
		dst = binary.BigEndian.AppendUint64(dst, l.write.seq)
		explicit = dst[len(dst)-s.explicit():]
	}
	nonce, ad := k.prepare(s, l.write.seq, header, explicit, len(data))
	start := len(dst)
	dst = append(dst, data...)
	if inner > 0 {
		dst = append(dst, typ)
	}
	dst = k.aead.Seal(dst[:start], nonce, dst[start:], ad)
	l.write.seq++
	return dst
}

// Wipe overwrites the secrets: the connection is over.
func (l *Layer) Wipe() {
	l.read.wipe()
	l.write.wipe()
	l.part, l.partSent = nil, 0
	l.readClosed, l.writeClosed = true, true
}

// dropKeys drops what can be made again from the secrets.
func (l *Layer) dropKeys() { l.read.keys, l.write.keys = nil, nil }
