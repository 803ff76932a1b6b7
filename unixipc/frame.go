package unixipc

import (
	"encoding/binary"
	"fmt"
)

// Version is the protocol version this package speaks.
const Version = 1

const (
	// HeaderSize is the size of the fixed part of a frame, in bytes.
	HeaderSize = 16
	// lengthSize is the part of the header that the length field does not count.
	lengthSize = 4
	// MaxKey is the longest key, in bytes: the longest charger identity.
	MaxKey = 255
	// MaxControl bounds the payload of a frame that carries JSON and not a
	// charger's message, in bytes.
	MaxControl = 64 << 10
	// MaxPrefix is how much longer than a message the payload may be of a frame
	// that carries one with something before it, in bytes.
	MaxPrefix = 8
)

// Type says what a frame is. Types of the gateway have the high bit set.
type Type uint8

// Frames a processor sends.
const (
	Hello   Type = 0x01 // ref: protocol version; payload: JSON HelloBody
	Ack     Type = 0x02 // ref: delivery; payload: empty, or the reply to the charger; of an Opened: JSON AckBody
	Nack    Type = 0x03 // ref: delivery; payload: empty, or JSON NackBody
	Send    Type = 0x04 // ref: token; payload: a message for the charger
	Call    Type = 0x05 // ref: token; payload: time limit, an OCPP CALL; see AppendCall
	Close   Type = 0x06 // ref: token; payload: JSON CloseBody
	Verdict Type = 0x07 // ref: token; payload: JSON VerdictBody; answers Authorize
	Drain   Type = 0x08 // no ref, no payload
	Tap     Type = 0x09 // ref: token; payload: JSON GlobBody; operators only
	Watch   Type = 0x0a // ref: token; payload: JSON GlobBody
	Stop    Type = 0x0b // ref: token of a Tap or Watch; no payload
)

// Frames the gateway sends.
const (
	Welcome   Type = 0x81 // ref: protocol version; payload: JSON WelcomeBody
	Opened    Type = 0x82 // ref: delivery; payload: JSON OpenedBody
	Message   Type = 0x83 // ref: delivery; payload: the charger's message
	Closed    Type = 0x84 // ref: delivery; payload: JSON ClosedBody
	Result    Type = 0x85 // ref: token or delivery; payload: JSON ResultBody, or, flag Answered, see ParseAnswer
	Authorize Type = 0x86 // ref: token; payload: JSON AuthorizeBody
	Drained   Type = 0x87 // no ref, no payload
	Refused   Type = 0x88 // payload: JSON RefusedBody; the link is closed after it
	Tapped    Type = 0x89 // ref: token of a Tap; payload: see ParseTapped; without a key: how many were missed
	Seen      Type = 0x8a // ref: token of a Watch; payload: JSON SeenBody
	Moved     Type = 0x8b // no ref, no payload: the charger is no longer this processor's
)

func (t Type) String() string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	return fmt.Sprintf("type 0x%02x", uint8(t))
}

var typeNames = map[Type]string{
	Hello: "HELLO", Ack: "ACK", Nack: "NACK", Send: "SEND", Call: "CALL",
	Close: "CLOSE", Verdict: "VERDICT", Drain: "DRAIN",
	Tap: "TAP", Watch: "WATCH", Stop: "STOP",
	Welcome: "WELCOME", Opened: "OPENED", Message: "MESSAGE", Closed: "CLOSED",
	Result: "RESULT", Authorize: "AUTHORIZE", Drained: "DRAINED", Refused: "REFUSED",
	Tapped: "TAPPED", Seen: "SEEN", Moved: "MOVED",
}

// Flags qualify a frame. A sender leaves the other bits zero.
type Flags uint8

const (
	// Binary marks a binary WebSocket message: MESSAGE, SEND, ACK with a reply, and
	// RESULT with an answer.
	Binary Flags = 1 << iota
	// Redelivered marks a delivery that some processor may have seen before.
	Redelivered
	// ForDelivery marks a RESULT whose ref is a delivery and not a token: the
	// reply that came with that delivery's ACK was not written.
	ForDelivery
	// Late marks a MESSAGE that is the answer to a CALL for which nobody waits
	// any more.
	Late
	// Answered marks a RESULT that carries the charger's answer to a CALL.
	Answered
	// ToCharger marks a TAPPED message toward the charger; else it is its own.
	ToCharger
	// Malformed marks what came as text and is not UTF-8: MESSAGE, and RESULT with an
	// answer. It is Binary, too,
	// so that nobody takes it for text unaware; the reply to it is text.
	Malformed

	allFlags = Binary | Redelivered | ForDelivery | Late | Answered | ToCharger | Malformed
)

// Frame is one frame. Key and Payload alias the bytes they were parsed from.
type Frame struct {
	Type    Type
	Flags   Flags
	Ref     uint64
	Key     []byte
	Payload []byte
}

// Append appends f to dst. It panics if the key is longer than MaxKey or the
// payload does not fit the length field: callers bound both.
func (f Frame) Append(dst []byte) []byte {
	dst = AppendHeader(dst, f.Type, f.Flags, f.Ref, string(f.Key), len(f.Payload))
	return append(dst, f.Payload...)
}

// AppendHeader appends everything of a frame but its payload, of which the
// caller then appends exactly n bytes.
func AppendHeader(dst []byte, t Type, flags Flags, ref uint64, key string, n int) []byte {
	if len(key) > MaxKey || uint64(n) > 1<<31 {
		panic(fmt.Sprintf("unixipc: frame of %d key and %d payload bytes", len(key), n))
	}
	var h [HeaderSize]byte
	binary.BigEndian.PutUint32(h[0:], uint32(HeaderSize-lengthSize+len(key)+n))
	h[4] = byte(t)
	h[5] = byte(flags)
	binary.BigEndian.PutUint16(h[6:], uint16(len(key)))
	binary.BigEndian.PutUint64(h[8:], ref)
	dst = append(dst, h[:]...)
	return append(dst, key...)
}

// SyntaxError says why bytes are not a frame. The stream cannot be read any
// further after it.
type SyntaxError struct {
	// Frame is what its header says, such as `ACK 7 of "CP1"`, with the ref and
	// the key. It is empty if there was no header to read, or none of a frame.
	Frame string
	Why   string
}

func (e *SyntaxError) Error() string {
	if e.Frame == "" {
		return "malformed frame: " + e.Why
	}
	return "malformed frame: " + e.Frame + ": " + e.Why
}

// malformed is the SyntaxError of the frame at the start of b.
func malformed(b []byte, format string, args ...any) error {
	e := &SyntaxError{Why: fmt.Sprintf(format, args...)}
	if len(b) < HeaderSize || typeNames[Type(b[4])] == "" {
		return e
	}
	e.Frame = fmt.Sprintf("%v %d", Type(b[4]), binary.BigEndian.Uint64(b[8:]))
	keyLen, rest := uint64(binary.BigEndian.Uint16(b[6:])), uint64(binary.BigEndian.Uint32(b))
	if end := HeaderSize + keyLen; 0 < keyLen && keyLen <= MaxKey && end <= lengthSize+rest && end <= uint64(len(b)) {
		e.Frame += fmt.Sprintf(" of %q", b[HeaderSize:end])
	}
	return e
}

// Parse reads the frame at the start of b, whose payload is at most maxPayload
// bytes, and returns it with the number of bytes it takes. It returns n == 0
// while b holds only a part of a frame, and a *SyntaxError as soon as what
// there is cannot become one.
func Parse(b []byte, maxPayload int) (f Frame, n int, err error) {
	if len(b) < lengthSize {
		return Frame{}, 0, nil
	}
	rest := uint64(binary.BigEndian.Uint32(b))
	if rest < HeaderSize-lengthSize {
		return Frame{}, 0, malformed(b, "length %d is shorter than the header's %d", rest, HeaderSize-lengthSize)
	}
	if limit := uint64(HeaderSize - lengthSize + MaxKey + maxPayload); rest > limit {
		return Frame{}, 0, malformed(b, "length %d is over the limit of %d", rest, limit)
	}
	if len(b) < HeaderSize {
		return Frame{}, 0, nil
	}
	keyLen := uint64(binary.BigEndian.Uint16(b[6:]))
	payloadLen := rest - (HeaderSize - lengthSize) - keyLen
	switch {
	case keyLen > rest-(HeaderSize-lengthSize):
		return Frame{}, 0, malformed(b, "key of %d bytes does not fit a frame of length %d", keyLen, rest)
	case keyLen > MaxKey:
		return Frame{}, 0, malformed(b, "key of %d bytes is over the limit of %d", keyLen, MaxKey)
	case payloadLen > uint64(maxPayload):
		return Frame{}, 0, malformed(b, "payload of %d bytes is over the limit of %d", payloadLen, maxPayload)
	case Flags(b[5])&^allFlags != 0 && b[4] < 0x80: // the gateway may be newer
		return Frame{}, 0, malformed(b, "unknown flags 0x%02x", b[5])
	}
	if uint64(len(b)) < lengthSize+rest {
		return Frame{}, 0, nil
	}
	keyEnd := HeaderSize + int(keyLen)
	n = lengthSize + int(rest)
	return Frame{
		Type:    Type(b[4]),
		Flags:   Flags(b[5]),
		Ref:     binary.BigEndian.Uint64(b[8:]),
		Key:     b[HeaderSize:keyEnd:keyEnd],
		Payload: b[keyEnd:n:n],
	}, n, nil
}
