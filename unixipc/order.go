package unixipc

import (
	"encoding/binary"
	"math"
	"time"
)

// The payloads that carry a message with a number or two before it, integers
// big-endian:
//
//	CALL              time limit in milliseconds (4 bytes), OCPP CALL
//	RESULT, Answered  milliseconds it took (4), CALLRESULT or CALLERROR
//	TAPPED            Unix time in microseconds (8), message
//	TAPPED, no key    how many copies were missed (8)

const callPrefix = 4

// AppendCall appends the payload of a CALL. A limit of 0 leaves it to the gateway.
func AppendCall(dst []byte, limit time.Duration, message []byte) []byte {
	return append(appendMillis(dst, limit), message...)
}

// ParseCall reads the payload of a CALL; false if it is too short for one.
func ParseCall(payload []byte) (limit time.Duration, message []byte, ok bool) {
	return parseMillis(payload)
}

// AppendAnswer appends the payload of a RESULT with the flag Answered.
func AppendAnswer(dst []byte, took time.Duration, message []byte) []byte {
	return append(appendMillis(dst, took), message...)
}

// ParseAnswer reads the payload of a RESULT with the flag Answered.
func ParseAnswer(payload []byte) (took time.Duration, message []byte, ok bool) {
	return parseMillis(payload)
}

// AppendTapped appends what comes before the message in a TAPPED.
func AppendTapped(dst []byte, at time.Time) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(at.UnixMicro()))
}

// TappedPrefix is the length of what AppendTapped appends.
const TappedPrefix = 8

// ParseTapped reads the payload of a TAPPED with a key.
func ParseTapped(payload []byte) (at time.Time, message []byte, ok bool) {
	if len(payload) < TappedPrefix {
		return time.Time{}, nil, false
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(payload))), payload[TappedPrefix:], true
}

// AppendMissed appends the payload of a TAPPED without a key.
func AppendMissed(dst []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(dst, n) }

// ParseMissed reads the payload of a TAPPED without a key.
func ParseMissed(payload []byte) (n uint64, ok bool) {
	if len(payload) < 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(payload), true
}

// appendMillis rounds up, so that a limit never becomes the 0 that means none.
func appendMillis(dst []byte, d time.Duration) []byte {
	ms := (max(0, d) + time.Millisecond - 1) / time.Millisecond
	return binary.BigEndian.AppendUint32(dst, uint32(min(ms, math.MaxUint32)))
}

func parseMillis(payload []byte) (time.Duration, []byte, bool) {
	if len(payload) < callPrefix {
		return 0, nil, false
	}
	return time.Duration(binary.BigEndian.Uint32(payload)) * time.Millisecond, payload[callPrefix:], true
}
