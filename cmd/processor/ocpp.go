package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// version is the OCPP version that a charger speaks.
type version int

const (
	unknownVersion version = iota // told by the shape of what it sends
	v16
	v201
	v21
)

// versions by WebSocket subprotocol. 2.0 was withdrawn for 2.0.1, whose
// messages those few chargers send.
var versions = map[string]version{
	"ocpp1.6":   v16,
	"ocpp2.0":   v201,
	"ocpp2.0.1": v201,
	"ocpp2.1":   v21,
}

// Message types, OCPP-J section 4.1.3.
const (
	typeCall            = 2 // [2, id, action, payload]
	typeCallResult      = 3 // [3, id, payload]
	typeCallError       = 4 // [4, id, code, description, details]
	typeCallResultError = 5 // as CALLERROR, since 2.1: of an answer
	typeSend            = 6 // as CALL, since 2.1: wants no answer
)

// maxID bounds a message id, in characters (OCPP-J section 4.1.4).
const maxID = 36

// message is one OCPP-J message, as far as it could be read.
type message struct {
	kind    int
	id      json.RawMessage // as the charger wrote it, quotes included; nil: unreadable
	action  string          // of CALL and SEND
	payload json.RawMessage // of CALL and SEND
}

// parse reads an OCPP-J message. With a fault, the message holds what could
// be read up to it: enough to tell whether and to what an answer is due.
func parse(raw []byte) (message, *fault) {
	var m message
	var parts []json.RawMessage
	var broken *fault
	if err := json.Unmarshal(raw, &parts); err != nil {
		parts = elements(raw)
		broken = &fault{notRPC, "not a JSON array: " + err.Error()}
	}
	if len(parts) < 2 {
		if broken == nil {
			broken = &fault{notRPC, "a message has a type and an id"}
		}
		return m, broken
	}
	kind, err := strconv.Atoi(string(parts[0]))
	if err != nil {
		broken = &fault{notRPC, "the message type is no integer"}
	}
	m.kind = kind
	var id string
	switch {
	case parts[1][0] != '"' || json.Unmarshal(parts[1], &id) != nil:
		return m, &fault{notRPC, "the message id is no string"}
	case utf8.RuneCountInString(id) > maxID:
		// It would not fit our answer either, so it goes as unreadable.
		return m, &fault{notRPC, fmt.Sprintf("the message id is longer than %d characters", maxID)}
	}
	m.id = parts[1]
	if m.kind != typeCall && m.kind != typeSend {
		return m, broken
	}
	switch {
	case broken != nil && len(parts) == 3 && isString(parts[2]):
		return m, &fault{brokenPayload, broken.why} // all was well as far as the payload
	case broken != nil:
		return m, broken
	case len(parts) != 4:
		return m, &fault{notRPC, fmt.Sprintf("a CALL has 4 elements, not %d", len(parts))}
	case !isString(parts[2]):
		return m, &fault{notRPC, "the action is no string"}
	}
	_ = json.Unmarshal(parts[2], &m.action) // it is a string of valid JSON
	m.payload = parts[3]
	return m, nil
}

// elements are those of a broken JSON array that come before the fault.
func elements(raw []byte) []json.RawMessage {
	var parts []json.RawMessage
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil
	}
	for dec.More() {
		var part json.RawMessage
		if dec.Decode(&part) != nil {
			break
		}
		parts = append(parts, part)
	}
	return parts
}

func isString(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '"' }

// result is the CALLRESULT of an answer.
func result(id json.RawMessage, answer object) []byte {
	return array(typeCallResult, id, answer)
}

// object is a JSON object of ours.
type object map[string]any

// array is the JSON of what it is given, which is always of our own making.
func array(elements ...any) []byte {
	b, err := json.Marshal(elements)
	if err != nil {
		panic("processor: an answer that is no JSON: " + err.Error())
	}
	return b
}

// timestamp is t as all versions take it: RFC 3339, in UTC, which 1.6 asks for,
// and no finer than milliseconds, which is the limit of 2.x.
func timestamp(t time.Time) string {
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
