// Package unixipc is the wire format between the gateway and its processors:
// frames of one fixed header on a stream Unix socket. docs/protocol.md says
// what the two sides do with them; this package only turns frames into bytes
// and back.
//
// Layout of a frame, integers big-endian:
//
//	offset  size  field
//	0       4     length of everything after this field
//	4       1     type
//	5       1     flags
//	6       2     key length, bytes
//	8       8     ref: a delivery number, a token, or the protocol version
//	16      n     key: the charger's identity, UTF-8; may be empty
//	16+n    …     payload
//
// The flow, seen from one link:
//
//	processor                              gateway
//	    │ HELLO ───────────────────────────────▶ │
//	    │ ◀────────────────────────────── WELCOME│  or REFUSED, and the link closes
//	    │ ◀────────────── OPENED, MESSAGE, CLOSED│  each one a delivery
//	    │ ACK (with the reply) or NACK ────────▶ │
//	    │ SEND, CALL, CLOSE ───────────────────▶ │
//	    │ ◀────────────────────────────── RESULT │
//	    │ WATCH, TAP, STOP ────────────────────▶ │
//	    │ ◀──────────────── RESULT, SEEN, TAPPED │
//	    │ ◀─────────────────────────── AUTHORIZE │
//	    │ VERDICT ─────────────────────────────▶ │
//	    │ DRAIN ───────────────────────────────▶ │
//	    │ ◀───────────────────────────── DRAINED │
//
// The package owns no file descriptor and keeps no state: a decoded Frame
// aliases the bytes it was read from.
//
// Versions: 1, the only one so far.
package unixipc
