package conn

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// Close codes, RFC 6455 section 7.4.1 and the IANA registry.
const (
	CodeNormal        = 1000
	CodeGoingAway     = 1001
	CodeProtocolError = 1002
	CodeUnsupported   = 1003
	CodeNoStatus      = 1005 // never on the wire: the charger's Close had no code
	CodeAbnormal      = 1006 // never on the wire: the connection ended without a Close
	CodeInvalidData   = 1007
	CodePolicy        = 1008
	CodeTooBig        = 1009
	CodeInternal      = 1011
	CodeRestart       = 1012
	CodeTryLater      = 1013
)

// By names who ended a connection.
type By string

const (
	ByCharger   By = "charger"
	ByProcessor By = "processor"
	ByOperator  By = "operator"
	ByGateway   By = "gateway" // a violation, a limit, a replacement, or its shutdown
	ByNetwork   By = "network"
)

// Close is how and why a connection ended, or is to end.
type Close struct {
	Code   int
	Reason string // sent to the charger up to 123 bytes, and logged
	By     By

	// NoFrame ends the connection without a Close frame: Reason is reported and not
	// sent. There are chargers that take a graceful close for final, and
	// connect again only after TCP has ended.
	NoFrame bool
}

// WithoutFrame returns c with NoFrame, and the code that such an end has.
func (c Close) WithoutFrame() Close {
	c.Code, c.NoFrame = CodeAbnormal, true
	return c
}

// SendableCode reports whether an endpoint may put code into a Close frame, RFC
// 6455 section 7.4 and the registry: 1000 to 1014 without those that only
// report locally, and the ranges of libraries and applications.
func SendableCode(code int) bool {
	switch {
	case code >= 3000 && code <= 4999:
		return true
	case code < 1000 || code > 1014:
		return false
	}
	return code != 1004 && code != CodeNoStatus && code != CodeAbnormal
}

// parseClose reads the payload of a charger's Close frame, section 5.5.1.
func parseClose(b []byte) (Close, *Close) {
	switch {
	case len(b) == 0:
		return peerClose(CodeNoStatus, ""), nil
	case len(b) == 1:
		return Close{}, reasonCloseFrameSize.fault()
	}
	code := int(binary.BigEndian.Uint16(b))
	if !SendableCode(code) {
		why := reasonCloseFrameCode.Close(code)
		return Close{}, &why
	}
	if !utf8.Valid(b[2:]) {
		return Close{}, reasonCloseFrameText.fault()
	}
	return peerClose(code, string(b[2:])), nil
}

func peerClose(code int, text string) Close {
	c := reasonPeerClose.Close(text)
	c.Code = code
	return c
}

// appendClose appends a whole Close frame; a reason that does not fit a
// control frame is cut at a rune.
func appendClose(dst []byte, code int, reason string) []byte {
	if !SendableCode(code) {
		return appendHeader(dst, opClose, false, 0)
	}
	reason = strings.ToValidUTF8(reason, "?") // it may quote a request
	if len(reason) > maxControl-2 {
		cut := maxControl - 2
		for cut > 0 && !utf8.RuneStart(reason[cut]) {
			cut--
		}
		reason = reason[:cut]
	}
	dst = appendHeader(dst, opClose, false, 2+len(reason))
	dst = append(dst, byte(code>>8), byte(code))
	return append(dst, reason...)
}
