package sim

import (
	"bytes"
	"encoding/json"
)

// OCPP-J section 4.2: the message types.
const (
	typeCall       = '2'
	typeCallResult = '3'
	typeCallError  = '4'
)

// message is an OCPP-J message cut where the simulator needs it cut. Its fields
// alias the bytes it was parsed from.
type message struct {
	kind byte   // typeCall, typeCallResult or typeCallError
	id   []byte // between the quotes, as it was written
	rest []byte // what follows the id, starting at the comma
}

// parseMessage refuses what is not JSON or does not start like OCPP-J.
func parseMessage(b []byte) (m message, ok bool) {
	if !json.Valid(b) {
		return message{}, false
	}
	b = bytes.TrimLeft(b, " \t\r\n")
	if len(b) == 0 || b[0] != '[' {
		return message{}, false
	}
	b = bytes.TrimLeft(b[1:], " \t\r\n")
	if len(b) == 0 || b[0] < typeCall || b[0] > typeCallError {
		return message{}, false
	}
	m.kind = b[0]
	b = bytes.TrimLeft(b[1:], " \t\r\n")
	if len(b) == 0 || b[0] != ',' {
		return message{}, false
	}
	b = bytes.TrimLeft(b[1:], " \t\r\n")
	if len(b) == 0 || b[0] != '"' {
		return message{}, false
	}
	b = b[1:]
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			m.id, m.rest = b[:i], bytes.TrimLeft(b[i+1:], " \t\r\n")
			return m, len(m.rest) > 0 && m.rest[0] == ','
		}
	}
	return message{}, false
}

// transactionID finds the number that the central system gave a transaction,
// OCPP 1.6 section 6.46. False if the answer has none.
func (m message) transactionID() (id int64, ok bool) {
	var conf struct {
		TransactionID *int64 `json:"transactionId"`
	}
	body := bytes.TrimSuffix(bytes.TrimSpace(m.rest[1:]), []byte("]"))
	if json.Unmarshal(body, &conf) != nil || conf.TransactionID == nil {
		return 0, false
	}
	return *conf.TransactionID, true
}
