package conn

import "unicode/utf8"

// decoder turns the bytes of a charger into messages and control frames. It
// can be stopped behind any byte. Between frames of unfragmented messages it
// keeps nothing: the zero value is an idle one.
type decoder struct {
	part *partial
}

// partial is what a decoder remembers inside a frame or between the fragments
// of a message.
type partial struct {
	head    [maxHeader]byte // a header cut short
	headLen uint8

	inFrame bool // frame is known, left bytes of its payload are to come
	frame   header
	left    uint64

	op         opcode // of the message being assembled; opContinuation: none
	compressed bool
	malformed  bool // it came as text and is not UTF-8; op is opBinary since
	utf8       utf8Check
	msg        []byte // its payload so far, unmasked
	control    []byte // payload so far of a control frame

	unread []byte // received, and not to be decoded yet

	// For a hand-over, see kept: the reader holds msg[:sent], and all of unread.
	sent       int
	unreadSent bool
}

// event is something complete: a message, or a control frame. Its payload
// aliases either the bytes that were decoded or memory that the decoder has
// let go; the latter is the receiver's.
type event struct {
	op         opcode // opText, opBinary, opClose, opPing, opPong
	compressed bool
	malformed  bool // a binary message that came as text: TolerateText
	payload    []byte
}

// bounds of what a decoder accepts.
type bounds struct {
	maxMessage int  // payload of a message, bytes, as it is on the wire
	compressed bool // permessage-deflate was negotiated
	anyText    bool // text that is not UTF-8 passes for binary: TolerateText
}

// next decodes from b up to the end of one event and returns it with the bytes
// that follow. Without an event (ok false) everything of b was taken. b is
// unmasked in place. After a fault the connection is not decoded any further.
func (d *decoder) next(b []byte, lim bounds) (ev event, rest []byte, ok bool, fault *Close) {
	for {
		if d.part == nil || !d.part.inFrame {
			if b, ok, fault = d.header(b, lim); !ok || fault != nil {
				return event{}, nil, false, fault
			}
			if d.part == nil { // a whole message, right here
				h, n, _ := parseHeader(b)
				end := n + int(h.length)
				payload := b[n:end:end]
				unmask(payload, h.mask, 0)
				ev = event{op: h.op, compressed: h.rsv1, payload: payload}
				if h.op == opText && !h.rsv1 && !utf8.Valid(payload) {
					if !lim.anyText {
						return event{}, nil, false, reasonNotUTF8.fault()
					}
					ev.op, ev.malformed = opBinary, true
				}
				return ev, b[end:], true, nil
			}
		}
		p := d.part
		take := b[:min(uint64(len(b)), p.left)]
		b = b[len(take):]
		unmask(take, p.frame.mask, p.frame.length-p.left)
		p.left -= uint64(len(take))
		if p.frame.op.control() {
			p.control = append(p.control, take...)
		} else {
			if p.op == opText && !p.compressed && !p.utf8.write(take) {
				if !lim.anyText {
					return event{}, nil, false, reasonNotUTF8.fault()
				}
				p.malform()
			}
			p.msg = append(p.msg, take...)
		}
		if p.left > 0 {
			return event{}, nil, false, nil
		}
		if ev, ok, fault = d.endFrame(lim); ok || fault != nil {
			return ev, b, ok, fault
		}
		if len(b) == 0 {
			return event{}, nil, false, nil
		}
	}
}

// header reads and checks the next frame's header. It leaves d.part nil, and
// the header unread, when an unfragmented frame is in b as a whole.
func (d *decoder) header(b []byte, lim bounds) (rest []byte, ok bool, fault *Close) {
	var h header
	var n int
	if p := d.part; p != nil && p.headLen > 0 {
		had := int(p.headLen)
		filled := had + copy(p.head[had:], b)
		if h, n, fault = parseHeader(p.head[:filled]); n == 0 {
			p.headLen = uint8(filled)
			return nil, false, fault
		}
		p.headLen = 0
		rest = b[n-had:]
	} else {
		if h, n, fault = parseHeader(b); n == 0 {
			if fault == nil && len(b) > 0 {
				p := d.partial()
				p.headLen = uint8(copy(p.head[:], b))
			}
			return nil, false, fault
		}
		rest = b[n:]
	}
	if fault = d.check(h, lim); fault != nil {
		return nil, false, fault
	}
	if d.part == nil && h.fin && uint64(len(rest)) >= h.length {
		return b, true, nil
	}
	p := d.partial()
	p.inFrame, p.frame, p.left = true, h, h.length
	if h.op == opText || h.op == opBinary {
		p.op, p.compressed = h.op, h.rsv1
	}
	return rest, true, nil
}

// check holds a header against the message it belongs to.
func (d *decoder) check(h header, lim bounds) *Close {
	assembling := d.part != nil && d.part.op != opContinuation
	switch {
	case h.op.control():
		return nil
	case h.op == opContinuation && !assembling: // RFC 6455 section 5.4
		return reasonStrayContinuation.fault()
	case h.op != opContinuation && assembling:
		return reasonInterleaved.fault()
	case h.rsv1 && (!lim.compressed || h.op == opContinuation): // RFC 7692 section 6.1
		return reasonCompressedFrame.fault()
	}
	size := h.length
	if assembling {
		size += uint64(len(d.part.msg))
	}
	if size > uint64(lim.maxMessage) {
		return reasonTooBig.fault()
	}
	return nil
}

// endFrame ends the current frame; ok means that it completed an event.
func (d *decoder) endFrame(lim bounds) (ev event, ok bool, fault *Close) {
	p := d.part
	p.inFrame = false
	switch {
	case p.frame.op.control():
		ev = event{op: p.frame.op, payload: p.control}
		p.control = nil
		if p.op == opContinuation {
			d.part = nil
		}
		return ev, true, nil
	case !p.frame.fin:
		return event{}, false, nil
	case !p.utf8.complete():
		if !lim.anyText {
			return event{}, false, reasonCutUTF8.fault()
		}
		p.malform()
	}
	ev = event{op: p.op, compressed: p.compressed, malformed: p.malformed, payload: p.msg}
	d.part = nil
	return ev, true, nil
}

// malform lets the text that is being assembled pass for a binary message. The reader
// of a hand-over, which may hold its beginning as a text, gets all of it again.
func (p *partial) malform() {
	p.op, p.malformed, p.utf8, p.sent = opBinary, true, utf8Check{}, 0
	if p.frame.op == opText {
		p.frame.op = opBinary
	}
}

func (d *decoder) partial() *partial {
	if d.part == nil {
		d.part = new(partial)
	}
	return d.part
}

// keep holds bytes until they are to be decoded, behind those that are held.
func (d *decoder) keep(b []byte) {
	p := d.partial()
	if len(p.unread) > 0 {
		b = append(p.unread, b...)
	}
	p.unread, p.unreadSent = b, false
}

// takeUnread returns what keep was given.
func (d *decoder) takeUnread() (b []byte) {
	if p := d.part; p != nil {
		b, p.unread = p.unread, nil
		d.settle()
	}
	return b
}

// settle drops a partial that holds nothing.
func (d *decoder) settle() {
	if p := d.part; !p.inFrame && p.headLen == 0 && p.op == opContinuation && p.unread == nil {
		d.part = nil
	}
}

// memory is what the decoder holds, in bytes.
func (d *decoder) memory() int {
	p := d.part
	if p == nil {
		return 0
	}
	return cap(p.msg) + cap(p.control) + cap(p.unread)
}
