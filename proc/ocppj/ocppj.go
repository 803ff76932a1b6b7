// Package ocppj reads and builds the messages of OCPP-J, JSON arrays (OCPP 1.6 JSON,
// section 4.2; OCPP 2.0.1 and 2.1, part 4):
//
//	[2, id, action, payload]                      Call
//	[3, id, payload]                              CallResult
//	[4, id, code, description, details]           CallError
//	[5, id, code, description, details]           CallResultError, OCPP 2.1
//	[6, id, action, payload]                      Send, OCPP 2.1
//
// It does not look into payloads.
package ocppj

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Type is the first element of a message.
type Type int

const (
	Call            Type = 2 // is answered with CallResult or CallError
	CallResult      Type = 3
	CallError       Type = 4
	CallResultError Type = 5 // reports that a CallResult was wrong
	Send            Type = 6 // is not answered
)

// elements is how many elements a message has, by Type.
var elements = map[Type]int{Call: 4, CallResult: 3, CallError: 5, CallResultError: 5, Send: 4}

// maxID is how long a message id may be, characters (OCPP 1.6 JSON section 4.1.4).
const maxID = 36

// A Message is any message of OCPP-J. Which fields it has depends on Type.
type Message struct {
	Type        Type
	ID          string
	Action      string          // Call, Send
	Payload     json.RawMessage // an object: Call, CallResult, Send
	Code        string          // CallError, CallResultError, such as NotImplemented
	Description string          // of these two
	Details     json.RawMessage // of these two: an object
}

// Parse parses a message. Payload and Details are parts of b. An error says which
// element is wrong; it is a *SyntaxError.
func Parse(b []byte) (m Message, err error) {
	var parts []json.RawMessage
	if err := json.Unmarshal(b, &parts); err != nil {
		return m, &SyntaxError{-1, "not a JSON array: " + err.Error()}
	}
	if len(parts) < 3 {
		return m, &SyntaxError{-1, fmt.Sprintf("%d elements; a message has at least 3", len(parts))}
	}
	if err := json.Unmarshal(parts[0], &m.Type); err != nil || elements[m.Type] == 0 {
		return m, &SyntaxError{0, fmt.Sprintf("%.20s is no type of message", parts[0])}
	}
	p := parser{parts: parts}
	m.ID = p.text(1)
	if n := elements[m.Type]; len(parts) != n {
		return m, &SyntaxError{-1, fmt.Sprintf("%d elements; one of type %d has %d", len(parts), m.Type, n)}
	}
	switch m.Type {
	case Call, Send:
		m.Action, m.Payload = p.text(2), p.object(3)
	case CallResult:
		m.Payload = p.object(2)
	default:
		m.Code, m.Description, m.Details = p.text(2), p.text(3), p.object(4)
	}
	return m, p.err
}

// Result returns the CallResult that answers a Call. payload is what json.Marshal
// makes an object of.
func (m Message) Result(payload any) ([]byte, error) {
	return marshal(payload, []any{CallResult, m.ID, payload})
}

// Error returns the CallError that answers a Call. code is one that OCPP names; details
// may be nil.
func (m Message) Error(code, description string, details any) ([]byte, error) {
	if details == nil {
		details = struct{}{}
	}
	return marshal(details, []any{CallError, m.ID, code, description, details})
}

// NewCall returns a Call. id is new for the connection, of 1 to 36 characters.
func NewCall(id, action string, payload any) ([]byte, error) {
	return named(Call, id, action, payload)
}

// NewSend returns a Send of OCPP 2.1.
func NewSend(id, action string, payload any) ([]byte, error) {
	return named(Send, id, action, payload)
}

func named(t Type, id, action string, payload any) ([]byte, error) {
	if n := len([]rune(id)); n == 0 || n > maxID {
		return nil, fmt.Errorf("ocppj: a message id has 1 to %d characters, not %d", maxID, n)
	}
	if action == "" {
		return nil, errors.New("ocppj: a message without an action")
	}
	return marshal(payload, []any{t, id, action, payload})
}

// marshal encodes a message whose object must be one.
func marshal(object any, message []any) ([]byte, error) {
	b, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("ocppj: %w", err)
	}
	if len(b) == 0 || b[0] != '{' {
		return nil, fmt.Errorf("ocppj: %.20s is no object", b)
	}
	return json.Marshal(message)
}

// SyntaxError is what is wrong with a message.
type SyntaxError struct {
	Element int // its index in the array; -1: the array itself
	Why     string
}

func (e *SyntaxError) Error() string {
	if e.Element < 0 {
		return "ocppj: " + e.Why
	}
	return fmt.Sprintf("ocppj: element %d: %s", e.Element, e.Why)
}

// parser takes elements, and keeps the first fault.
type parser struct {
	parts []json.RawMessage
	err   error
}

func (p *parser) text(i int) (s string) {
	if json.Unmarshal(p.parts[i], &s) != nil || bytes.Equal(p.parts[i], []byte("null")) {
		p.fault(i, "not a string")
	}
	return s
}

func (p *parser) object(i int) json.RawMessage {
	if b := bytes.TrimLeft(p.parts[i], " \t\r\n"); len(b) == 0 || b[0] != '{' {
		p.fault(i, "not an object")
	}
	return p.parts[i]
}

func (p *parser) fault(i int, why string) {
	if p.err == nil {
		p.err = &SyntaxError{i, why}
	}
}
