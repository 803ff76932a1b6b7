package relay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// What the relay understands of OCPP-J (1.6 section 4.2, 2.0.1 and 2.1 section
// 4.2): the type and the id of a message, which are the same in all versions.
//
//	[2, id, action, payload]                    CALL
//	[3, id, payload]                            CALLRESULT
//	[4, id, code, description, details]         CALLERROR
//	[5, id, code, description, details]         CALLRESULTERROR, since 2.1
//	[6, id, action, payload]                    SEND, since 2.1: has no answer
//
// Only CALLRESULT and CALLERROR are answers. The others are messages like any.
const (
	ocppCall       = 2
	ocppCallResult = 3
	ocppCallError  = 4
	ocppSend       = 6
)

// maxMessageID is the longest id of a message, in characters: OCPP-J section 4.1.4.
const maxMessageID = 36

// scanMessage reads the type and the id from the beginning of an OCPP-J
// message. It reads no further, so what follows may be anything, and the cost
// does not depend on the length of the message. Some firmware puts a byte-order
// mark or NULs before it.
func scanMessage(b []byte) (kind int, id string, ok bool) {
	b, ok = past(bytes.TrimLeft(bytes.TrimPrefix(space(b), byteOrderMark), "\x00"), '[')
	if b = space(b); !ok || len(b) == 0 || b[0] < '0' || b[0] > '9' {
		return 0, "", false
	}
	kind = int(b[0] - '0')
	if b, ok = past(b[1:], ','); !ok {
		return 0, "", false
	}
	if b = space(b); len(b) == 0 || b[0] != '"' {
		return 0, "", false
	}
	escaped := false
	for i := 1; i < len(b) && i <= maxEscaped; i++ {
		switch {
		case b[i] == '\\':
			escaped = true
			i++
		case b[i] == '"':
			if id, ok = unquote(b[:i+1], escaped); !ok {
				return 0, "", false
			}
			return kind, id, true
		}
	}
	return 0, "", false
}

// scanAction returns the action of a CALL or SEND; empty if there is none, or more than
// an action.
func scanAction(message []byte) (action string) {
	var parts []json.RawMessage
	if kind, _, ok := scanMessage(message); !ok || kind != ocppCall && kind != ocppSend || json.Unmarshal(message, &parts) != nil || len(parts) < 3 {
		return ""
	}
	if json.Unmarshal(parts[2], &action) != nil || len(action) > maxAction || !printable(action) {
		return ""
	}
	return action
}

// maxAction is longer than any action that there is.
const maxAction = 64

var byteOrderMark = []byte("\xef\xbb\xbf")

// maxEscaped is the longest id as it may be written: each character as one or
// two of \uXXXX.
const maxEscaped = 12*maxMessageID + 2

// unquote reads a JSON string; quoted includes its quotes.
func unquote(quoted []byte, escaped bool) (s string, ok bool) {
	if !escaped {
		s = string(quoted[1 : len(quoted)-1])
	} else if json.Unmarshal(quoted, &s) != nil {
		return "", false
	}
	return s, utf8.RuneCountInString(s) <= maxMessageID
}

// past returns what follows c, which may be preceded by white space.
func past(b []byte, c byte) (rest []byte, ok bool) {
	if b = space(b); len(b) == 0 || b[0] != c {
		return b, false
	}
	return b[1:], true
}

// space returns b without the JSON white space at its beginning.
func space(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\n' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

// checkCall returns the id of a CALL that a processor orders. It checks the whole
// message, so that a fault is reported to the processor and never reaches the
// charger.
func checkCall(message []byte) (id string, err error) {
	if !utf8.Valid(message) {
		return "", errors.New("text is not UTF-8")
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(message, &parts); err != nil {
		return "", fmt.Errorf("an OCPP CALL is a JSON array: %w", err)
	}
	kind, id, ok := scanMessage(message)
	switch {
	case len(parts) > 0 && string(parts[0]) != "2":
		return "", fmt.Errorf("an OCPP CALL begins with 2, not %.10s; other messages go with SEND", parts[0])
	case len(parts) != 4:
		return "", fmt.Errorf("an OCPP CALL has 4 elements, not %d", len(parts))
	case !ok || kind != ocppCall || id == "":
		return "", fmt.Errorf("the message id of an OCPP CALL is a string of 1 to %d characters", maxMessageID)
	}
	var action string
	if json.Unmarshal(parts[2], &action) != nil || action == "" || parts[2][0] != '"' {
		return "", errors.New("the action of an OCPP CALL is a string")
	}
	if !bytes.HasPrefix(parts[3], []byte("{")) {
		return "", errors.New("the payload of an OCPP CALL is a JSON object")
	}
	return id, nil
}
