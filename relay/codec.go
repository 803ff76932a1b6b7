package relay

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"
	"unique"

	"holdfast/unixipc"
	"holdfast/unixipc/tlv"
)

// The encoding of a charger's state, in the terms of package tlv. linkcodec.go
// has the encoding of a link, callcodec.go that of a call.
//
// Field numbers are never reused. A new field takes the next number, and is left
// out while it is zero. A field that a reader must not ignore is written with
// tlv.AppendRequired. Times are written as ages or delays in milliseconds,
// because two processes do not share a clock.
const (
	chargerIdentity    = 1
	chargerSubprotocol = 2
	chargerOwner       = 3 // id of a link
	chargerNumber      = 4
	chargerSession     = 5
	chargerAttempts    = 6
	chargerConnected   = 7
	chargerPaused      = 8
	chargerAnnounce    = 9
	chargerMoving      = 10
	chargerHeld        = 11
	chargerDelay       = 12 // until the held delivery may be made
	chargerAvoid       = 13
	chargerEntry       = 14 // list
	chargerSend        = 15 // list
	chargerCall        = 16 // list, required: the asker waits for a RESULT
	chargerUnanswered  = 17 // list
	chargerLast        = 18
	chargerNote        = 19

	entryKind       = 1
	entryFlags      = 2
	entryMoved      = 3
	entryAcked      = 4
	entryNumber     = 5
	entrySession    = 6
	entryAge        = 7 // since it was delivered
	entrySubprotcol = 8
	entryPayload    = 9
	entryLate       = 10 // a flag that an older reader may ignore
	entryWaited     = 11 // since it was queued
	entryReconnects = 12
	entryMalformed  = 13 // as entryLate

	sendPosition = 1
	sendLoop     = 2
	sendLink     = 3
	sendRef      = 4
	sendReply    = 5
)

// StateVersion is the version of the encoding that is written.
const StateVersion = 1

// StateVersions are the versions of the encoding that can be read.
var StateVersions = []uint8{1}

var chargerMagic = [2]byte{'H', 'q'}

// Limits of what a state may contain.
const (
	maxData        = 1 << 30 // bytes
	maxSubprotocol = 8 << 10
	maxDelay       = 24 * time.Hour
	maxWaited      = 10 * 365 * 24 * time.Hour
	maxNumber      = 1 << 62 // deliveries of one charger
)

// AppendCharger appends the encoded state of c to dst.
func (r *Relay) AppendCharger(dst []byte, c *Charger) []byte {
	dst = tlv.AppendHeader(dst, chargerMagic, StateVersion)
	dst = tlv.AppendBytes(dst, chargerIdentity, c.identity)
	dst = tlv.AppendBytes(dst, chargerSubprotocol, c.subprotocol.Value())
	if c.owner != nil {
		dst = tlv.AppendUint(dst, chargerOwner, uint64(c.owner.id))
	}
	dst = tlv.AppendUint(dst, chargerNumber, c.number)
	dst = tlv.AppendUint(dst, chargerSession, uint64(c.session))
	dst = tlv.AppendUint(dst, chargerAttempts, uint64(c.attempts))
	dst = tlv.AppendBool(dst, chargerConnected, c.connected)
	dst = tlv.AppendBool(dst, chargerPaused, c.paused != reading)
	dst = tlv.AppendBool(dst, chargerAnnounce, c.announce)
	dst = tlv.AppendBool(dst, chargerMoving, c.moving)
	if q := c.q; q != nil && (q.held || !q.empty()) {
		dst, r.item = q.append(dst, r.item, r.now)
	}
	dst = tlv.AppendBytes(dst, chargerNote, r.notes[c])
	return tlv.AppendEnd(dst)
}

// append appends q's fields. item is a buffer for the elements of its lists, and comes
// back as it has grown.
func (q *queue) append(dst, item []byte, now time.Time) (_, buf []byte) {
	dst = tlv.AppendBool(dst, chargerHeld, q.held)
	if q.held && q.notBefore.After(now) {
		dst = tlv.AppendUint(dst, chargerDelay, uint64((q.notBefore.Sub(now)+time.Millisecond-1)/time.Millisecond))
	}
	dst = tlv.AppendUint(dst, chargerAvoid, uint64(q.avoid))
	for i := range q.entries {
		item = q.appendEntry(item[:0], &q.entries[i], now)
		dst = tlv.AppendItem(dst, chargerEntry, item)
	}
	for _, s := range q.sends {
		item = s.append(item[:0])
		dst = tlv.AppendItem(dst, chargerSend, item)
	}
	for _, k := range q.calls {
		item = k.append(item[:0], now)
		dst = tlv.AppendRequired(dst, chargerCall, item)
	}
	for _, id := range q.unanswered {
		dst = tlv.AppendItem(dst, chargerUnanswered, []byte(id))
	}
	return tlv.AppendBytes(dst, chargerLast, q.last), item
}

func (q *queue) appendEntry(dst []byte, e *entry, now time.Time) []byte {
	dst = tlv.AppendUint(dst, entryKind, uint64(e.kind))
	dst = tlv.AppendUint(dst, entryFlags, uint64(e.flags&^(unixipc.Late|unixipc.Malformed)))
	dst = tlv.AppendBool(dst, entryMoved, e.moved)
	dst = tlv.AppendBool(dst, entryAcked, e.acked)
	dst = tlv.AppendUint(dst, entryNumber, e.number)
	dst = tlv.AppendUint(dst, entrySession, uint64(e.session))
	if e.number != 0 {
		dst = tlv.AppendUint(dst, entryAge, uint64(min(max(0, now.Sub(e.at)), maxDelay).Milliseconds()))
	}
	dst = tlv.AppendBytes(dst, entrySubprotcol, e.sub)
	dst = tlv.AppendBytes(dst, entryPayload, q.payload(e))
	dst = tlv.AppendBool(dst, entryLate, e.flags&unixipc.Late != 0)
	if !e.came.IsZero() {
		dst = tlv.AppendUint(dst, entryWaited, uint64(min(max(0, now.Sub(e.came)), maxWaited).Milliseconds()))
	}
	dst = tlv.AppendUint(dst, entryReconnects, uint64(e.reconnects))
	return tlv.AppendBool(dst, entryMalformed, e.flags&unixipc.Malformed != 0)
}

func (s *send) append(dst []byte) []byte {
	dst = tlv.AppendUint(dst, sendPosition, s.position)
	dst = tlv.AppendUint(dst, sendLoop, uint64(s.asker.Loop))
	dst = tlv.AppendUint(dst, sendLink, uint64(s.asker.Link))
	dst = tlv.AppendUint(dst, sendRef, s.ref)
	return tlv.AppendBool(dst, sendReply, s.reply)
}

// parseCharger decodes what AppendCharger has encoded. owner is the id of the
// owning link; 0: none. The result does not refer to b.
func (r *Relay) parseCharger(b []byte) (c Charger, owner uint32, note []byte, err error) {
	f := tlv.NewReader("charger state", b, chargerMagic, StateVersions...)
	var q queue
	for {
		id, ok := f.Next(chargerEntry, chargerSend, chargerCall, chargerUnanswered)
		if !ok {
			break
		}
		switch id {
		case chargerIdentity:
			c.identity = f.String(unixipc.MaxKey)
		case chargerSubprotocol:
			c.subprotocol = unique.Make(f.String(maxSubprotocol))
		case chargerOwner:
			owner = uint32(f.Uint(math.MaxUint32))
		case chargerNumber:
			c.number = f.Uint(maxNumber)
		case chargerSession:
			c.session = uint32(f.Uint(math.MaxUint32))
		case chargerAttempts:
			c.attempts = uint8(f.Uint(math.MaxUint8))
		case chargerConnected:
			c.connected = f.Bool()
		case chargerPaused:
			if f.Bool() {
				c.paused = pausedByQueue // until Activate finds out
			}
		case chargerAnnounce:
			c.announce = f.Bool()
		case chargerMoving:
			c.moving = f.Bool()
		case chargerHeld:
			q.held = f.Bool()
		case chargerDelay:
			q.notBefore = r.now.Add(time.Duration(f.Uint(uint64(maxDelay.Milliseconds()))) * time.Millisecond)
		case chargerAvoid:
			q.avoid = uint32(f.Uint(math.MaxUint32))
		case chargerEntry:
			f.Fail(q.parseEntry(f.Item(maxData), r.now))
		case chargerSend:
			s, err := parseSend(f.Item(maxData))
			f.Fail(err)
			q.sends = append(q.sends, s)
		case chargerCall:
			f.Required()
			k, err := parseCall(f.Item(maxData), r.now)
			f.Fail(err)
			q.calls = append(q.calls, k)
		case chargerUnanswered:
			q.unanswered = append(q.unanswered, string(f.Item(maxEscaped)))
		case chargerLast:
			q.last = bytes.Clone(f.Bytes(unixipc.MaxControl))
		case chargerNote:
			note = bytes.Clone(f.Bytes(unixipc.MaxNote))
		default:
			f.Unknown()
		}
	}
	if err := f.Err(); err != nil {
		return Charger{}, 0, nil, err
	}
	for i := range q.entries {
		if q.entries[i].number != 0 {
			c.inFlight++ // may overflow; fault counts again
		}
	}
	if why := r.fault(&c, &q, owner); why != "" {
		return Charger{}, 0, nil, errors.New("charger state: " + why)
	}
	if !q.empty() || q.held {
		c.q = &q
	}
	return c, owner, note, nil
}

// fault returns what is wrong with the combination of a charger's fields; "" if
// nothing is. The relay can work with every state that passes.
func (r *Relay) fault(c *Charger, q *queue, owner uint32) string {
	switch {
	case c.identity == "" || c.subprotocol == (unique.Handle[string]{}):
		return "without an identity or a subprotocol"
	case !utf8.ValidString(c.identity):
		return "whose identity is not UTF-8"
	case LoopOf(c.identity, r.cfg.Loops) != r.cfg.Loop:
		return "of another loop"
	case c.paused != reading && !c.connected:
		return "paused, but not connected"
	case !c.connected && len(q.entries) == 0 && !c.announce && (owner != 0 || !q.held):
		return "neither connected nor with anything to deliver"
	case owner == 0 && (c.inFlight > 0 || c.announce):
		return "deliveries in flight, or an owner to be told, but no owner"
	case len(q.last) > 0 && (c.connected || q.empty() && !q.held):
		return "the last connection of a charger that is connected, or has nothing to deliver"
	case len(q.sends) > 0 && !c.connected:
		return "messages for a charger that is not connected"
	case !q.held && !q.notBefore.IsZero():
		return "a delay of nothing"
	case q.avoid != 0 && !q.held && q.empty():
		return "an owner to be avoided for nothing"
	}
	if why := r.callsFault(c, q); why != "" {
		return why
	}
	last, waiting, flying := uint64(0), false, 0
	for i := range q.entries {
		e := &q.entries[i]
		switch {
		case e.acked && i == 0:
			return "its first delivery is acknowledged"
		case e.session > c.session:
			return "a delivery of a connection that is yet to come"
		case e.moved && i > 0:
			return "the announcement to its owner is not its first delivery"
		case e.number == 0:
			waiting = waiting || !e.acked
			continue
		case e.number <= last || e.number > c.number:
			return "its delivery numbers do not count up"
		case waiting && !q.held:
			return "a delivery in flight behind one that waits"
		}
		last = e.number
		flying++
	}
	if flying > math.MaxUint16 {
		return "too many deliveries in flight"
	}
	position := uint64(0)
	for i := range q.sends {
		s := &q.sends[i]
		if s.position <= position || s.asker.Loop >= r.cfg.Loops || s.asker.Link == 0 {
			return "a message for it that nobody sent"
		}
		position = s.position
	}
	return ""
}

func (q *queue) parseEntry(b []byte, now time.Time) error {
	f := tlv.NewFields("delivery", b)
	var e entry
	var payload []byte
	for {
		id, ok := f.Next()
		if !ok {
			break
		}
		switch id {
		case entryKind:
			e.kind = unixipc.Type(f.Uint(math.MaxUint8))
			if e.kind != unixipc.Opened && e.kind != unixipc.Message && e.kind != unixipc.Closed {
				f.Invalid()
			}
		case entryFlags:
			e.flags = unixipc.Flags(f.Uint(uint64(unixipc.Binary | unixipc.Redelivered)))
		case entryMoved:
			e.moved = f.Bool()
		case entryAcked:
			e.acked = f.Bool()
		case entryNumber:
			e.number = f.Uint(maxNumber)
		case entrySession:
			e.session = uint32(f.Uint(math.MaxUint32))
		case entryAge:
			e.at = now.Add(-time.Duration(f.Uint(uint64(maxDelay.Milliseconds()))) * time.Millisecond)
		case entrySubprotcol:
			e.sub = f.String(maxSubprotocol)
		case entryPayload:
			payload = f.Bytes(maxData)
		case entryWaited:
			e.came = now.Add(-time.Duration(f.Uint(uint64(maxWaited.Milliseconds()))) * time.Millisecond)
		case entryReconnects:
			e.reconnects = int(f.Uint(math.MaxInt32))
		case entryMalformed:
			if f.Bool() {
				e.flags |= unixipc.Malformed
			}
		case entryLate:
			if f.Bool() {
				e.flags |= unixipc.Late
			}
		default:
			f.Unknown()
		}
	}
	if err := f.Err(); err != nil {
		return err
	}
	switch {
	case e.kind == 0:
		return errors.New("delivery: of no kind")
	case e.acked && e.number != 0:
		return errors.New("delivery: acknowledged and in flight")
	case e.number == 0 && !e.at.IsZero():
		return errors.New("delivery: with an age, but not in flight")
	case e.kind != unixipc.Message && e.flags&unixipc.Late != 0:
		return fmt.Errorf("delivery: %v as only a MESSAGE can be", e.kind)
	case e.kind != unixipc.Opened && (e.moved || e.sub != "" || e.reconnects > 0):
		return fmt.Errorf("delivery: %v as only OPENED can be", e.kind)
	case e.moved && (e.sub != "" || len(payload) > 0 || e.reconnects > 0):
		return errors.New("delivery: an announcement that says something")
	}
	if e.came.IsZero() {
		e.came = now
	}
	if e.number != 0 && e.at.IsZero() {
		e.at = now
	}
	q.push(e, payload)
	return nil
}

func parseSend(b []byte) (s send, err error) {
	f := tlv.NewFields("send", b)
	for {
		id, ok := f.Next()
		if !ok {
			return s, f.Err()
		}
		switch id {
		case sendPosition:
			s.position = f.Uint(math.MaxUint64)
		case sendLoop:
			s.asker.Loop = int(f.Uint(math.MaxUint16))
		case sendLink:
			s.asker.Link = uint32(f.Uint(math.MaxUint32))
		case sendRef:
			s.ref = f.Uint(math.MaxUint64)
		case sendReply:
			s.reply = f.Bool()
		default:
			f.Unknown()
		}
	}
}
