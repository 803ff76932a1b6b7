package conn

import "errors"

// An addition is the encoding of a State that leaves out what its reader holds
// of the former one: the beginnings of buffers. It follows a whole state, or
// another addition, of the same connection in the same hand-over, so the freeze
// sends what came since and not a long message that is half received.
//
// Between two exports a buffer grows at its end and shrinks at its front, or it
// is another buffer. Of what was exported last, the bytes that are still in it
// are therefore its first ones, and the last ones of the reader's. The encoding
// has their number. Who writes remembers, with each buffer, how far it was
// exported: a number, which goes with the buffer, and no copy. The first export of
// a hand-over is whole and sets all of them, so none is left of the one before.

// kept is how many bytes at the beginning of each buffer the reader holds as the
// last ones of its own. The zero value belongs to a whole state.
type kept struct {
	message   int
	unread    int
	unwritten int
	records   int
}

// kept is what the last export has left with the reader.
func (s *State) kept() (k kept) {
	if p := s.decoder.part; p != nil {
		k.message = p.sent
		if p.unreadSent {
			k.unread = len(p.unread)
		}
	}
	if o := s.out; o != nil {
		if from := o.base + uint64(o.off); o.sent > from {
			k.unwritten = int(o.sent - from)
		}
		k.records = o.recordsSent
	}
	return k
}

// markSent notes that the reader holds all of s from here on.
func (s *State) markSent() {
	if p := s.decoder.part; p != nil {
		p.sent, p.unreadSent = len(p.msg), true
	}
	if o := s.out; o != nil {
		o.sent, o.recordsSent = o.end(), len(o.records)
	}
	if s.TLS != nil {
		s.TLS.MarkSent()
	}
}

// roomAt is the length of a message from which on a whole state leaves room
// behind it, an eighth: additions to it follow, and should move nothing.
const roomAt = 64 << 10

var errNotHeld = errors.New("connection state: adds to what is not there")

// join makes a buffer of the last kept bytes of held and what is added to them,
// in held's memory while there is room; if none are kept, in that of whole.
func join(held []byte, kept int, added, whole []byte) ([]byte, error) {
	if kept > len(held) || len(added) > maxStateData-kept {
		return nil, errNotHeld
	}
	if kept > 0 {
		whole = held[len(held)-kept:]
	}
	return append(whole, added...), nil
}

// join completes p. The message must be the one that is held, and all of that,
// so that what is known of its UTF-8 holds: checked.
func (p *partial) join(held *partial, k kept, message, unread []byte) (checked utf8Check, err error) {
	if held == nil {
		held = &partial{}
	}
	if k.message > 0 {
		if k.message != len(held.msg) || p.op != held.op || p.compressed != held.compressed || p.malformed != held.malformed {
			return checked, errNotHeld
		}
		checked = held.utf8
	} else if len(message) >= roomAt {
		p.msg = make([]byte, 0, len(message)+len(message)/8)
	}
	if p.msg, err = join(held.msg, k.message, message, p.msg); err != nil {
		return checked, err
	}
	p.unread, err = join(held.unread, k.unread, unread, nil)
	return checked, err
}

// join completes o. Its position shows whether the two belong together.
func (o *outbound) join(held *outbound, k kept, unwritten, records []byte) (err error) {
	if held == nil {
		held = &outbound{}
	}
	if k.unwritten > 0 && o.base+uint64(k.unwritten) != held.end() {
		return errNotHeld
	}
	if o.buf, err = join(held.buf[held.off:], k.unwritten, unwritten, nil); err != nil {
		return err
	}
	o.records, err = join(held.records, k.records, records, nil)
	return err
}
