package conn

import (
	"bytes"
	"encoding/binary"
	"errors"

	"holdfast/conn/record"
	"holdfast/unixipc/tlv"
)

// The encoding of State, in the terms of package tlv. Numbers are never reused;
// a new field takes the next one, and is left out while it is zero. A field
// that a reader must not ignore is written with tlv.AppendRequired.
const (
	fieldIdentity    = 1
	fieldPath        = 2
	fieldSubprotocol = 3
	fieldOpened      = 4 // Unix time, milliseconds
	fieldRemote      = 5 // 16 bytes of address, 2 of port
	fieldDeflateBits = 6
	fieldPhase       = 7
	fieldPause       = 8 // pauseQueue and pauseOut only: the loop finds out about its memory itself
	fieldCloseCode   = 9
	fieldCloseReason = 10
	fieldCloseBy     = 11
	fieldHead        = 12 // a frame header cut short
	fieldFrame       = 13 // op, fin|rsv1<<1, mask (4), length (8), left (8)
	fieldMessageOp   = 14
	fieldCompressed  = 15
	fieldUTF8        = 16 // an unfinished sequence
	fieldMessage     = 17
	fieldControl     = 18
	fieldUnread      = 19
	fieldUnwritten   = 20
	fieldOutBase     = 21 // position of the first unwritten byte
	fieldOutLast     = 22
	fieldDue         = 23 // ticks until the next ping, or the end of the close handshake
	fieldTLS         = 24 // required: state of the record layer
	fieldSealed      = 25 // so much of fieldUnwritten is in fieldRecords
	fieldRecords     = 26
	fieldSubject     = 27 // of the charger's certificate
	fieldNames       = 28 // its alternative names, a list

	// Required, and only in an addition: see kept.
	fieldMessageKept   = 29
	fieldUnreadKept    = 30
	fieldUnwrittenKept = 31
	fieldRecordsKept   = 32

	fieldNoFrame   = 33 // the end comes without a Close frame
	fieldMalformed = 34 // the message came as text; an older reader delivers it as binary
)

// StateVersion is the version of the encoding that is written; StateVersions
// are those that can be read.
const StateVersion = 1

// StateVersions can be read.
var StateVersions = []uint8{1}

var stateMagic = [2]byte{'H', 'c'}

// frameSize is the size of fieldFrame.
const frameSize = 1 + 1 + 4 + 8 + 8

// limits of what a state may hold, in bytes.
const (
	maxReason      = 64 << 10
	maxStateData   = 1 << 30
	maxCertificate = 64 << 10
)

// append encodes s. due is not part of State: see fieldDue.
func (s *State) append(dst []byte, due tick) []byte { return s.encode(dst, due, false) }

// encode encodes s, as an addition without what markSent noted.
func (s *State) encode(dst []byte, due tick, addition bool) []byte {
	if addition {
		return s.encodeWithout(dst, due, s.kept(), (*record.Layer).AppendAddition)
	}
	return s.encodeWithout(dst, due, kept{}, (*record.Layer).AppendState)
}

// encodeWithout encodes s without what the reader has otherwise.
func (s *State) encodeWithout(dst []byte, due tick, k kept, appendTLS func(*record.Layer, []byte) []byte) []byte {
	dst = tlv.AppendHeader(dst, stateMagic, StateVersion)
	dst = tlv.AppendBytes(dst, fieldIdentity, s.Identity)
	dst = tlv.AppendBytes(dst, fieldPath, s.Path.String())
	dst = tlv.AppendBytes(dst, fieldSubprotocol, s.Subprotocol.String())
	dst = tlv.AppendUint(dst, fieldOpened, uint64(s.Opened))
	var remote [18]byte
	binary.BigEndian.PutUint16(remote[copy(remote[:], s.Remote.ip[:]):], s.Remote.port)
	dst = tlv.AppendBytes(dst, fieldRemote, remote[:])
	dst = tlv.AppendUint(dst, fieldDeflateBits, uint64(s.DeflateBits))
	dst = tlv.AppendUint(dst, fieldPhase, uint64(s.phase))
	dst = tlv.AppendUint(dst, fieldPause, uint64(s.pause&^pauseMemory))
	if s.why != nil {
		dst = tlv.AppendUint(dst, fieldCloseCode, uint64(s.why.Code))
		dst = tlv.AppendBytes(dst, fieldCloseReason, s.why.Reason)
		dst = tlv.AppendBytes(dst, fieldCloseBy, string(s.why.By))
	}
	if p := s.decoder.part; p != nil {
		dst = p.append(dst, k)
	}
	if o := s.out; o != nil {
		dst = tlv.AppendBytes(dst, fieldUnwritten, o.buf[o.off+k.unwritten:])
		dst = tlv.AppendUint(dst, fieldOutBase, o.base+uint64(o.off))
		dst = tlv.AppendUint(dst, fieldOutLast, o.last)
	}
	dst = tlv.AppendUint(dst, fieldDue, uint64(due))
	if s.TLS != nil {
		at := len(dst)
		dst = tlv.EndRequired(appendTLS(s.TLS, dst), at, fieldTLS)
		if o := s.out; o != nil {
			dst = tlv.AppendUint(dst, fieldSealed, uint64(o.sealed))
			dst = tlv.AppendBytes(dst, fieldRecords, o.records[k.records:])
		}
	}
	if cert := s.Certificate; cert != nil {
		dst = tlv.AppendBytes(dst, fieldSubject, cert.Subject)
		for _, name := range cert.Names {
			dst = tlv.AppendItem(dst, fieldNames, []byte(name))
		}
	}
	dst = appendKept(dst, fieldMessageKept, k.message)
	dst = appendKept(dst, fieldUnreadKept, k.unread)
	dst = appendKept(dst, fieldUnwrittenKept, k.unwritten)
	dst = appendKept(dst, fieldRecordsKept, k.records)
	dst = tlv.AppendBool(dst, fieldNoFrame, s.why != nil && s.why.NoFrame)
	dst = tlv.AppendBool(dst, fieldMalformed, s.decoder.part != nil && s.decoder.part.malformed)
	return tlv.AppendEnd(appendFuture(dst))
}

func appendKept(dst []byte, id uint32, n int) []byte {
	if n == 0 {
		return dst
	}
	return tlv.AppendRequired(dst, id, binary.AppendUvarint(nil, uint64(n)))
}

func (p *partial) append(dst []byte, k kept) []byte {
	dst = tlv.AppendBytes(dst, fieldHead, p.head[:p.headLen])
	if p.inFrame {
		f := append(make([]byte, 0, frameSize), byte(p.frame.op), p.frame.flags())
		f = append(f, p.frame.mask[:]...)
		f = binary.BigEndian.AppendUint64(f, p.frame.length)
		f = binary.BigEndian.AppendUint64(f, p.left)
		dst = tlv.AppendBytes(dst, fieldFrame, f)
	}
	dst = tlv.AppendUint(dst, fieldMessageOp, uint64(p.op))
	dst = tlv.AppendBool(dst, fieldCompressed, p.compressed)
	dst = tlv.AppendBytes(dst, fieldUTF8, p.utf8.tail[:p.utf8.n])
	dst = tlv.AppendBytes(dst, fieldMessage, p.msg[k.message:])
	dst = tlv.AppendBytes(dst, fieldControl, p.control)
	return tlv.AppendBytes(dst, fieldUnread, p.unread[k.unread:])
}

func (h header) flags() (b byte) {
	if h.fin {
		b |= 1
	}
	if h.rsv1 {
		b |= 2
	}
	return b
}

// parseState decodes what append has encoded. Nothing of b is kept.
func parseState(b []byte) (s State, due tick, err error) { return parseAddition(b, &State{}, nil) }

// parseAddition decodes what encode has encoded of the connection whose state was
// held so far. Unless there is an error, s has the buffers of held. begun, if it is not
// nil, is the beginning of the message that is half received, instead of held's.
func parseAddition(b []byte, held *State, begun []byte) (s State, due tick, err error) {
	r := tlv.NewReader("connection state", b, stateMagic, StateVersions...)
	var p partial
	var o outbound
	var why Close
	var cert Certificate
	var k kept
	var message, unread, unwritten, records []byte // what is added to them
	hasPart, hasOut, hasWhy, hasCert := false, false, false, false
	for {
		id, ok := r.Next(fieldNames)
		if !ok {
			break
		}
		switch {
		case id >= fieldCloseCode && id <= fieldCloseBy, id == fieldNoFrame:
			hasWhy = true
		case id >= fieldHead && id <= fieldUnread, id == fieldMessageKept, id == fieldUnreadKept, id == fieldMalformed:
			hasPart = true
		case id >= fieldUnwritten && id <= fieldOutLast, id == fieldSealed, id == fieldRecords, id == fieldUnwrittenKept, id == fieldRecordsKept:
			hasOut = true
		case id == fieldSubject, id == fieldNames:
			hasCert = true
		}
		switch id {
		case fieldIdentity:
			s.Identity = r.String(MaxIdentity)
		case fieldPath:
			s.Path = MakeName(r.String(MaxRequest))
		case fieldSubprotocol:
			s.Subprotocol = MakeName(r.String(MaxRequest))
		case fieldOpened:
			s.Opened = int64(r.Uint(1 << 62))
		case fieldRemote:
			s.Remote = parseRemote(r)
		case fieldDeflateBits:
			s.DeflateBits = uint8(r.Uint(15))
		case fieldPhase:
			s.phase = phase(r.Uint(uint64(phaseLingering)))
		case fieldPause:
			s.pause = pause(r.Uint(uint64(pauseQueue | pauseOut)))
		case fieldCloseCode:
			why.Code = int(r.Uint(4999))
		case fieldCloseReason:
			why.Reason = r.String(maxReason)
		case fieldCloseBy:
			why.By = By(r.String(32))
		case fieldNoFrame:
			why.NoFrame = r.Bool()
		case fieldMalformed:
			p.malformed = r.Bool()
		case fieldHead:
			p.headLen = uint8(copy(p.head[:], r.Bytes(maxHeader-1)))
		case fieldFrame:
			p.parseFrame(r)
		case fieldMessageOp:
			p.op = opcode(r.Uint(uint64(opBinary)))
		case fieldCompressed:
			p.compressed = r.Bool()
		case fieldUTF8:
			p.utf8.n = uint8(copy(p.utf8.tail[:], r.Bytes(3)))
		case fieldMessage:
			message = r.Bytes(maxStateData)
		case fieldControl:
			p.control = append(p.control, r.Bytes(maxControl)...)
		case fieldUnread:
			unread = r.Bytes(maxStateData)
		case fieldUnwritten:
			unwritten = r.Bytes(maxStateData)
		case fieldOutBase:
			o.base = r.Uint(1 << 62)
		case fieldOutLast:
			o.last = r.Uint(1 << 62)
		case fieldDue:
			due = tick(r.Uint(1 << 31))
		case fieldTLS:
			r.Required()
			var err error
			s.TLS, err = record.ParseAddition(r.Bytes(maxStateData), held.TLS)
			r.Fail(err)
		case fieldSealed:
			o.sealed = int(r.Uint(maxStateData))
		case fieldRecords:
			records = r.Bytes(maxStateData)
		case fieldSubject:
			cert.Subject = r.String(maxCertificate)
		case fieldNames:
			cert.Names = append(cert.Names, string(r.Item(maxCertificate)))
		case fieldMessageKept:
			k.message = parseKept(r)
		case fieldUnreadKept:
			k.unread = parseKept(r)
		case fieldUnwrittenKept:
			k.unwritten = parseKept(r)
		case fieldRecordsKept:
			k.records = parseKept(r)
		default:
			r.Unknown()
		}
	}
	if err := r.Err(); err != nil {
		return State{}, 0, err
	}
	var checked utf8Check
	if begun != nil && k.message != len(begun) {
		return State{}, 0, errNotHeld
	}
	if hasPart {
		if begun != nil {
			message, k.message = append(bytes.Clone(begun), message...), 0
		}
		s.decoder.part = &p
		if checked, err = p.join(held.decoder.part, k, message, unread); err != nil {
			return State{}, 0, err
		}
	}
	if hasOut {
		s.out = &o
		if err = o.join(held.out, k, unwritten, records); err != nil {
			return State{}, 0, err
		}
	}
	if hasWhy {
		s.why = &why
	}
	if hasCert {
		s.Certificate = &cert
	}
	return s, due, s.valid(k.message, checked)
}

func parseKept(r *tlv.Reader) int {
	r.Required()
	return int(r.Uint(maxStateData))
}

func parseRemote(r *tlv.Reader) (a Remote) {
	b := r.Bytes(18)
	if len(b) != 18 {
		r.Invalid()
		return a
	}
	copy(a.ip[:], b)
	a.port = binary.BigEndian.Uint16(b[16:])
	return a
}

func (p *partial) parseFrame(r *tlv.Reader) {
	b := r.Bytes(frameSize)
	if len(b) != frameSize || b[1] > 3 || !opcode(b[0]).known() {
		r.Invalid()
		return
	}
	p.inFrame = true
	p.frame.op = opcode(b[0])
	p.frame.fin, p.frame.rsv1 = b[1]&1 != 0, b[1]&2 != 0
	copy(p.frame.mask[:], b[2:])
	p.frame.length = binary.BigEndian.Uint64(b[6:])
	p.left = binary.BigEndian.Uint64(b[14:])
	if p.left == 0 || p.left > p.frame.length || p.frame.length > maxStateData {
		r.Invalid()
	}
}

// valid returns an error if fields that are each valid contradict one another.
// The loop can continue with any state that passes. Of a text so many bytes are
// valid UTF-8 already, and checked is what is known of their end.
func (s *State) valid(known int, checked utf8Check) error {
	fault := func(why string) error { return errors.New("connection state: " + why) }
	switch {
	case CheckIdentity(s.Identity) != nil:
		return fault(CheckIdentity(s.Identity).Error())
	case s.Subprotocol.String() == "":
		return fault("without a subprotocol")
	case s.Remote == Remote{}:
		return fault("without a remote address")
	case s.DeflateBits != 0 && s.DeflateBits < 8:
		return fault("with a window of fewer than 8 bits")
	case (s.phase == phaseOpen) != (s.why == nil):
		return fault("whose phase does not fit its end")
	case s.TLS == nil && s.out != nil && (s.out.sealed > 0 || len(s.out.records) > 0):
		return fault("with records but no TLS")
	case s.out != nil && (s.out.sealed > s.out.pending() || s.out.sealed > 0 && len(s.out.records) == 0):
		return fault("with less to write than is sealed of it")
	case s.out != nil && s.out.waiting() == 0 && s.out.last == 0: // else somebody is to hear that it is written
		return fault("with nothing to write at a position")
	case s.TLS != nil && s.phase != phaseLingering && (s.TLS.ReadClosed() || s.TLS.WriteClosed()):
		return fault("whose TLS has ended before it")
	case s.TLS != nil && s.TLS.WriteClosed() && s.out != nil && s.out.pending() > s.out.sealed:
		return fault("with more to write than TLS may send")
	case s.out != nil && s.out.last > s.out.end():
		return fault("that awaits more than there is to write")
	case s.decoder.part == nil:
		return nil
	case s.phase == phaseLingering:
		return fault("with a message after the last")
	}
	if why := s.decoder.part.fault(s.DeflateBits != 0, known, checked); why != "" {
		return fault(why)
	}
	return nil
}

// fault describes what is wrong with a partial; "" means nothing. compressed
// means that permessage-deflate was negotiated; for the others see valid.
func (p *partial) fault(compressed bool, known int, seen utf8Check) string {
	_, size, headFault := parseHeader(p.head[:p.headLen])
	switch {
	case size > 0 || headFault != nil:
		return "with a frame header that is not one cut short"
	case p.inFrame && p.headLen > 0:
		return "inside a frame and inside a header"
	case p.op == opContinuation && (p.compressed || len(p.msg) > 0):
		return "with a payload but no message"
	case p.compressed && !compressed:
		return "with a compressed message, though compression was not negotiated"
	case p.malformed && p.op != opBinary:
		return "with a malformed text that is no binary message"
	case p.op == opText && !p.compressed && !seen.write(p.msg[known:]):
		return "with a text that is not UTF-8"
	case !bytes.Equal(seen.tail[:seen.n], p.utf8.tail[:p.utf8.n]):
		return "whose text does not end in the unfinished sequence that it names"
	case p.inFrame && p.frame.op.control():
		if h := p.frame; !h.fin || h.rsv1 || h.length > maxControl || uint64(len(p.control)) != h.length-p.left {
			return "inside a control frame that cannot be"
		}
	case len(p.control) > 0:
		return "with the payload of a control frame outside of it"
	case !p.inFrame:
	case p.op == opContinuation:
		return "inside a frame of no message"
	case p.frame.op == opContinuation:
		if p.frame.rsv1 || uint64(len(p.msg)) < p.frame.length-p.left {
			return "inside a continuation frame that cannot be"
		}
	case p.frame.op != p.op || p.frame.rsv1 != p.compressed || uint64(len(p.msg)) != p.frame.length-p.left:
		return "inside a frame that does not begin its message"
	}
	return ""
}
