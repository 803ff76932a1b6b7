package record

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"

	"holdfast/unixipc/tlv"
)

// The encoding of a Layer, in the terms of package tlv; its rule for new fields
// holds. It has no version of its own: it is part of the state of a connection.
const (
	fieldSuite       = 1  // version (2 bytes), suite (2)
	fieldReadSecret  = 2  // TLS 1.3: traffic secret; 1.2: key and IV
	fieldReadSeq     = 3  // of the next record
	fieldWriteSecret = 4  //
	fieldWriteSeq    = 5  //
	fieldPart        = 6  // a record cut short
	fieldHandshake   = 7  // a handshake message cut short
	fieldUseless     = 8  // records in a row that brought no data
	fieldOwesUpdate  = 9  //
	fieldReadClosed  = 10 //
	fieldWriteClosed = 11 //
	fieldPartKept    = 12 // required, and only in an addition: the reader holds so much of fieldPart
)

const stateVersion = 1

// maxSeq is more records than a connection lives to see, and leaves room for
// more.
const maxSeq = 1 << 62

var stateMagic = [2]byte{'H', 't'}

// AppendState encodes the layer: with its secrets.
func (l *Layer) AppendState(dst []byte) []byte { return l.encode(dst, 0) }

// AppendAddition encodes the layer for a reader that holds it as it was at
// MarkSent: of a record cut short then, only what came since.
func (l *Layer) AppendAddition(dst []byte) []byte { return l.encode(dst, int(l.partSent)) }

// MarkSent notes that a reader holds the layer as it is.
func (l *Layer) MarkSent() { l.partSent = uint16(len(l.part)) }

func (l *Layer) encode(dst []byte, kept int) []byte {
	n := l.suite.secretLen()
	dst = tlv.AppendHeader(dst, stateMagic, stateVersion)
	var suite [4]byte
	binary.BigEndian.PutUint16(suite[:], l.suite.version)
	binary.BigEndian.PutUint16(suite[2:], l.suite.id)
	dst = tlv.AppendBytes(dst, fieldSuite, suite[:])
	dst = tlv.AppendBytes(dst, fieldReadSecret, l.read.secret[:n])
	dst = tlv.AppendUint(dst, fieldReadSeq, l.read.seq)
	dst = tlv.AppendBytes(dst, fieldWriteSecret, l.write.secret[:n])
	dst = tlv.AppendUint(dst, fieldWriteSeq, l.write.seq)
	dst = tlv.AppendBytes(dst, fieldPart, l.part[kept:])
	dst = tlv.AppendBytes(dst, fieldHandshake, l.handshake[:l.handshakeLen])
	dst = tlv.AppendUint(dst, fieldUseless, uint64(l.useless))
	dst = tlv.AppendBool(dst, fieldOwesUpdate, l.owesUpdate)
	dst = tlv.AppendBool(dst, fieldReadClosed, l.readClosed)
	dst = tlv.AppendBool(dst, fieldWriteClosed, l.writeClosed)
	if kept > 0 {
		dst = tlv.AppendRequired(dst, fieldPartKept, binary.AppendUvarint(nil, uint64(kept)))
	}
	return tlv.AppendEnd(dst)
}

// maxPart is the longest that a record cut short can be.
const maxPart = headerSize + MaxPlaintext + 2048

// ParseState decodes what AppendState has encoded. Nothing of b is kept.
func ParseState(b []byte) (*Layer, error) { return ParseAddition(b, nil) }

// ParseAddition decodes what AppendState or AppendAddition has encoded of the
// layer that was held so far, which may be nil.
func ParseAddition(b []byte, held *Layer) (*Layer, error) {
	r := tlv.NewReader("TLS state", b, stateMagic, stateVersion)
	l := new(Layer)
	var read, write, part []byte
	kept := 0
	for {
		id, ok := r.Next()
		if !ok {
			break
		}
		switch id {
		case fieldSuite:
			if v := r.Bytes(4); len(v) == 4 {
				l.suite = findSuite(binary.BigEndian.Uint16(v), binary.BigEndian.Uint16(v[2:]))
			}
			if l.suite == nil {
				r.Invalid()
			}
		case fieldReadSecret:
			read = r.Bytes(maxSecret)
		case fieldReadSeq:
			l.read.seq = r.Uint(maxSeq)
		case fieldWriteSecret:
			write = r.Bytes(maxSecret)
		case fieldWriteSeq:
			l.write.seq = r.Uint(maxSeq)
		case fieldPart:
			part = r.Bytes(maxPart)
		case fieldHandshake:
			l.handshakeLen = uint8(copy(l.handshake[:], r.Bytes(keyUpdateSize-1)))
		case fieldUseless:
			l.useless = uint8(r.Uint(maxUseless))
		case fieldOwesUpdate:
			l.owesUpdate = r.Bool()
		case fieldReadClosed:
			l.readClosed = r.Bool()
		case fieldWriteClosed:
			l.writeClosed = r.Bool()
		case fieldPartKept:
			r.Required()
			kept = int(r.Uint(maxPart))
		default:
			r.Unknown()
		}
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	if kept > 0 {
		if held == nil || kept != len(held.part) || len(part) > maxPart-kept {
			return nil, errors.New("TLS state: adds to a record that is not there")
		}
		l.part = held.part
	}
	l.part = append(l.part, part...)
	switch {
	case l.suite == nil:
		return nil, errors.New("TLS state: without a suite")
	case len(read) != l.suite.secretLen() || len(write) != l.suite.secretLen():
		return nil, errors.New("TLS state: with secrets of another suite's length")
	}
	copy(l.read.secret[:], read)
	copy(l.write.secret[:], write)
	if err := l.valid(); err != nil {
		return nil, err
	}
	return l, nil
}

// valid returns an error if fields that are each valid contradict one another.
func (l *Layer) valid() error {
	fault := func(why string) error { return errors.New("TLS state: " + why) }
	record, err := l.cut(l.part)
	part := l.handshake[:l.handshakeLen]
	switch {
	case err != nil || record != nil:
		return fault("with a record that is not one cut short")
	case l.suite.version == tls.VersionTLS12 && (l.owesUpdate || len(part) > 0):
		return fault("with a KeyUpdate, which TLS 1.2 has not")
	case !bytes.HasPrefix([]byte{messageKeyUpdate, 0, 0, 1}, part):
		return fault("inside a handshake message that is no KeyUpdate")
	case l.readClosed && (len(l.part) > 0 || len(part) > 0 || l.useless > 0):
		return fault("with something to read after the end")
	}
	return nil
}
